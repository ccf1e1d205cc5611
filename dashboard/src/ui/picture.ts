// The session as a picture to keep.

import { axisTime } from "../clock";
import type { Session, View } from "../session";
import { extent, shares } from "../statistics";
import { end, start } from "../stream";
import { labelText, TEXT } from "../text";
import { SHAPES } from "./emotion";
import { palette } from "./palette";

const WIDTH = 1200;
const EDGE = 40;
const WIDE = WIDTH - 2 * EDGE;
const TOP = 110;
const LANE = 130;
/** Below the lanes: the axis of time and the shares. */
const FOOT = 180;

export function picture(session: Session, view: View, done: (png: Blob) => void): void {
  const canvas = document.createElement("canvas");
  const lanes = Math.max(1, view.streams.length);
  [canvas.width, canvas.height] = [WIDTH, TOP + lanes * LANE + FOOT];
  const context = canvas.getContext("2d");
  if (context === null) return;
  draw(context, session, view);
  canvas.toBlob((png) => png && done(png), "image/png");
}

function draw(context: CanvasRenderingContext2D, session: Session, view: View): void {
  const colours = palette();
  const { utterances, streams } = view;
  context.fillStyle = colours.card;
  context.fillRect(0, 0, WIDTH, context.canvas.height);
  const write = (text: string, x: number, y: number, size = 16, colour = colours.text) => {
    context.fillStyle = colour;
    context.font = `${size}px system-ui, "DejaVu Sans", sans-serif`;
    context.fillText(text, x, y);
  };
  const names = streams.map(({ name }) => name).join(", ");
  write(`${TEXT.title} ${session.node}/${names}`, EDGE, 48, 22);
  const when = utterances[0] ? new Date(utterances[0].event.time).toLocaleString() : "";
  write(`${when} · ${TEXT.utterances}: ${utterances.length}`, EDGE, 76, 14, colours.quiet);
  if (utterances.length === 0) return;

  const { from, to } = extent(utterances);
  const x = (ms: number) => EDGE + (WIDE * (ms - from)) / Math.max(1, to - from);
  streams.forEach((stream, index) => {
    const floor = TOP + (index + 1) * LANE;
    for (const spoken of stream.utterances) {
      const high = 10 + 90 * spoken.said.confidence;
      context.fillStyle = colours.label[spoken.said.label] ?? colours.quiet;
      context.fillRect(x(start(spoken)), floor - high, Math.max(1, x(end(spoken)) - x(start(spoken))), high);
    }
    context.fillStyle = colours.line;
    context.fillRect(EDGE, floor + 1, WIDE, 1);
    if (streams.length > 1) write(stream.name, EDGE, floor - LANE + 22, 13, colours.quiet);
  });
  const foot = TOP + streams.length * LANE;
  const { words } = axisTime(streams);
  write(words(from), EDGE, foot + 24, 13, colours.quiet);
  write(words(to), WIDTH - EDGE - context.measureText(words(to)).width, foot + 24, 13, colours.quiet);

  let left = EDGE;
  shares(utterances).forEach(({ label, share }, index) => {
    context.fillStyle = colours.label[label] ?? colours.quiet;
    context.fillRect(left, foot + 60, WIDE * share, 30);
    left += WIDE * share;
    const at = EDGE + (index * WIDE) / 5;
    context.save();
    context.translate(at, foot + 119);
    context.fill(new Path2D(SHAPES[label]));
    context.restore();
    write(`${labelText(label)} ${TEXT.percent(share)}`, at + 24, foot + 133, 16);
  });
}
