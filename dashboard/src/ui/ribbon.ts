// One stream on the canvas of the chart: its utterances as blocks, what weighed over them, who speaks, marks and gaps.

import type uPlot from "uplot";
import { EMOTIONS } from "../events";
import { firstFrom } from "../order";
import type { Session } from "../session";
import { end, type Spoken, type Stream, start } from "../stream";
import { SHAPES } from "./emotion";
import type { Palette } from "./palette";

/** Utterances closer than this have no shapes, which would hide each other. */
const SHAPES_PX = 28;
/** The shape within a block. */
const MARK_PX = 11;

/** Where on the y scale. */
export interface Band {
  top: number;
  bottom: number;
}

export interface Drawing {
  plot: uPlot;
  session: Session;
  stream: Stream;
  band: Band;
  /** Several streams, each on a band alone: without lines, and so with the shape of each label in its block. */
  lanes: boolean;
  range: { from: number; to: number };
  colours: Palette;
  selected: Spoken | undefined;
}

export function drawStream(drawing: Drawing): void {
  const { plot, stream, range, band, lanes, colours } = drawing;
  const { ctx } = plot;
  const { utterances } = stream;
  const first = firstFrom(utterances.length, (i) => end(utterances[i]!) >= range.from);
  const past = firstFrom(utterances.length, (i) => start(utterances[i]!) > range.to);
  const seen = utterances.slice(first, past);
  const top = plot.valToPos(band.top, "y", true);
  const bottom = plot.valToPos(band.bottom, "y", true);
  ctx.save();
  ctx.beginPath();
  ctx.rect(plot.bbox.left, 0, plot.bbox.width, ctx.canvas.height);
  ctx.clip();
  if (lanes) {
    ctx.fillStyle = colours.line;
    ctx.fillRect(plot.bbox.left, bottom, plot.bbox.width, devicePixelRatio);
  } else verdicts(plot, seen, colours);
  for (const spoken of seen) block(drawing, spoken, top, bottom);
  if (!lanes && seen.length * SHAPES_PX <= plot.width)
    for (const spoken of seen) shapes(plot, spoken, colours);
  if (stream.speaking) whoSpeaks(drawing, top, bottom);
  notes(drawing, top, bottom);
  ctx.restore();
}

function block(drawing: Drawing, spoken: Spoken, top: number, bottom: number): void {
  const { plot, colours, lanes, selected } = drawing;
  const { ctx } = plot;
  const { said } = spoken;
  const [high, ratio] = [bottom - top, devicePixelRatio];
  const left = plot.valToPos(start(spoken), "x", true);
  const wide = Math.max(ratio, plot.valToPos(end(spoken), "x", true) - left);
  ctx.fillStyle = colours.label[said.label] ?? colours.quiet;
  ctx.globalAlpha = 0.35;
  ctx.fillRect(left, top, wide, high);
  ctx.globalAlpha = 1;
  ctx.fillRect(left, bottom - (lanes ? 3 * ratio : 0), wide, 3 * ratio);
  if (wide > 12 * ratio) salience(ctx, spoken, left, top, wide, high);
  if (spoken === selected) {
    ctx.strokeStyle = colours.text;
    ctx.lineWidth = 2 * ratio;
    ctx.strokeRect(left, top, wide, high + (lanes ? 0 : 3 * ratio));
  }
  if (lanes && wide > (MARK_PX + 2) * ratio) {
    shape(
      ctx,
      said.label,
      left + (MARK_PX / 2 + 2) * ratio,
      top + (MARK_PX / 2 + 2) * ratio,
      MARK_PX,
      colours,
    );
  }
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
function shapes(plot: uPlot, spoken: Spoken, colours: Palette): void {
  const left = plot.valToPos(start(spoken), "x", true);
  for (const name of EMOTIONS)
    shape(plot.ctx, name, left, plot.valToPos(spoken.said.posterior[name], "y", true), 10, colours);
}

/** A shape with its middle at (x, y), with an edge that keeps it apart from what lies below. */
export function shape(
  ctx: CanvasRenderingContext2D,
  label: string,
  x: number,
  y: number,
  size_px: number,
  colours: Palette,
): void {
  const scale = (size_px / 16) * devicePixelRatio;
  ctx.save();
  ctx.translate(x - 8 * scale, y - 8 * scale);
  ctx.scale(scale, scale);
  const path = new Path2D(SHAPES[label] ?? SHAPES.uncertain);
  ctx.lineWidth = 4;
  ctx.strokeStyle = colours.card;
  ctx.stroke(path);
  ctx.fillStyle = colours.label[label] ?? colours.quiet;
  ctx.fill(path);
  ctx.restore();
}

function whoSpeaks({ plot, session, stream, colours }: Drawing, top: number, bottom: number): void {
  const { ctx } = plot;
  ctx.fillStyle = colours.quiet;
  ctx.globalAlpha = 0.3;
  const left = plot.valToPos(stream.run.origin_ms + stream.speaking_since_ms, "x", true);
  const right = plot.valToPos(session.clock(), "x", true);
  ctx.fillRect(left, top, Math.max(devicePixelRatio, right - left), bottom - top);
  ctx.globalAlpha = 1;
}

function notes(drawing: Drawing, top: number, bottom: number): void {
  const { plot, stream, lanes, range, colours } = drawing;
  const { ctx } = plot;
  const x = (ms: number) => plot.valToPos(ms, "x", true);
  for (let i = stream.notes.length - 1; i >= 0; i--) {
    const entry = stream.notes[i]!;
    const at = entry.run.origin_ms + entry.at_ms;
    if (at < range.from) break;
    if (at > range.to || !(entry.warning || entry.mark)) continue;
    ctx.strokeStyle = entry.warning ? colours.bad : colours.text;
    ctx.lineWidth = devicePixelRatio;
    ctx.setLineDash([4 * devicePixelRatio, 3 * devicePixelRatio]);
    ctx.beginPath();
    ctx.moveTo(x(at), entry.warning || lanes ? top : 0);
    ctx.lineTo(x(at), bottom);
    ctx.stroke();
    ctx.setLineDash([]);
  }
}
