// The microphone of this browser, as blocks of samples.

import { TEXT } from "../text";
import { AudioProblem } from "./audio_socket";

/** What the monitor works with; a browser that cannot give it gives its own rate. */
const RATE_HZ = 16_000;
/** A file beside the page: see vite.config.ts. */
const RECORDER = "recorder.js";
/** A device that has gone no longer says what it heard last. */
const LAST_WORDS_MS = 1_000;

export interface Microphone {
  sampleRate: number;
  device: string;
  /** Calls `take` for each block until the end; `gone` where the device goes before. */
  listen: (take: (samples: Float32Array) => void, gone: () => void) => void;
  /** Ends after what has been heard so far was taken. */
  end: () => Promise<void>;
}

/**
 * Asks for the microphone and opens it, with nothing of what browsers do to make speech pleasant for calls: that takes
 * emotion out of it.
 *
 * Throws AudioProblem where there is none to be had.
 */
export async function openMicrophone(): Promise<Microphone> {
  // Asked of the browser itself, too: some leave the devices out on pages that others could have changed.
  if (!isSecureContext || !navigator.mediaDevices) throw new AudioProblem(TEXT.input.insecure);
  let stream: MediaStream;
  try {
    stream = await navigator.mediaDevices.getUserMedia({
      audio: { channelCount: 1, echoCancellation: false, noiseSuppression: false, autoGainControl: false },
    });
  } catch (error) {
    throw new AudioProblem(TEXT.input.device(error instanceof Error ? error.name : "", String(error)));
  }
  try {
    return await record(stream);
  } catch (error) {
    for (const track of stream.getTracks()) track.stop();
    throw new AudioProblem(TEXT.input.device("", String(error)));
  }
}

async function record(stream: MediaStream): Promise<Microphone> {
  const [context, source] = connect(stream);
  const [track] = stream.getAudioTracks();
  await context.audioWorklet.addModule(new URL(RECORDER, document.baseURI));
  await context.resume();
  const recorder = new AudioWorkletNode(context, "recorder", { numberOfOutputs: 0 });
  source.connect(recorder);
  const last = Promise.withResolvers<void>();
  let ending: Promise<void> | undefined;
  const end = async () => {
    recorder.port.postMessage("end");
    await Promise.race([last.promise, new Promise((resolve) => setTimeout(resolve, LAST_WORDS_MS))]);
    for (const open of stream.getTracks()) open.stop();
    await context.close();
  };
  return {
    sampleRate: context.sampleRate,
    device: track?.label ?? "",
    listen: (take, gone) => {
      recorder.port.onmessage = ({ data }) => {
        if (data === null) last.resolve();
        else if (data.length > 0) take(data);
      };
      track?.addEventListener("ended", gone, { once: true });
    },
    end: () => {
      ending ??= end();
      return ending;
    },
  };
}

/** Some browsers connect a microphone to a context of the device's own rate only. */
function connect(stream: MediaStream): [AudioContext, MediaStreamAudioSourceNode] {
  const context = new AudioContext({ sampleRate: RATE_HZ });
  try {
    return [context, context.createMediaStreamSource(stream)];
  } catch {
    void context.close();
    const own = new AudioContext();
    return [own, own.createMediaStreamSource(stream)];
  }
}
