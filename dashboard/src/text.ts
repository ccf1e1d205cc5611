// Every word that the page says, in one place. A translation replaces this file.

import type { Label } from "./events";

export const TEXT = {
  title: "STSER Monitor",
  connecting: "connecting",
  live: "live",
  lost: "connection lost: trying again",
  token: "a token is needed",
  tokenWords: "The monitor lets in who has its token, from the file of --ws-token-file.",
  tokenField: "Token",
  tokenSend: "Connect",
  stopped: "the monitor has stopped",
  stoppedWords: "The monitor has stopped. Start it again and this page goes on.",
  endedWords: "Listening has ended here.",
  endedNote: "listening has ended",
  views: "Views",
  viewLive: "Live",
  viewSession: "Session",
  viewHealth: "Health",
  theme: "Colours",
  themes: { system: "system", light: "light", dark: "dark" },

  streams: "Streams",
  allStreams: "All",
  ended: "ended",
  endedStreams: "Streams that have ended",
  mutedNow: "muted",
  recording: "audio is kept",
  recordingTitle: "The monitor was told to keep what it hears (--record)",
  showStream: (name: string) => `Show ${name} alone`,

  now: "Now",
  nowOf: (name: string) => `Now: ${name}`,
  nobody: (ended: boolean) => (ended ? "nobody has spoken" : "nobody has spoken yet"),
  unclear: (ended: boolean) => (ended ? "not clear" : "not clear yet"),
  speaking: "someone is speaking",
  silent: "silence",
  posterior: "How likely each emotion is",
  provisional: "thin: so far, while someone speaks",
  soFar: "so far",
  nowShort: "now",
  level: "Level of the last utterance",
  levelNow: "Level",
  levelWords: (level: number, floor: number, snr: number) =>
    `${level.toFixed(0)} dBFS, ${snr.toFixed(0)} dB above the noise at ${floor.toFixed(0)} dBFS`,
  levelNowWords: (level: number, floor: number, speech: boolean) =>
    `${speech ? "speech" : "no speech"}, ${level.toFixed(0)} dBFS (noise ${floor.toFixed(0)})`,
  levelShort: "level",
  levelNone: (ended: boolean) => (ended ? "nothing was heard" : "nothing was heard yet"),
  clipped: "overdriven: turn the microphone down",

  inputs: "From this browser",
  input: {
    speak: "Speak",
    stop: "Stop",
    asking: "waiting for the microphone",
    finishing: "waiting for the last verdict",
    name: "Name of the stream",
    badName: "up to 32 letters, digits, - and _",
    microphone: "microphone",
    heard: (words: string) => `“${words}”`,
    file: "Analyse a recording",
    drop: "or drop one anywhere on the page",
    dropHere: "Drop the recording here: it becomes a stream of its own",
    files: "Recordings",
    waiting: "waiting",
    reading: "reading",
    done: "done",
    progress: (name: string) => `Progress of ${name}`,
    remove: (name: string) => `Remove ${name}`,
    insecure:
      "Browsers give the microphone only to pages of this machine or over https. Open the page as http://127.0.0.1 on the machine itself, or give the monitor a certificate (websocket.tls_certificate).",
    device: (name: string, message: string): string =>
      ({
        NotAllowedError:
          "The browser may not use the microphone. Allow it for this page, in the address bar or in the system's settings.",
        NotFoundError: "This machine has no microphone. Plug one in and try again.",
        NotReadableError: "Another program holds the microphone. Close it and try again.",
      })[name] ?? `The microphone cannot be opened (${message}).`,
    gone: "The microphone has gone. Plug it in and start again.",
    behind: "The monitor does not keep up with this microphone. Close other programs and start again.",
    refused: "The monitor does not take this stream. Try another name.",
    closed: (code: number, reason: string) =>
      code === 1000
        ? "The monitor has ended this stream."
        : reason
          ? `The monitor has ended this stream: ${reason}.`
          : `The connection to the monitor was lost (${code}). Is it still running?`,
    tooLong: (bytes: number) =>
      `Larger than ${bytes / 1024 / 1024} MB, which would fill the browser's memory: give it to stser-monitor --input.`,
    undecodable:
      "This browser cannot read the file. WAV, FLAC, MP3, Ogg and M4A are read by most; others by stser-monitor --input.",
  },

  chart: "Emotions over time",
  lanes: "Who spoke when",
  chartWords: (count: number, seconds: string) =>
    `Chart of the four emotions over the last ${seconds}, with ${count} utterances. The list below has the same in words.`,
  lanesWords: (names: string, count: number, seconds: string) =>
    `Chart of who spoke when over the last ${seconds}: ${names}, with ${count} utterances. The list below has the same in words.`,
  lanesHint:
    "One line a stream. Blocks: utterances, as wide as they are long. Choose a stream for its emotions.",
  chartHint: "Solid: final. Thin: provisional. Blocks: utterances, as wide as they are long.",
  span: "Time shown",
  spans: { "30": "30 s", "60": "1 min", "120": "2 min", "600": "10 min", "0": "everything" } as Record<
    string,
    string
  >,

  utterances: "Utterances",
  nothing: "What is said appears here, the newest first.",
  nothingFound: "No utterance matches.",
  search: "Search the words",
  filter: "Show",
  pause: "Pause",
  resume: "Go on",
  toLive: "Jump to live",
  newOnes: (count: number) => `${count} new`,
  count: (shown: number, all: number) => (shown === all ? `${all}` : `${shown} of ${all}`),
  list: "Utterances, the newest first",
  noTranscript: "no transcript",
  noWords: "no words recognised",
  heavy: "weighs heavily",
  afterSpeech: (ms: number) => `${Math.round(ms)} ms`,
  afterSpeechTitle: "from the end of speech to the verdict",
  agreement: (share: number) => `agree ${share.toFixed(2)}`,
  agreementTitle: "1 minus the Jensen-Shannon divergence of the classifiers",
  seconds: (ms: number) => `${(ms / 1000).toFixed(1)} s`,
  percent: (share: number) => `${Math.round(share * 100)} %`,
  row: (label: string, start: string, stream: string) => `${label}, at ${start}${stream && ` in ${stream}`}`,

  ensemble: "ensemble",
  classifiers: { speech: "voice", text: "words", bimodal: "both" } as Record<string, string>,
  absent: "did not take part",
  emotion: "emotion",

  detail: "Utterance",
  close: "Close",
  previous: "Newer",
  next: "Older",
  salience: "What weighed, over time",
  salienceWords: "Attention over the voice (area) and the words (weight of the letters)",
  verdict: "Verdict by classifier",
  why: "Why it is uncertain",
  facts: "Facts",
  fact: {
    time: "Said at",
    stream: "Stream",
    position: "Stream time",
    duration: "Duration",
    confidence: "Confidence",
    agreement: "Agreement",
    words: "Trust in the words",
    level: "Level",
    noise: "Noise floor",
    snr: "Above the noise",
    model: "Model",
  },
  latency: "Latency",
  stages: {
    endpoint: "waiting for silence",
    asr: "words",
    inference: "emotion",
    publish: "sending",
    total: "in all",
  } as Record<string, string>,

  share: "Share of speaking time",
  transitions: "What follows what",
  transitionsCaption: "Each row: what came next after this emotion",
  from: "after",
  trend: "Trend",
  trendHint: "Mean of the final verdicts, weighted with how long they are",
  trendWords: (count: number) => `Chart of the mean of each emotion at ${count} times`,
  spoken: "Spoken",
  speakers: "Speaking time by stream",
  shareWords: (shares: readonly { label: Label; share: number }[]): string =>
    shares
      .filter(({ share }) => share > 0)
      .map(({ label, share }) => `${labelText(label)} ${TEXT.percent(share)}`)
      .join(", "),
  exportsOf: (stream: string) => `Save what this page has heard of ${stream}`,
  exports: "Save what this page has heard",
  exportCsv: "CSV",
  exportJsonl: "JSON Lines",
  exportEmotionMl: "EmotionML",
  exportPng: "Picture (PNG)",
  notEnough: "There is nothing to count yet.",

  health: "Health",
  clients: "Clients",
  device: "Device",
  listening: "listening",
  notListening: "not listening",
  broker: "Broker",
  noBroker: "none: --mqtt-url names one",
  connected: "connected",
  notConnected: "not connected",
  waitingForBroker: "Events that wait for it",
  condition: "Condition",
  delivery: "Delivery",
  journal: "Journal",
  durable: "on disk",
  volatile: "in memory, gone when the monitor ends",
  embedded: "small, in the package",
  fullModel: "full",
  noRecogniser: "off: the voice alone is judged",
  model: "Model",
  recogniser: "Recogniser",
  hears: "Hears",
  unknown: "not told yet",
  monitor: "Monitor",
  events: "Events received",
  missed: "Events missed",
  reconnects: "Reconnections",
  lostAudio: "Audio lost",
  percentiles: "Latency, end of speech to verdict",
  percentile: (p: number) => `${p} % within`,
  warnings: "Warnings",
  noWarnings: "None.",
  notice: "Notice",
  warn: {
    disconnected: "The monitor is not reachable. Is it still running? The page tries again by itself.",
    missed: (n: number) => `${n} events were missed. Another program may be keeping this machine busy.`,
    audio: (ms: number) => `${ms} ms of audio were lost. Close other programs, or use another sound card.`,
    device: (stream: string, device: string) =>
      `${stream} is not heard: ${device || "its device"} is gone. Plug it in, or look with stser-monitor --doctor.`,
    muted: (stream: string) => `${stream} is muted: nothing of it is heard until it is unmuted.`,
    broker: (waiting: number) =>
      `The broker is not reached; ${waiting} events wait for it. Is it running, and is --mqtt-url right?`,
    degraded: (stream: string, component: string) =>
      `The ${component} fails on ${stream}: ${TEXT.without[component] ?? "it is left out"}. The monitor tries it again with each utterance; its log says why.`,
    recording:
      "The audio is no longer kept: the disk is full or fails. Make room, or name another folder with --record.",
    journal:
      "The journal cannot be written; events are kept in memory until it can. Make room on the disk, or name another file with --journal.",
    noisy: "Most of the latest utterances are too noisy. Move the microphone closer, or quieten the room.",
    clipped: "The latest utterances are overdriven. Turn the microphone down.",
    noWords: "No words are recognised. Is English spoken? A full model recognises more: --vosk-model.",
    slow: (ms: number) =>
      `Verdicts take ${Math.round(ms)} ms. Another program may be keeping this machine busy.`,
  },

  started: "listening has begun",
  degraded: (component: string) =>
    `the ${component} has failed: ${TEXT.without[component] ?? "it is left out"}`,
  recovered: (component: string) => `the ${component} works again`,
  without: {
    recogniser: "utterances have no words",
    ensemble: "utterances have no verdict",
  } as Record<string, string>,
  gap: (dropped: string) => `${dropped} events were missed here`,
  audioLost: (ms: number) => `${ms} ms of audio were lost`,
  happened: {
    "device.lost": "the microphone is gone",
    "device.recovered": "the microphone is back",
    "device.silent": "the microphone is silent: is it muted or unplugged?",
    "device.clipping": "the microphone is overdriven: turn it down",
  } as Record<string, string>,
  /** The same conditions, where they end. */
  over: {
    "device.silent": "the microphone is heard again",
    "device.clipping": "the microphone is no longer overdriven",
  } as Record<string, string>,
  muted: "the microphone is muted",
  unmuted: "the microphone is on again",
  mark: (text: string) => (text ? `mark: ${text}` : "mark"),
  markAdd: "Mark",
  commandsTo: (stream: string) => `Commands to ${stream}`,
  markText: "What to mark",
  mute: "Mute",
  unmute: "Unmute",
  refused: (message: string) => `The monitor says: ${message}`,

  labels: {
    angry: "angry",
    happy: "happy",
    neutral: "neutral",
    sad: "sad",
    uncertain: "uncertain",
  } satisfies Record<Label, string> as Record<string, string>,

  abstained: {
    too_short: "too short to judge",
    low_snr: "too noisy",
    clipped: "overdriven",
    no_transcript: "no words recognised",
    low_transcript_confidence: "the words are doubtful",
    classifiers_disagree: "the classifiers disagree",
    low_confidence: "no clear leader",
    audio_gap: "audio was lost in it",
    not_like_training: "unlike anything learned",
  } as Record<string, string>,
};

export const labelText = (label: string): string => TEXT.labels[label] ?? label;
export const reasonText = (reason: string): string => TEXT.abstained[reason] ?? reason.replaceAll("_", " ");
