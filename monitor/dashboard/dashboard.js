// Events of the monitor, as they come. A transcript is untrusted text: it only ever becomes textContent.
"use strict";

const EMOTIONS = ["angry", "happy", "neutral", "sad"];
const KEPT = 200;
const FIRST_WAIT_MS = 500;
const LONGEST_WAIT_MS = 10000;

const byId = (id) => document.getElementById(id);
const percent = (share) => `${Math.round(share * 100)} %`;

function clock(ms) {
  const s = Math.floor(ms / 1000);
  return `${Math.floor(s / 60)}:${String(s % 60).padStart(2, "0")}`;
}

function bar(emotion, share) {
  const box = document.createElement("div");
  box.className = "bar";
  box.dataset.emotion = emotion;
  const text = document.createElement("span");
  const name = document.createElement("span");
  const value = document.createElement("span");
  name.textContent = emotion;
  value.textContent = percent(share);
  text.append(name, value);
  const progress = document.createElement("progress");
  progress.max = 1;
  progress.value = share;
  progress.setAttribute("aria-label", `${emotion} ${percent(share)}`);
  box.append(text, progress);
  return box;
}

function cell(kind, text, scope) {
  const element = document.createElement(kind);
  element.textContent = text;
  if (scope) element.scope = scope;
  return element;
}

function fillClassifiers(table, classifiers) {
  table.querySelector("tr").append(...EMOTIONS.map((emotion) => cell("th", emotion, "col")));
  for (const [name, posterior] of Object.entries(classifiers)) {
    const row = document.createElement("tr");
    row.append(cell("th", name, "row"));
    row.append(...EMOTIONS.map((e) => cell("td", posterior ? percent(posterior[e]) : "–")));
    table.tBodies[0].append(row);
  }
}

function showUtterance(data) {
  const item = byId("utterance").content.cloneNode(true).querySelector("li");
  item.dataset.emotion = data.label;
  item.querySelector("time").textContent = `${clock(data.start_ms)} – ${clock(data.end_ms)}`;
  item.querySelector(".label").textContent = `${data.label} ${percent(data.confidence)}`;
  item.querySelector(".why").textContent = data.abstained.join(", ").replaceAll("_", " ");
  item.querySelector(".delay").textContent = `${Math.round(data.latency_ms.total)} ms after the last word`;
  const words = item.querySelector(".words");
  const said = data.transcript ? data.transcript.text : "";
  words.textContent = said || "no words recognised";
  words.classList.toggle("none", !said);
  item.querySelector(".bars").append(...EMOTIONS.map((e) => bar(e, data.posterior[e])));
  fillClassifiers(item.querySelector("table"), data.classifiers);
  const list = byId("utterances");
  list.prepend(item);
  while (list.children.length > KEPT) list.lastElementChild.remove();
  byId("empty").hidden = true;
}

function showState(data) {
  byId("state").textContent = data.label;
  byId("state").dataset.emotion = data.label;
}

function showSpeaking(speaking) {
  byId("activity").textContent = speaking ? "someone is speaking" : "listening";
  byId("activity").dataset.speaking = String(speaking);
}

function showNotice(text) {
  byId("notice").textContent = text;
  byId("notice").hidden = !text;
}

const SHOW = {
  "org.stser.emotion.utterance.v1": showUtterance,
  "org.stser.emotion.state.v1": showState,
  "org.stser.speech.started.v1": () => showSpeaking(true),
  "org.stser.speech.ended.v1": () => showSpeaking(false),
  "org.stser.monitor.started.v1": (data) => showNotice(data.notice),
  "org.stser.stream.gap.v1": (data) => showNotice(`${data.dropped} events were missed: this page was too slow.`),
};

function showConnection(state, text) {
  byId("connection").dataset.state = state;
  byId("connection").textContent = text;
}

function connect(waitMs) {
  const socket = new WebSocket(`ws://${location.host}/events`, "cloudevents.json");
  let next = Math.min(2 * waitMs, LONGEST_WAIT_MS);
  socket.addEventListener("open", () => {
    showConnection("live", "live");
    next = FIRST_WAIT_MS;
  });
  socket.addEventListener("message", (message) => {
    const event = JSON.parse(message.data);
    if (event.type in SHOW) SHOW[event.type](event.data);
  });
  socket.addEventListener("close", () => {
    showConnection("lost", "connection lost, trying again");
    showSpeaking(false);
    setTimeout(connect, Math.random() * waitMs, next);
  });
}

connect(FIRST_WAIT_MS);
