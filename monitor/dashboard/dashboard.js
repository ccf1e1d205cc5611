// Shows the events of this monitor as they come. Everything that an event says reaches the page as
// text (textContent), never as markup: a transcript is whatever somebody has said.

const EMOTIONS = ["angry", "happy", "neutral", "sad"];
const MOST_ROWS = 200; // older ones leave the page, so that a day of talk fits into memory
const FIRST_WAIT_MS = 500;
const LONGEST_WAIT_MS = 10_000;

const ABSTAINED = {
  too_short: "too short",
  low_snr: "too noisy",
  clipped: "overdriven",
  no_transcript: "no words recognised",
  low_transcript_confidence: "words doubtful",
  classifiers_disagree: "classifiers disagree",
  low_confidence: "no clear leader",
  audio_gap: "audio was lost",
  not_like_training: "unlike anything learned",
};

const byId = (id) => document.getElementById(id);

// --- small parts of the page --------------------------------------------------------------------

function element(tag, { className, text, emotion } = {}, children = []) {
  const made = document.createElement(tag);
  if (className) made.className = className;
  if (text !== undefined) made.textContent = text;
  if (emotion) made.dataset.emotion = emotion;
  made.append(...children);
  return made;
}

const percent = (share) => `${Math.round(share * 100)} %`;

// 68_250 -> "1:08.2"
function streamTime(ms) {
  const seconds = (ms / 1000) % 60;
  const minutes = Math.floor(ms / 60_000);
  const tail = `${String(Math.floor(seconds)).padStart(2, "0")}.${Math.floor((seconds * 10) % 10)}`;
  if (minutes < 60) return `${minutes}:${tail}`;
  return `${Math.floor(minutes / 60)}:${String(minutes % 60).padStart(2, "0")}:${tail}`;
}

function leader(posterior) {
  return EMOTIONS.reduce((best, name) => (posterior[name] > posterior[best] ? name : best));
}

function bars(posterior, caption) {
  const leading = leader(posterior);
  const rows = EMOTIONS.map((name) => {
    const fill = element("div");
    fill.style.setProperty("--share", posterior[name]);
    return element(
      "tr",
      { emotion: name, className: name === leading ? "leading" : "" },
      [
        element("th", { text: name }),
        element("td", { className: "track" }, [element("div", {}, [fill])]),
        element("td", { className: "share", text: percent(posterior[name]) }),
      ],
    );
  });
  rows.forEach((row) => row.firstChild.setAttribute("scope", "row"));
  return element("table", { className: "bars" }, [
    element("caption", { text: caption }),
    element("tbody", {}, rows),
  ]);
}

// --- events -------------------------------------------------------------------------------------

function showState({ label, confidence, posterior }) {
  byId("now").dataset.emotion = label;
  byId("state").textContent = label;
  byId("state-posterior").replaceChildren(bars(posterior, `State: ${label}, ${percent(confidence)}`));
}

function showActivity(speaking) {
  byId("activity").dataset.speaking = speaking;
  byId("activity").textContent = speaking ? "someone is speaking" : "silence";
}

function classifier([name, posterior]) {
  const said = posterior && leader(posterior);
  const text = posterior ? `${said} ${percent(posterior[said])}` : "did not take part";
  return element("div", {}, [
    element("dt", { text: name }),
    element("dd", { text, emotion: said || undefined }),
  ]);
}

function spoken(transcript) {
  if (transcript === null) return element("p", { className: "transcript absent", text: "no transcript" });
  if (!transcript.text) return element("p", { className: "transcript absent", text: "no words recognised" });
  return element("p", { className: "transcript", text: `“${transcript.text}”` });
}

function utteranceRow(time, data) {
  const wallClock = element("time", { text: new Date(time).toLocaleTimeString() });
  wallClock.dateTime = time;
  const label = data.label === "uncertain" ? "uncertain" : `${data.label} ${percent(data.confidence)}`;
  const summary = [
    element("span", { className: "label", text: label }),
    element("span", { className: "times" }, [
      wallClock,
      ` · ${streamTime(data.start_ms)} to ${streamTime(data.end_ms)}`,
    ]),
    element("span", { className: "detail", text: `${Math.round(data.latency_ms.total)} ms after the last word` }),
  ];
  if (data.abstained.length) {
    const why = data.abstained.map((reason) => ABSTAINED[reason] ?? reason).join(", ");
    summary.push(element("span", { className: "why", text: why }));
  }
  return element("li", { className: "utterance", emotion: data.label }, [
    element("div", { className: "summary" }, summary),
    spoken(data.transcript),
    element("dl", { className: "classifiers" }, Object.entries(data.classifiers).map(classifier)),
    bars(data.posterior, `Utterance ${data.utterance}: ${label}`),
  ]);
}

function note(text, warning = false) {
  return element("li", { className: warning ? "note warning" : "note", text });
}

function addRow(row) {
  byId("nothing").hidden = true;
  const list = byId("utterances");
  list.prepend(row);
  while (list.childElementCount > MOST_ROWS) list.lastElementChild.remove();
}

const SHOWN = {
  "emotion.utterance": (event) => addRow(utteranceRow(event.time, event.data)),
  "emotion.state": (event) => showState(event.data),
  "speech.started": () => showActivity(true),
  "speech.ended": () => showActivity(false),
  "monitor.started": () => addRow(note("the monitor has started")),
  "monitor.stopped": () => addRow(note("the monitor has stopped")),
  "device.overflow": ({ data }) => addRow(note(`${data.lost_ms} ms of audio were lost`, true)),
  "stream.gap": ({ data }) => addRow(note(`${data.dropped} events were missed here`, true)),
};

function show(event) {
  byId("source").textContent = event.source.replace("/stser/", "");
  const kind = event.type.replace(/^org\.stser\./, "").replace(/\.v1$/, "");
  SHOWN[kind]?.(event);
}

// --- connection ---------------------------------------------------------------------------------

function showConnection(status, text) {
  byId("connection").dataset.status = status;
  byId("connection").textContent = text;
}

function connect(waitMs = FIRST_WAIT_MS) {
  const address = new URL("events", location.href);
  address.protocol = address.protocol === "https:" ? "wss:" : "ws:";
  const socket = new WebSocket(address, "cloudevents.json");
  let nextWaitMs = Math.min(2 * waitMs, LONGEST_WAIT_MS);
  socket.onopen = () => {
    nextWaitMs = FIRST_WAIT_MS;
    showConnection("live", "live");
  };
  socket.onmessage = (message) => {
    try {
      show(JSON.parse(message.data));
    } catch (error) {
      console.error("an event could not be shown", error);
    }
  };
  socket.onclose = () => {
    showActivity(false);
    showConnection("lost", "connection lost: trying again");
    // Jitter, so that many pages do not come back at the same moment.
    setTimeout(() => connect(nextWaitMs), waitMs * (0.5 + Math.random() / 2));
  };
}

connect();
