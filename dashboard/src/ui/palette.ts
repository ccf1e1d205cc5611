// The style sheet's colours, for what is drawn on a canvas.

import { LABELS } from "../events";

export interface Palette {
  text: string;
  quiet: string;
  line: string;
  card: string;
  bad: string;
  label: Record<string, string>;
}

export function palette(): Palette {
  const style = getComputedStyle(document.documentElement);
  const colour = (name: string) => style.getPropertyValue(`--${name}`).trim();
  return {
    text: colour("text"),
    quiet: colour("quiet"),
    line: colour("line"),
    card: colour("card"),
    bad: colour("bad"),
    label: Object.fromEntries(LABELS.map((label) => [label, colour(label)])),
  };
}

/** Half of a time on an axis: room for the last one. */
export const LABEL_PX = 36;
export const FONT = '12px system-ui, "DejaVu Sans", sans-serif';
