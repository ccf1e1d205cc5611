import { expect, test } from "vitest";
import { columns } from "../src/chart_data";
import { parseMessage } from "../src/events";
import { Session } from "../src/session";
import { said, text } from "./said";

function drawn(...bodies: string[]) {
  const session = new Session(() => 0);
  for (const body of bodies) session.take(parseMessage(body)!.event!, body);
  const [x, angry, , , , sofar] = columns(session, 0, 100_000);
  return { x, angry, sofar };
}

const provisional = (end_ms: number) =>
  text("emotion.provisional", undefined, { ...JSON.parse(said(1)).data, end_ms, id: end_ms });

test("a final verdict is a line from the start to the end of what was said, and nothing between", () => {
  const { x, angry } = drawn(
    said(1, { start_ms: 1_000, end_ms: 2_000 }),
    said(2, { start_ms: 3_000, end_ms: 4_000 }),
  );
  expect(x).toEqual([1_000, 2_000, 2_001, 3_000, 4_000, 4_001]);
  expect(angry).toEqual([0.7, 0.7, null, 0.7, 0.7, null]);
});

test("no line crosses the silence between two utterances", () => {
  const session = new Session(() => 0);
  let id = 0;
  for (const body of [provisional(1_500), said(2, { start_ms: 1_000, end_ms: 2_000 }), provisional(5_000)]) {
    const { event } = parseMessage(body)!;
    session.take({ ...event!, id: String(id++) }, body);
  }
  const [x, angry, , , , sofar] = columns(session, 0, 100_000);
  expect(x).toEqual([1_000, 1_499, 1_500, 2_000, 2_001, 4_999, 5_000]);
  expect(angry!.slice(4)).toEqual([null, null, null]);
  expect(sofar).toEqual([null, null, 0.7, null, null, null, 0.7]);
});
