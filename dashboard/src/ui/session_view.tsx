// The session as a whole: shares, transitions, trend; and what can be saved.

import { useEffect, useRef } from "preact/hooks";
import uPlot from "uplot";
import { shortTime } from "../clock";
import { EMOTIONS, LABELS } from "../events";
import { fileName, save, toCsv, toJsonLines } from "../export";
import type { Session } from "../session";
import { type Share, shares, transitions, trend } from "../statistics";
import { labelText, TEXT } from "../text";
import { Fact, Shape } from "./emotion";
import { FONT, palette } from "./palette";
import { picture } from "./picture";

export function SessionView({ session, theme }: { session: Session; theme: string }) {
  const { utterances } = session;
  const share = shares(utterances);
  const spoken_ms = share.reduce((sum, { ms }) => sum + ms, 0);
  return (
    <div class="session">
      <section class="card" aria-labelledby="share-heading">
        <h2 id="share-heading">{TEXT.share}</h2>
        {utterances.length === 0 ? <p class="hint">{TEXT.notEnough}</p> : <Shares share={share} />}
        <dl class="facts">
          <Fact name={TEXT.utterances}>{utterances.length}</Fact>
          <Fact name={TEXT.spoken}>{shortTime(spoken_ms)}</Fact>
        </dl>
      </section>
      <section class="card" aria-labelledby="transitions-heading">
        <h2 id="transitions-heading">{TEXT.transitions}</h2>
        <Transitions session={session} />
      </section>
      <section class="card wide" aria-labelledby="trend-heading">
        <h2 id="trend-heading">{TEXT.trend}</h2>
        <p class="hint">{TEXT.trendHint}</p>
        <Trend session={session} theme={theme} />
      </section>
      <section class="card wide" aria-labelledby="export-heading">
        <h2 id="export-heading">{TEXT.exports}</h2>
        <p class="buttons">
          <button
            type="button"
            onClick={() => save(fileName("csv"), new Blob([toCsv(utterances)], { type: "text/csv" }))}
          >
            {TEXT.exportCsv}
          </button>
          <button
            type="button"
            onClick={() =>
              save(fileName("jsonl"), new Blob([toJsonLines(session.lines)], { type: "application/jsonl" }))
            }
          >
            {TEXT.exportJsonl}
          </button>
          <button type="button" onClick={() => picture(session, (png) => save(fileName("png"), png))}>
            {TEXT.exportPng}
          </button>
        </p>
      </section>
    </div>
  );
}

function Shares({ share }: { share: Share[] }) {
  return (
    <table class="bars">
      <caption class="unseen">{TEXT.share}</caption>
      <tbody>
        {share.map(({ label, ms, share }) => (
          <tr key={label} data-emotion={label}>
            <th scope="row">
              <Shape label={label} />
              {labelText(label)}
            </th>
            <td class="track">
              <div>
                <div class="final" style={{ width: `${100 * share}%` }} />
              </div>
            </td>
            <td class="share" title={shortTime(ms)}>
              {TEXT.percent(share)}
            </td>
          </tr>
        ))}
      </tbody>
    </table>
  );
}

function Transitions({ session }: { session: Session }) {
  const counts = transitions(session.utterances);
  return (
    <table class="grid">
      <caption class="small">{TEXT.transitionsCaption}</caption>
      <thead>
        <tr>
          <th scope="col">{TEXT.from}</th>
          {LABELS.map((to) => (
            <th key={to} scope="col">
              <Shape label={to} />
              <span class="long">{labelText(to)}</span>
              <span class="unseen">{labelText(to)}</span>
            </th>
          ))}
        </tr>
      </thead>
      <tbody>
        {LABELS.map((from) => {
          const sum = LABELS.reduce((all, to) => all + counts[from][to], 0);
          return (
            <tr key={from}>
              <th scope="row">
                <Shape label={from} />
                {labelText(from)}
              </th>
              {LABELS.map((to) => (
                <td key={to} class="heat" data-emotion={to}>
                  <span class="heat-fill" style={{ opacity: sum ? (0.45 * counts[from][to]) / sum : 0 }} />
                  <span class="heat-count">{counts[from][to] || "·"}</span>
                </td>
              ))}
            </tr>
          );
        })}
      </tbody>
    </table>
  );
}

function Trend({ session, theme }: { session: Session; theme: string }) {
  const box = useRef<HTMLDivElement>(null);
  const plot = useRef<uPlot | undefined>(undefined);
  const points = trend(session.utterances);
  useEffect(() => {
    const element = box.current!;
    const colours = palette();
    const axis = {
      stroke: colours.quiet,
      font: FONT,
      grid: { stroke: colours.line, width: 1 },
      ticks: { show: false },
    };
    plot.current = new uPlot(
      {
        width: element.clientWidth,
        height: 200,
        legend: { show: false },
        cursor: { show: false },
        scales: { x: { time: false }, y: { range: [0, 1] } },
        series: [
          {},
          ...EMOTIONS.map((name) => ({
            stroke: colours.label[name]!,
            width: 2,
            points: { show: true, size: 6 },
          })),
        ],
        axes: [
          { ...axis, size: 28, values: (_: uPlot, times: number[]) => times.map(shortTime) },
          { ...axis, size: 48, values: (_: uPlot, shares: number[]) => shares.map(TEXT.percent) },
        ],
      },
      [[], [], [], [], []],
      element,
    );
    const observer = new ResizeObserver(() =>
      plot.current?.setSize({ width: element.clientWidth, height: 200 }),
    );
    observer.observe(element);
    return () => {
      observer.disconnect();
      plot.current?.destroy();
    };
  }, [theme]);
  useEffect(() => {
    plot.current?.setData([
      points.map(({ at_ms }) => at_ms),
      ...EMOTIONS.map((name) => points.map(({ posterior }) => posterior[name])),
    ] as uPlot.AlignedData);
  });
  return <div class="chart" ref={box} role="img" aria-label={TEXT.trendWords(points.length)} />;
}
