// Utterances, the newest first. Only rows in sight are in the page, so ten thousand cost no more than ten.

import { useEffect, useLayoutEffect, useMemo, useRef, useState } from "preact/hooks";
import { streamTime, timeOfDay } from "../clock";
import { CLASSIFIERS, type Utterance } from "../events";
import type { Entry, Note, Spoken } from "../stream";
import { labelText, reasonText, TEXT } from "../text";
import { Shape, Stack } from "./emotion";
import { useMedia } from "./hooks";
import { Track, Words } from "./words";

const ROW_PX = 96;
const NARROW_ROW_PX = 148;
const NOTE_PX = 36;
const GAP_PX = 8;
const SPARE_PX = 300;
/** An utterance of this length or more fills the row. */
const WIDEST_MS = 8_000;
const LIVE_PX = 8;

interface Props {
  entries: Entry[];
  /** Whether each says which stream it is of. */
  named: boolean;
  selected: number | undefined;
  follow: number;
  onSelect: (key: number) => void;
  onAway: (away: boolean) => void;
}

/** `bottoms[i]`: height of entries 0 to i, the oldest lowest; an entry keeps it when newer ones come. */
function stack(entries: Entry[], row: number): Float64Array {
  const bottoms = new Float64Array(entries.length);
  let sum = 0;
  for (let i = 0; i < entries.length; i++) {
    sum += entries[i]!.said === undefined ? NOTE_PX : row;
    bottoms[i] = sum;
  }
  return bottoms;
}

/** The first entry whose bottom edge is above `height`, counted from below. */
function firstAbove(bottoms: Float64Array, height: number): number {
  let [low, high] = [0, bottoms.length];
  while (low < high) {
    const middle = (low + high) >> 1;
    if (bottoms[middle]! > height) high = middle;
    else low = middle + 1;
  }
  return low;
}

export function List({ entries, named, selected, follow, onSelect, onAway }: Props) {
  const row = useMedia("(max-width: 44rem)") ? NARROW_ROW_PX : ROW_PX;
  const scroller = useRef<HTMLElement>(null);
  const [scroll, setScroll] = useState({ top: 0, height: 800 });
  const bottoms = useMemo(() => stack(entries, row), [entries, row]);
  const whole = bottoms.at(-1) ?? 0;

  // The rows in sight stay where they are while newer ones come above them.
  const before = useRef({ whole, oldest: entries[0]?.key, follow });
  useLayoutEffect(() => {
    const element = scroller.current!;
    const { whole: old, oldest, follow: followed } = before.current;
    if (follow !== followed) element.scrollTop = 0;
    else if (element.scrollTop > LIVE_PX && oldest === entries[0]?.key) element.scrollTop += whole - old;
    before.current = { whole, oldest: entries[0]?.key, follow };
  }, [whole, follow]);

  useEffect(() => {
    const element = scroller.current!;
    const look = () => {
      setScroll({ top: element.scrollTop, height: element.clientHeight });
      onAway(element.scrollTop > LIVE_PX);
    };
    const observer = new ResizeObserver(look);
    observer.observe(element);
    element.addEventListener("scroll", look, { passive: true });
    return () => {
      observer.disconnect();
      element.removeEventListener("scroll", look);
    };
  }, [onAway]);

  const topOf = (index: number) => whole - bottoms[index]!;

  // A selected row is brought into sight.
  useEffect(() => {
    const element = scroller.current!;
    const index = entries.findIndex(({ key }) => key === selected);
    if (index < 0) return;
    const top = topOf(index);
    if (top < element.scrollTop) element.scrollTop = top;
    else if (top + row > element.scrollTop + element.clientHeight)
      element.scrollTop = top + row - element.clientHeight;
  }, [selected]);

  const lowest = firstAbove(bottoms, whole - scroll.top - scroll.height - SPARE_PX);
  const highest = Math.min(entries.length - 1, firstAbove(bottoms, whole - scroll.top + SPARE_PX));
  const rows = [];
  for (let index = highest; index >= lowest; index--) {
    const entry = entries[index]!;
    const place = { index, named, top: topOf(index), of: entries.length };
    rows.push(
      entry.said === undefined ? (
        <NoteRow key={entry.key} note={entry} {...place} />
      ) : (
        <Row
          key={entry.key}
          spoken={entry}
          height={row}
          selected={entry.key === selected}
          onSelect={onSelect}
          {...place}
        />
      ),
    );
  }

  return (
    // biome-ignore lint/a11y/noNoninteractiveTabindex: what scrolls must be reached by keyboard
    <section class="scroller" ref={scroller} tabIndex={0} aria-label={TEXT.list}>
      <ol id="utterances" style={{ height: `${whole}px` }}>
        {rows}
      </ol>
    </section>
  );
}

interface Place {
  index: number;
  of: number;
  top: number;
  named: boolean;
}

function NoteRow({ note, named, index, of, top }: Place & { note: Note }) {
  return (
    <li
      class="note"
      data-warning={note.warning}
      data-mark={note.mark}
      aria-setsize={of}
      aria-posinset={of - index}
      style={{ transform: `translateY(${top}px)`, height: `${NOTE_PX}px` }}
    >
      {timeOfDay(note.time)} {named && <b class="stream-name">{note.stream.name}</b>} {note.note}
    </li>
  );
}

interface RowProps extends Place {
  spoken: Spoken;
  height: number;
  selected: boolean;
  onSelect: (key: number) => void;
}

function Row({ spoken, named, selected, onSelect, index, of, top, height }: RowProps) {
  const { said, event, stream, key } = spoken;
  return (
    <li
      class="utterance"
      data-emotion={said.label}
      data-selected={selected}
      aria-setsize={of}
      aria-posinset={of - index}
      style={{ transform: `translateY(${top}px)`, height: `${height - GAP_PX}px` }}
    >
      <div class="verdict">
        <span class="label">
          <Shape label={said.label} />
          {labelText(said.label)}
          {said.label !== "uncertain" && <b class="share">{TEXT.percent(said.confidence)}</b>}
        </span>
        <span class="times">
          <time dateTime={event.time}>{timeOfDay(event.time)}</time> · {streamTime(said.start_ms)}
        </span>
        {named && <b class="stream-name">{stream.name}</b>}
      </div>
      <div class="said">
        <p class="transcript">
          <Words said={said} />
        </p>
        <div class="track-line">
          <Track said={said} whole_ms={WIDEST_MS} />
        </div>
        <p class="figures">
          <span>{TEXT.seconds(said.end_ms - said.start_ms)}</span>
          <span title={TEXT.agreementTitle}>{TEXT.agreement(said.agreement)}</span>
          <span title={TEXT.afterSpeechTitle}>{latency(said)}</span>
          <span class="why">{said.abstained.map(reasonText).join(", ")}</span>
        </p>
      </div>
      <div class="stacks">
        <Stack name={TEXT.ensemble} posterior={said.posterior} />
        {CLASSIFIERS.map((name) => (
          <Stack key={name} name={TEXT.classifiers[name]!} posterior={said.classifiers[name]} />
        ))}
      </div>
      <button
        type="button"
        class="open"
        aria-label={TEXT.row(labelText(said.label), streamTime(said.start_ms), named ? stream.name : "")}
        aria-pressed={selected}
        onClick={() => onSelect(key)}
      />
    </li>
  );
}

const latency = ({ latency_ms }: Utterance) =>
  latency_ms.total === undefined ? "" : TEXT.afterSpeech(latency_ms.total);
