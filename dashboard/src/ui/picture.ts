// The session as a picture to keep.

import { shortTime } from "../clock";
import type { Session } from "../session";
import { shares } from "../statistics";
import { labelText, TEXT } from "../text";
import { SHAPES } from "./emotion";
import { palette } from "./palette";

const WIDTH = 1200;
const HEIGHT = 420;
const EDGE = 40;

export function picture(session: Session, done: (png: Blob) => void): void {
  const canvas = document.createElement("canvas");
  [canvas.width, canvas.height] = [WIDTH, HEIGHT];
  const context = canvas.getContext("2d");
  if (context === null) return;
  draw(context, session);
  canvas.toBlob((png) => png && done(png), "image/png");
}

function draw(context: CanvasRenderingContext2D, session: Session): void {
  const colours = palette();
  const { utterances } = session;
  context.fillStyle = colours.card;
  context.fillRect(0, 0, WIDTH, HEIGHT);
  const write = (text: string, x: number, y: number, size = 16, colour = colours.text) => {
    context.fillStyle = colour;
    context.font = `${size}px system-ui, "DejaVu Sans", sans-serif`;
    context.fillText(text, x, y);
  };
  write(`${TEXT.title} ${session.source.replace("/stser/", "")}`, EDGE, 48, 22);
  const when = utterances[0] ? new Date(utterances[0].time).toLocaleString() : "";
  write(`${when} · ${TEXT.utterances}: ${utterances.length}`, EDGE, 76, 14, colours.quiet);

  const first = utterances[0];
  const last = utterances.at(-1);
  if (first === undefined || last === undefined) return;
  const from = first.origin_ms + first.said.start_ms;
  const whole = Math.max(1, last.origin_ms + last.said.end_ms - from);
  const wide = WIDTH - 2 * EDGE;
  for (const { origin_ms, said } of utterances) {
    const x = EDGE + (wide * (origin_ms + said.start_ms - from)) / whole;
    const high = 20 + 100 * said.confidence;
    context.fillStyle = colours.label[said.label] ?? colours.quiet;
    context.fillRect(x, 230 - high, Math.max(1, (wide * (said.end_ms - said.start_ms)) / whole), high);
  }
  context.fillStyle = colours.line;
  context.fillRect(EDGE, 231, wide, 1);
  write(shortTime(from), EDGE, 252, 13, colours.quiet);
  const length = shortTime(from + whole);
  write(length, WIDTH - EDGE - context.measureText(length).width, 252, 13, colours.quiet);

  let x = EDGE;
  for (const { label, share } of shares(utterances)) {
    context.fillStyle = colours.label[label] ?? colours.quiet;
    context.fillRect(x, 290, wide * share, 30);
    x += wide * share;
  }
  shares(utterances).forEach(({ label, share }, index) => {
    const left = EDGE + (index * wide) / 5;
    context.save();
    context.translate(left, 349);
    context.fillStyle = colours.label[label] ?? colours.quiet;
    context.fill(new Path2D(SHAPES[label]));
    context.restore();
    write(`${labelText(label)} ${TEXT.percent(share)}`, left + 24, 363, 16);
  });
}
