// Time, on one axis that moves with the clock: the posteriors of one stream, or who spoke when in several.

import { useEffect, useRef } from "preact/hooks";
import uPlot from "uplot";
import { columns, STEPS_MS } from "../chart_data";
import { axisTime } from "../clock";
import { EMOTIONS } from "../events";
import { lanes, present, type Session, type View } from "../session";
import { end, type Spoken, type Stream, start } from "../stream";
import { TEXT } from "../text";
import { FONT, LABEL_PX, type Palette, palette } from "./palette";
import { type Band, drawStream } from "./ribbon";

const HEIGHT_PX = 220;
const AXIS_PX = 28;
const LANE_PX = 44;
/** The y scale reaches below 0, where the ribbon lies. */
const LOWEST = -0.34;
const RIBBON: Band = { top: -0.06, bottom: -0.3 };
/** A step of one pixel at most, so that the picture glides; and no more often than this. */
const FASTEST_MS = 50;
const LONGEST_NAME = 14;
const NEVER = -1;

interface Props {
  session: Session;
  view: View;
  /** Where the view stands still, on the clock of the page. */
  frozen_ms: number | undefined;
  span_s: number;
  theme: string;
  selected: Spoken | undefined;
  onSelect: (key: number) => void;
}

/** In a chart of several streams, stream 0 has the uppermost lane: from 0 down to -1. */
const lane = (index: number): Band => ({ top: -index - 0.12, bottom: -index - 0.88 });

export function Chart({ session, view, frozen_ms, span_s, theme, selected, onSelect }: Props) {
  const box = useRef<HTMLDivElement>(null);
  const redraw = useRef<() => void>(() => {});
  const drawn = lanes(view.streams);
  const names = drawn.map(({ name }) => name).join(" ");
  const latest = useRef({ view, drawn, frozen_ms, span_s, selected, onSelect });
  latest.current = { view, drawn, frozen_ms, span_s, selected, onSelect };

  useEffect(() => {
    const element = box.current!;
    const colours = palette();
    const streams = latest.current.drawn;
    const several = streams.length > 1;
    const height = several ? AXIS_PX + LANE_PX * streams.length : HEIGHT_PX;
    const plot = new uPlot(
      options(colours, element.clientWidth, height, streams, drawStreams),
      [[], ...Array(4).fill([])],
      element,
    );
    let shown = NEVER;
    let drawn_at = 0;
    let range = { from: 0, to: 1 };

    function drawStreams() {
      const { selected } = latest.current;
      streams.forEach((stream, index) => {
        const band = several ? lane(index) : RIBBON;
        drawStream({ plot, session, stream, band, lanes: several, range, colours, selected });
      });
    }

    function draw() {
      const { view, frozen_ms, span_s } = latest.current;
      const now = frozen_ms ?? present(session, view.streams);
      const oldest = view.utterances[0];
      const since = oldest ? Math.min(now, start(oldest)) : now;
      const span_ms = span_s * 1000 || Math.max(30_000, now - since);
      // A young session fills the picture from the left; an older one moves through it.
      const to = Math.max(now, since + span_ms) + 0.02 * span_ms;
      range = { from: to - 1.04 * span_ms, to };
      const [first] = streams;
      plot.batch(() => {
        if (first && !several) plot.setData(columns(first, range.from, range.to), false);
        plot.setScale("x", { min: range.from, max: range.to });
      });
      shown = session.version;
      drawn_at = performance.now();
    }
    redraw.current = draw;

    let frame = requestAnimationFrame(function tick() {
      frame = requestAnimationFrame(tick);
      const step_ms = (range.to - range.from) / Math.max(1, plot.width);
      const moves =
        latest.current.frozen_ms === undefined &&
        session.connection === "live" &&
        streams.some(({ stopped }) => !stopped);
      const due = performance.now() - drawn_at > Math.max(FASTEST_MS, step_ms);
      if (due && (moves || shown !== session.version)) draw();
    });
    const observer = new ResizeObserver(() => {
      plot.setSize({ width: element.clientWidth, height });
      draw();
    });
    observer.observe(element);
    const click = (event: MouseEvent) => {
      const at = plot.posToVal(event.offsetX, "x");
      const [only] = streams;
      const stream = several ? streams[Math.floor(-plot.posToVal(event.offsetY, "y"))] : only;
      const hit = stream?.utterances.findLast((spoken) => start(spoken) <= at && at <= end(spoken) + 200);
      if (hit) latest.current.onSelect(hit.key);
    };
    plot.over.addEventListener("click", click);
    draw();
    return () => {
      cancelAnimationFrame(frame);
      observer.disconnect();
      plot.destroy();
    };
  }, [session, theme, names]);

  useEffect(() => redraw.current(), [frozen_ms, span_s, selected]);

  const span = TEXT.spans[String(span_s)] ?? "";
  const count = view.utterances.length;
  const words = view.streams.length > 1 ? TEXT.lanesWords(names, count, span) : TEXT.chartWords(count, span);
  return <div class="chart" ref={box} role="img" aria-label={words} />;
}

function options(
  colours: Palette,
  width: number,
  height: number,
  streams: readonly Stream[],
  drawn: () => void,
): uPlot.Options {
  const several = streams.length > 1;
  const line = (name: string): uPlot.Series => ({
    stroke: colours.label[name]!,
    width: 1,
    points: { show: false },
  });
  const axis = {
    stroke: colours.quiet,
    font: FONT,
    grid: { stroke: colours.line, width: 1 },
    ticks: { show: false },
  };
  const shares: uPlot.Axis = {
    ...axis,
    size: 48,
    splits: () => [0, 0.5, 1],
    values: (_, values) => values.map(TEXT.percent),
  };
  const named: uPlot.Axis = {
    ...axis,
    size: 20 + 7 * Math.max(...streams.map(({ name }) => shortName(name).length)),
    stroke: colours.text,
    grid: { show: false },
    splits: () => streams.map((_, index) => -index - 0.5),
    values: () => streams.map(({ name }) => shortName(name)),
  };
  return {
    width,
    height,
    padding: [null, LABEL_PX, null, null],
    legend: { show: false },
    cursor: { y: false, points: { show: false }, drag: { x: false, y: false } },
    scales: { x: { time: false }, y: { range: several ? [-streams.length, 0] : [LOWEST, 1] } },
    series: [{}, ...EMOTIONS.map(line)],
    axes: [
      {
        ...axis,
        size: AXIS_PX,
        space: 80,
        incrs: STEPS_MS,
        splits: (_, __, from, to, step) => marks(axisTime(streams).zero_ms, from, to, step),
        values: (_, times) => times.map(axisTime(streams).words),
      },
      several ? named : shares,
    ],
    hooks: { draw: [drawn] },
  };
}

function marks(zero_ms: number, from: number, to: number, step: number): number[] {
  const first = zero_ms + Math.ceil((from - zero_ms) / step) * step;
  return Array.from({ length: Math.max(0, Math.floor((to - first) / step) + 1) }, (_, i) => first + i * step);
}

/** Names that are alike often differ at their ends. */
const shortName = (name: string) =>
  name.length > LONGEST_NAME ? `${name.slice(0, 7)}…${name.slice(8 - LONGEST_NAME)}` : name;
