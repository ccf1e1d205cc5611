// Posteriors over time with a ribbon of utterances below, on one axis that moves with the clock.

import { useEffect, useRef } from "preact/hooks";
import uPlot from "uplot";
import { columns, end, firstFrom, start } from "../chart_data";
import { shortTime } from "../clock";
import { EMOTIONS } from "../events";
import type { Entry, Session, Spoken } from "../session";
import { TEXT } from "../text";
import { SHAPES } from "./emotion";
import { FONT, type Palette, palette } from "./palette";

const HEIGHT_PX = 220;
/** The y scale reaches below 0, where the ribbon lies. */
const LOWEST = -0.34;
const RIBBON = { top: -0.06, bottom: -0.3 };
/** A step of one pixel at most, so that the picture glides; and no more often than this. */
const FASTEST_MS = 50;
/** Utterances closer than this have no shapes, which would hide each other. */
const SHAPES_PX = 28;

interface Props {
  session: Session;
  /** Where the view stands still: the page's own clock, in ms. */
  frozen_ms: number | undefined;
  span_s: number;
  theme: string;
  selected: Spoken | undefined;
  onSelect: (key: number) => void;
}

const NEVER = -1;

export function Chart({ session, frozen_ms, span_s, theme, selected, onSelect }: Props) {
  const box = useRef<HTMLDivElement>(null);
  const latest = useRef({ frozen_ms, span_s, selected, onSelect });
  latest.current = { frozen_ms, span_s, selected, onSelect };
  const redraw = useRef<() => void>(() => {});

  useEffect(() => {
    const element = box.current!;
    const colours = palette();
    const plot = new uPlot(
      options(colours, element.clientWidth, drawRibbon),
      [[], ...Array(4).fill([])],
      element,
    );
    let shown = NEVER;
    let drawn_at = 0;
    let range = { from: 0, to: 1 };

    function drawRibbon() {
      ribbon(plot, session, range, colours, latest.current.selected);
    }

    function draw() {
      const now = latest.current.frozen_ms ?? session.clock();
      const oldest = session.utterances[0];
      const since = oldest ? Math.min(now, start(oldest)) : now;
      const span_ms = latest.current.span_s * 1000 || Math.max(30_000, now - since);
      // A young session fills the picture from the left; an older one moves through it.
      const to = Math.max(now, since + span_ms) + 0.02 * span_ms;
      range = { from: to - 1.04 * span_ms, to };
      plot.batch(() => {
        plot.setData(columns(session, range.from, range.to), false);
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
        latest.current.frozen_ms === undefined && session.connection === "live" && !session.stopped;
      const due = performance.now() - drawn_at > Math.max(FASTEST_MS, step_ms);
      if (due && (moves || shown !== session.version)) draw();
    });
    const observer = new ResizeObserver(() => {
      plot.setSize({ width: element.clientWidth, height: HEIGHT_PX });
      draw();
    });
    observer.observe(element);
    const click = (event: MouseEvent) => {
      const at = plot.posToVal(event.offsetX, "x");
      const hit = session.utterances.findLast((spoken) => start(spoken) <= at && at <= end(spoken) + 200);
      if (hit) latest.current.onSelect(hit.key);
    };
    plot.over.addEventListener("click", click);
    draw();
    return () => {
      cancelAnimationFrame(frame);
      observer.disconnect();
      plot.destroy();
    };
  }, [session, theme]);

  useEffect(() => redraw.current(), [frozen_ms, span_s, selected]);

  const words = TEXT.chartWords(session.utterances.length, TEXT.spans[String(span_s)] ?? "");
  return <div class="chart" ref={box} role="img" aria-label={words} />;
}

function options(colours: Palette, width: number, drawn: () => void): uPlot.Options {
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
  return {
    width,
    height: HEIGHT_PX,
    legend: { show: false },
    cursor: { y: false, points: { show: false }, drag: { x: false, y: false } },
    scales: { x: { time: false }, y: { range: [LOWEST, 1] } },
    series: [{}, ...EMOTIONS.map(line)],
    axes: [
      {
        ...axis,
        size: 28,
        space: 70,
        values: (_, times) => times.map((ms) => (ms < 0 ? "" : shortTime(ms))),
      },
      { ...axis, size: 48, splits: () => [0, 0.5, 1], values: (_, shares) => shares.map(TEXT.percent) },
    ],
    hooks: { draw: [drawn] },
  };
}

/** Utterances as blocks, what weighed over them, who speaks, marks and gaps. */
function ribbon(
  plot: uPlot,
  session: Session,
  { from, to }: { from: number; to: number },
  colours: Palette,
  selected: Spoken | undefined,
): void {
  const { ctx } = plot;
  const x = (ms: number) => plot.valToPos(ms, "x", true);
  const [top, bottom] = [plot.valToPos(RIBBON.top, "y", true), plot.valToPos(RIBBON.bottom, "y", true)];
  const [high, ratio] = [bottom - top, devicePixelRatio];
  const { utterances } = session;
  const first = firstFrom(utterances.length, (i) => end(utterances[i]!) >= from);
  const past = firstFrom(utterances.length, (i) => start(utterances[i]!) > to);
  ctx.save();
  ctx.beginPath();
  ctx.rect(plot.bbox.left, 0, plot.bbox.width, ctx.canvas.height);
  ctx.clip();
  verdicts(plot, utterances.slice(first, past), colours);
  for (let i = first; i < past; i++) {
    const spoken = utterances[i]!;
    const { said } = spoken;
    const [left, right] = [x(start(spoken)), x(end(spoken))];
    const wide = Math.max(ratio, right - left);
    const colour = colours.label[said.label] ?? colours.quiet;
    ctx.fillStyle = colour;
    ctx.globalAlpha = 0.35;
    ctx.fillRect(left, top, wide, high);
    ctx.globalAlpha = 1;
    ctx.fillRect(left, bottom, wide, 3 * ratio);
    if (wide > 12 * ratio) salience(ctx, spoken, left, top, wide, high);
    if (spoken === selected) {
      ctx.strokeStyle = colours.text;
      ctx.lineWidth = 2 * ratio;
      ctx.strokeRect(left, top, wide, high + 3 * ratio);
    }
    if ((past - first) * SHAPES_PX <= plot.width) shapes(plot, spoken, left, colours);
  }
  if (session.speaking) {
    ctx.fillStyle = colours.quiet;
    ctx.globalAlpha = 0.3;
    const left = x(session.speaking_since_ms);
    ctx.fillRect(left, top, Math.max(ratio, x(session.clock()) - left), high);
    ctx.globalAlpha = 1;
  }
  notes(ctx, session.entries, from, to, x, top, bottom, colours);
  ctx.restore();
}

function salience(
  ctx: CanvasRenderingContext2D,
  { said }: Spoken,
  left: number,
  top: number,
  wide: number,
  high: number,
): void {
  const speech = said.salience?.speech ?? [];
  if (!said.salience || speech.length < 2) return;
  const highest = Math.max(...speech, 1e-9);
  const step = (wide * said.salience.hop_ms) / (said.end_ms - said.start_ms);
  ctx.beginPath();
  ctx.moveTo(left, top + high);
  speech.forEach((share, index) => {
    ctx.lineTo(Math.min(left + wide, left + (index + 0.5) * step), top + high * (1 - share / highest));
  });
  ctx.lineTo(left + wide, top + high);
  ctx.globalAlpha = 0.75;
  ctx.fill();
  ctx.globalAlpha = 1;
}

/** Final shares, from the start of each utterance to its end. */
function verdicts(plot: uPlot, utterances: readonly Spoken[], colours: Palette): void {
  const { ctx } = plot;
  ctx.lineWidth = 3 * devicePixelRatio;
  for (const name of EMOTIONS) {
    ctx.strokeStyle = colours.label[name]!;
    ctx.beginPath();
    for (const spoken of utterances) {
      const y = plot.valToPos(spoken.said.posterior[name], "y", true);
      const left = plot.valToPos(start(spoken), "x", true);
      ctx.moveTo(left, y);
      ctx.lineTo(Math.max(left + devicePixelRatio, plot.valToPos(end(spoken), "x", true)), y);
    }
    ctx.stroke();
  }
}

/** The shape of each emotion where its line begins, so that lines are told apart without colour. */
function shapes(plot: uPlot, { said }: Spoken, left: number, colours: Palette): void {
  const { ctx } = plot;
  const scale = (0.62 * devicePixelRatio) | 0 || 0.62;
  for (const name of EMOTIONS) {
    const y = plot.valToPos(said.posterior[name], "y", true);
    ctx.save();
    ctx.translate(left - 8 * scale, y - 8 * scale);
    ctx.scale(scale, scale);
    const path = new Path2D(SHAPES[name]);
    ctx.lineWidth = 4;
    ctx.strokeStyle = colours.card;
    ctx.stroke(path);
    ctx.fillStyle = colours.label[name]!;
    ctx.fill(path);
    ctx.restore();
  }
}

function notes(
  ctx: CanvasRenderingContext2D,
  entries: readonly Entry[],
  from: number,
  to: number,
  x: (ms: number) => number,
  top: number,
  bottom: number,
  colours: Palette,
): void {
  for (let i = entries.length - 1; i >= 0; i--) {
    const entry = entries[i]!;
    const at = entry.said === undefined ? entry.at_ms : end(entry);
    if (at < from) break;
    if (entry.said !== undefined || at > to || !(entry.warning || entry.mark)) continue;
    ctx.strokeStyle = entry.warning ? colours.bad : colours.text;
    ctx.lineWidth = devicePixelRatio;
    ctx.setLineDash([4 * devicePixelRatio, 3 * devicePixelRatio]);
    ctx.beginPath();
    ctx.moveTo(x(at), entry.warning ? top : 0);
    ctx.lineTo(x(at), bottom);
    ctx.stroke();
    ctx.setLineDash([]);
  }
}
