// Speaking from this browser, and recordings that are dropped or chosen.

import { useEffect, useRef, useState } from "preact/hooks";
import type { Input, Inputs } from "../audio/inputs";
import { TEXT } from "../text";
import { useChanges, useKept } from "./hooks";
import { LevelBar } from "./level";

/** Of the column, where what goes on below fades. */
const FADE_PX = 24;
const NAME = "[a-zA-Z0-9_\\-]{1,32}";

export function InputsCard({ inputs }: { inputs: Inputs }) {
  useChanges(inputs);
  return (
    <section class="card inputs" aria-labelledby="inputs-heading">
      <h2 id="inputs-heading">{TEXT.inputs}</h2>
      <Speak inputs={inputs} />
      <Files inputs={inputs} />
    </section>
  );
}

function Speak({ inputs }: { inputs: Inputs }) {
  const [name, setName] = useKept("stream", "browser");
  const { microphone, speaking } = inputs;
  const submit = (event: Event) => {
    event.preventDefault();
    if (speaking) void inputs.stop();
    else void inputs.speak(name);
  };
  return (
    <form class="speak" onSubmit={submit}>
      <button
        type="submit"
        class="main"
        aria-pressed={speaking}
        disabled={speaking && microphone?.phase !== "sending"}
      >
        {speaking ? TEXT.input.stop : TEXT.input.speak}
      </button>
      <input
        aria-label={TEXT.input.name}
        title={TEXT.input.badName}
        pattern={NAME}
        required
        disabled={speaking}
        value={speaking ? microphone?.stream || name : name}
        onInput={(event) => setName(event.currentTarget.value)}
      />
      {microphone?.phase === "sending" && (
        <div class="wide">
          <LevelBar level={microphone.level_dbfs} clipped={microphone.clipped} />
          <p class="small heard">{microphone.partial ? TEXT.input.heard(microphone.partial) : "\u00a0"}</p>
        </div>
      )}
      <p class={`small wide ${microphone?.problem ? "warning" : ""}`} role="status">
        {microphone && microphoneWords(microphone)}
      </p>
    </form>
  );
}

function microphoneWords({ phase, problem }: Input): string {
  if (problem) return problem;
  if (phase === "asking") return TEXT.input.asking;
  return phase === "finishing" ? TEXT.input.finishing : "";
}

function Files({ inputs }: { inputs: Inputs }) {
  const choose = (event: Event & { currentTarget: HTMLInputElement }) => {
    inputs.analyse(event.currentTarget.files ?? []);
    event.currentTarget.value = "";
  };
  return (
    <>
      <p class="choose">
        <label class="button">
          {TEXT.input.file}
          <input type="file" class="unseen" accept="audio/*,video/*" multiple onChange={choose} />
        </label>
        <span class="small">{TEXT.input.drop}</span>
      </p>
      {inputs.files.length > 0 && (
        <ul class="files" aria-label={TEXT.input.files}>
          {inputs.files.map((file) => (
            <FileRow key={file.key} file={file} onRemove={() => inputs.remove(file)} />
          ))}
        </ul>
      )}
    </>
  );
}

function FileRow({ file, onRemove }: { file: Input; onRemove: () => void }) {
  const { title, phase, progress, problem } = file;
  const percent = TEXT.percent(progress);
  const row = useRef<HTMLLIElement>(null);
  // What is worked on is in sight; a page that scrolls as a whole stays where it is.
  useEffect(() => {
    const column = row.current!.closest(".left")!;
    const lowest = column.getBoundingClientRect().bottom - FADE_PX;
    const below = row.current!.getBoundingClientRect().bottom - lowest;
    if (phase !== "waiting" && below > 0) column.scrollTop += below;
  }, [phase]);
  const words = {
    waiting: TEXT.input.waiting,
    asking: TEXT.input.reading,
    done: TEXT.input.done,
    failed: "",
  };
  return (
    <li ref={row}>
      <span class="file-name" title={title}>
        {title}
      </span>
      <span class="small">{words[phase as keyof typeof words] ?? percent}</span>
      <button type="button" aria-label={TEXT.input.remove(title)} onClick={onRemove}>
        ×
      </button>
      {(phase === "sending" || phase === "finishing") && (
        <progress class="wide" aria-label={TEXT.input.progress(title)} value={progress} />
      )}
      {problem && (
        <p class="small warning wide" role="alert">
          {problem}
        </p>
      )}
    </li>
  );
}

/** The whole page takes recordings. */
export function DropArea({ onFiles }: { onFiles: (files: File[]) => void }) {
  const [over, setOver] = useState(false);
  useEffect(() => {
    const hasFiles = (event: DragEvent) => event.dataTransfer?.types.includes("Files") ?? false;
    const drag = (event: DragEvent) => {
      if (!hasFiles(event)) return;
      event.preventDefault();
      setOver(true);
    };
    const leave = (event: DragEvent) => {
      if (event.relatedTarget === null) setOver(false);
    };
    const drop = (event: DragEvent) => {
      if (!hasFiles(event)) return;
      event.preventDefault();
      setOver(false);
      onFiles([...(event.dataTransfer?.files ?? [])]);
    };
    const listeners = { dragenter: drag, dragover: drag, dragleave: leave, drop };
    for (const [name, listener] of Object.entries(listeners))
      addEventListener(name, listener as EventListener);
    return () => {
      for (const [name, listener] of Object.entries(listeners))
        removeEventListener(name, listener as EventListener);
    };
  }, []);
  return over ? <div id="drop">{TEXT.input.dropHere}</div> : null;
}
