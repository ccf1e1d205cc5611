// Utterances, the newest first. Only rows in sight are in the page, so ten thousand cost no more than ten.

import { useEffect, useLayoutEffect, useMemo, useReducer, useRef, useState } from "preact/hooks";
import { streamTime, timeOfDay } from "../clock";
import { CLASSIFIERS, type Utterance } from "../events";
import type { Entry, Note, Spoken } from "../stream";
import { labelText, reasonText, TEXT } from "../text";
import { Shape, Stack } from "./emotion";
import { useMedia } from "./hooks";
import { Track, Words } from "./words";

/** Height of an utterance until one was drawn. */
const FIRST_PX = 96;
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

/** How high each is, its gap included: as it was drawn last, or, where it never was, as the first that was. */
class Heights {
  readonly #drawn = new WeakMap<Entry, number>();
  #guess: number | undefined;

  of(entry: Entry): number {
    return entry.said === undefined ? NOTE_PX : (this.#drawn.get(entry) ?? this.#guess ?? FIRST_PX);
  }

  /** Whether what was drawn differs from what was known. */
  measure(entries: readonly Entry[], rows: HTMLCollection): boolean {
    let changed = false;
    for (const [i, entry] of entries.entries()) {
      if (entry.said === undefined) continue;
      const height = (rows[i] as HTMLElement).offsetHeight + GAP_PX;
      this.#guess ??= height;
      changed ||= this.#drawn.get(entry) !== height;
      this.#drawn.set(entry, height);
    }
    return changed;
  }
}

/** `bottoms[i]`: height of entries 0 to i, the oldest lowest; an entry keeps it when newer ones come. */
function stack(entries: Entry[], heights: Heights): Float64Array {
  const bottoms = new Float64Array(entries.length);
  let sum = 0;
  for (let i = 0; i < entries.length; i++) {
    sum += heights.of(entries[i]!);
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

/** What scrolls, and where the list begins in it: a narrow page scrolls as a whole. */
function frameOf(list: HTMLElement, whole_page: boolean): { frame: Element; start: number } {
  const frame = whole_page ? document.documentElement : list.parentElement!;
  const start = list.getBoundingClientRect().top - (whole_page ? 0 : frame.getBoundingClientRect().top);
  return { frame, start: start + frame.scrollTop };
}

export function List({ entries, named, selected, follow, onSelect, onAway }: Props) {
  const narrow = useMedia("(max-width: 44rem)");
  const list = useRef<HTMLOListElement>(null);
  const [scroll, setScroll] = useState({ top: 0, height: 800 });
  const heights = useRef(new Heights()).current;
  const [drawn, draw] = useReducer((count: number) => count + 1, 0);
  const bottoms = useMemo(() => stack(entries, heights), [entries, drawn]);
  const whole = bottoms.at(-1) ?? 0;
  const topOf = (index: number) => whole - bottoms[index]!;

  const lowest = firstAbove(bottoms, whole - scroll.top - scroll.height - SPARE_PX);
  const highest = Math.min(entries.length - 1, firstAbove(bottoms, whole - scroll.top + SPARE_PX));
  const shown = entries.slice(lowest, highest + 1).reverse();

  // The rows in sight stay where they are while newer ones come above them, or are found to be higher.
  const before = useRef<{ follow: number; first?: Entry | undefined; top: number }>({ follow, top: 0 });
  useLayoutEffect(() => {
    const { frame, start } = frameOf(list.current!, narrow);
    const { first, top } = before.current;
    const index = first ? entries.lastIndexOf(first) : -1;
    const moved = index < 0 ? 0 : topOf(index) - top;
    if (follow !== before.current.follow) frame.scrollTop = Math.min(frame.scrollTop, start);
    else if (moved !== 0 && frame.scrollTop > start + LIVE_PX) frame.scrollTop += moved;
    const now = firstAbove(bottoms, whole - Math.max(0, frame.scrollTop - start));
    before.current = { follow, first: entries[now], top: now < entries.length ? topOf(now) : 0 };
    if (heights.measure(shown, list.current!.children)) draw(undefined);
  });

  useEffect(() => {
    const element = list.current!;
    const look = () => {
      const { frame, start } = frameOf(element, narrow);
      // The newest are there for who is not looked at yet, too.
      setScroll({ top: Math.max(0, frame.scrollTop - start), height: frame.clientHeight });
      onAway(frame.scrollTop > start + LIVE_PX);
    };
    const observer = new ResizeObserver(look);
    observer.observe(element.parentElement!);
    observer.observe(document.body);
    document.addEventListener("scroll", look, { capture: true, passive: true });
    return () => {
      observer.disconnect();
      document.removeEventListener("scroll", look, { capture: true });
    };
  }, [narrow, onAway]);

  // A selected row is brought into sight.
  useEffect(() => {
    const { frame, start } = frameOf(list.current!, narrow);
    const index = entries.findIndex(({ key }) => key === selected);
    if (index < 0) return;
    const top = start + topOf(index);
    const end = top + heights.of(entries[index]!);
    if (top < frame.scrollTop) frame.scrollTop = top;
    else if (end > frame.scrollTop + frame.clientHeight) frame.scrollTop = end - frame.clientHeight;
  }, [selected]);

  return (
    // biome-ignore lint/a11y/noNoninteractiveTabindex: what scrolls must be reached by keyboard
    <section class="scroller" tabIndex={0} aria-label={TEXT.list}>
      <ol id="utterances" ref={list} style={{ height: `${whole}px` }}>
        {shown.map((entry, i) => {
          const index = highest - i;
          const place = { index, named, top: topOf(index), of: entries.length };
          return entry.said === undefined ? (
            <NoteRow key={entry.key} note={entry} {...place} />
          ) : (
            <Row
              key={entry.key}
              spoken={entry}
              selected={entry.key === selected}
              onSelect={onSelect}
              {...place}
            />
          );
        })}
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
  selected: boolean;
  onSelect: (key: number) => void;
}

function Row({ spoken, named, selected, onSelect, index, of, top }: RowProps) {
  const { said, event, stream, key } = spoken;
  return (
    <li
      class="utterance"
      data-emotion={said.label}
      data-selected={selected}
      aria-setsize={of}
      aria-posinset={of - index}
      style={{ transform: `translateY(${top}px)` }}
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
