// The session as a whole: shares, transitions, trend; and what can be saved.

import { useEffect, useRef } from "preact/hooks";
import uPlot from "uplot";
import { STEPS_MS } from "../chart_data";
import { axisTime, shortTime } from "../clock";
import { toEmotionMl } from "../emotionml";
import { EMOTIONS, LABELS } from "../events";
import { fileName, save, toCsv, toJsonLines } from "../export";
import type { Session, View } from "../session";
import { type Share, shares, transitions, trend } from "../statistics";
import { labelText, TEXT } from "../text";
import { Fact, Shape } from "./emotion";
import { FONT, LABEL_PX, type Palette, palette } from "./palette";
import { picture } from "./picture";
import { shape } from "./ribbon";

interface Props {
  session: Session;
  /** The one that is looked at; the empty text for all. */
  stream: string;
  view: View;
  theme: string;
}

export function SessionView({ session, stream, view, theme }: Props) {
  const { utterances } = view;
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
        <Transitions view={view} />
      </section>
      {view.streams.length > 1 && <Speakers view={view} />}
      <section class="card wide" aria-labelledby="trend-heading">
        <h2 id="trend-heading">{TEXT.trend}</h2>
        <p class="hint">{TEXT.trendHint}</p>
        <Trend view={view} theme={theme} />
      </section>
      <Exports session={session} stream={stream} view={view} />
    </div>
  );
}

function Exports({ session, stream, view }: Omit<Props, "theme">) {
  const { utterances, streams } = view;
  const keep = (ending: string, type: string, content: string) =>
    save(fileName(stream, ending), new Blob([content], { type }));
  const lines = () => session.lines.filter((line) => streams.includes(line.stream));
  return (
    <section class="card wide" aria-labelledby="export-heading">
      <h2 id="export-heading">{stream ? TEXT.exportsOf(stream) : TEXT.exports}</h2>
      <p class="buttons">
        <button type="button" onClick={() => keep("csv", "text/csv", toCsv(utterances))}>
          {TEXT.exportCsv}
        </button>
        <button type="button" onClick={() => keep("jsonl", "application/jsonl", toJsonLines(lines()))}>
          {TEXT.exportJsonl}
        </button>
        <button
          type="button"
          onClick={() => keep("emotionml", "application/emotionml+xml", toEmotionMl(utterances))}
        >
          {TEXT.exportEmotionMl}
        </button>
        <button
          type="button"
          onClick={() => picture(session, view, (png) => save(fileName(stream, "png"), png))}
        >
          {TEXT.exportPng}
        </button>
      </p>
    </section>
  );
}

/** How long each stream spoke, and how. */
function Speakers({ view }: { view: View }) {
  const spoken = view.streams.map((stream) => {
    const share = shares(stream.utterances);
    return { stream, share, ms: share.reduce((sum, { ms }) => sum + ms, 0) };
  });
  const most = Math.max(1, ...spoken.map(({ ms }) => ms));
  return (
    <section class="card wide" aria-labelledby="speakers-heading">
      <h2 id="speakers-heading">{TEXT.speakers}</h2>
      <table class="bars">
        <caption class="unseen">{TEXT.speakers}</caption>
        <tbody>
          {spoken.map(({ stream, share, ms }) => (
            <tr key={stream.name}>
              <th scope="row">{stream.name}</th>
              <td class="track">
                <div
                  class="stack-bar"
                  role="img"
                  aria-label={TEXT.shareWords(share)}
                  style={{ width: `${(100 * ms) / most}%` }}
                >
                  {share.map(({ label, ms }) => (
                    <span key={label} data-emotion={label} style={{ flexGrow: ms }} />
                  ))}
                </div>
              </td>
              <td class="share">{shortTime(ms)}</td>
            </tr>
          ))}
        </tbody>
      </table>
    </section>
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

function Transitions({ view }: { view: View }) {
  const counts = transitions(view.utterances);
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

/** The shape of its emotion at each point of a line. */
function shapes(plot: uPlot, colours: Palette): void {
  const [times, ...columns] = plot.data;
  EMOTIONS.forEach((name, emotion) => {
    columns[emotion]!.forEach((share, i) => {
      const [x, y] = [plot.valToPos(times[i]!, "x", true), plot.valToPos(share ?? 0, "y", true)];
      shape(plot.ctx, name, x, y, 11, colours);
    });
  });
}

function Trend({ view, theme }: { view: View; theme: string }) {
  const box = useRef<HTMLDivElement>(null);
  const plot = useRef<uPlot | undefined>(undefined);
  const points = trend(view.utterances);
  const words = useRef(axisTime(view.streams).words);
  words.current = axisTime(view.streams).words;
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
            points: { show: false },
          })),
        ],
        hooks: { draw: [(plot) => shapes(plot, colours)] },
        padding: [null, LABEL_PX, null, null],
        axes: [
          {
            ...axis,
            size: 28,
            space: 80,
            incrs: STEPS_MS,
            values: (_: uPlot, times: number[]) => times.map(words.current),
          },
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
