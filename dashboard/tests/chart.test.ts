import { expect, test } from "vitest";
import { columns } from "../src/chart_data";
import { firstFrom } from "../src/order";
import { Stream } from "../src/stream";

function drawn(times: number[], from: number, to: number) {
  const stream = new Stream("/stser/test/mic", 100);
  stream.run.origin_ms = 0;
  const posterior = { angry: 0.4, happy: 0.3, neutral: 0.2, sad: 0.1 };
  stream.provisional = times.map((at_ms) => ({ run: stream.run, at_ms, posterior }));
  const [x, angry] = columns(stream, from, to);
  return { x, angry };
}

test("no line crosses the pause between two who speak", () => {
  expect(drawn([1_000, 1_500, 9_000], 0, 10_000)).toEqual({
    x: [999, 1_000, 1_500, 8_999, 9_000],
    angry: [null, 0.4, 0.4, null, 0.4],
  });
});

test("what lies outside the time that is shown is not drawn, but for where the line comes from", () => {
  expect(drawn([1_000, 1_500, 2_000, 2_500], 1_900, 2_100).x).toEqual([1_499, 1_500, 2_000]);
});

test("the first place that is reached is found", () => {
  expect([0, 1, 2, 3].map((limit) => firstFrom(3, (i) => i >= limit))).toEqual([0, 1, 2, 3]);
});
