// A live chart: uPlot with threshold lines, and marks where alerts and commands happened.

import { useEffect, useRef, useState } from "preact/hooks";
import uPlot from "uplot";
import type { Mark } from "./wire";
import { amount, clock, scale } from "./format";

export interface Line {
  label: string;
  colour: string; // of a custom property
  fill?: boolean;
}

export interface ChartProps {
  title: string;
  lines: Line[];
  data: (number | null)[][]; // times in milliseconds, then each line's values
  threshold?: number;
  marks: Mark[];
  span: [number, number]; // in milliseconds
  apart: number; // milliseconds between two values, at most; where they are further apart nothing is known of the time between
  unit: string;
  top?: number; // of the scale, at least
}

const property = (name: string) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();

// The dark and the light scheme differ in what is drawn, too.
const dark = matchMedia("(prefers-color-scheme: dark)");

export function Chart(props: ChartProps) {
  const box = useRef<HTMLDivElement>(null);
  const plot = useRef<uPlot>();
  const now = useRef(props);
  now.current = props;
  const [at, setAt] = useState<Mark[]>([]);
  const shape = JSON.stringify([props.lines, props.unit, props.top, scale()]);

  useEffect(() => {
    const el = box.current!;
    const make = () => {
      plot.current?.destroy();
      plot.current = new uPlot(options(now, el.clientWidth, setAt), feed(now.current), el);
    };
    make();
    const size = new ResizeObserver(() => {
      const width = el.clientWidth;
      if (width > 0 && width !== plot.current?.width) plot.current?.setSize({ width, height: height() });
    });
    size.observe(el);
    dark.addEventListener("change", make);
    return () => {
      dark.removeEventListener("change", make);
      size.disconnect();
      plot.current?.destroy();
      plot.current = undefined;
    };
  }, [shape]);

  useEffect(() => {
    const u = plot.current;
    if (!u) return;
    u.batch(() => {
      u.setData(feed(props), false);
      if (u.cursor.idx == null) u.setLegend({ idx: Math.max(0, u.data[0].length - 1) }, false); // the latest
      u.setScale("x", { min: props.span[0] / 1000, max: props.span[1] / 1000 });
    });
  });

  return (
    <figure class="chart">
      <figcaption>{props.title} <span class="dim">{props.unit}</span>{at.map((m) => <span class="mark" key={`${m.at} ${m.text}`}>{clock(m.at)} {m.text}</span>)}</figcaption>
      <div ref={box} role="img" aria-label={describe(props)} />
    </figure>
  );
}

function feed(p: ChartProps): uPlot.AlignedData {
  const [t, ...rest] = p.data;
  return [(t ?? []).map((x) => x! / 1000), ...rest] as uPlot.AlignedData;
}

// What a screen reader says of it.
function describe(p: ChartProps): string {
  const last = p.lines.map((l, i) => {
    const all = p.data[i + 1];
    return `${l.label} ${amount(all?.[all.length - 1])}`;
  });
  const limit = p.threshold === undefined ? "" : `, threshold ${amount(p.threshold)}`;
  return `${p.title}, ${p.unit}: now ${last.join(", ")}${limit}`;
}

const height = () => Math.round(220 * scale());

function options(now: { current: ChartProps }, width: number, point: (at: Mark[]) => void): uPlot.Options {
  const p = now.current;
  const k = scale();
  const axis = { stroke: property("--dim"), grid: { stroke: property("--grid"), width: 1 }, ticks: { stroke: property("--grid") }, font: `${12 * k}px system-ui` };
  return {
    width: Math.max(width, 50),
    height: height(),
    pxAlign: false,
    legend: { live: true },
    cursor: { y: false, drag: { x: false, y: false } },
    scales: {
      x: { time: true },
      y: { range: (_u, _min, max) => [0, Math.max(max ?? 0, now.current.threshold ?? 0, now.current.top ?? 1) * 1.08] },
    },
    axes: [
      { ...axis, size: 34 * k, space: 80 * k, values: (_u, ticks) => ticks.map((t) => clock(t * 1000).replace(/:00$/, "")) },
      { ...axis, size: 52 * k, values: (_u, ticks) => ticks.map((t) => t >= 1e4 ? amount(t) : String(t)) },
    ],
    series: [
      { label: "time", value: (_u, t) => t == null ? "–" : clock(t * 1000) },
      ...p.lines.map((l) => ({
        label: l.label, stroke: property(l.colour), width: 1.5 * k, fill: l.fill ? property(`${l.colour}-fill`) : undefined,
        gaps: gaps(now), points: { show: false, filter: lonely(now), size: 5 * k, fill: property(l.colour) }, value: (_u: uPlot, v: number | null) => amount(v),
      })),
    ],
    hooks: { draw: [(u) => overlay(u, now.current)], setCursor: [(u) => point(marksAt(u, now.current))] },
  };
}

// The times in which nothing came aren't drawn as if it were known what happened in them.
function gaps(now: { current: ChartProps }): uPlot.Series["gaps"] {
  return (u, series, from, to, known) => {
    const t = u.data[0], v = u.data[series]!;
    const all = [...known];
    let before = -1;
    for (let i = from; i <= to; i++) {
      if (v[i] == null) continue;
      if (before >= 0 && apart(t, before, i, now.current)) all.push([Math.round(u.valToPos(t[before]!, "x", true)), Math.round(u.valToPos(t[i]!, "x", true))]);
      before = i;
    }
    return all.sort((a, b) => a[0] - b[0]);
  };
}

const apart = (t: ArrayLike<number>, a: number, b: number, p: ChartProps) => (t[b]! - t[a]!) * 1000 > p.apart;

// A value between two gaps is no line: it gets a dot.
function lonely(now: { current: ChartProps }): uPlot.Series.Points.Filter {
  return (u, series) => {
    const t = u.data[0], v = u.data[series]!;
    const near = (i: number, j: number) => j >= 0 && j < t.length && v[j] != null && !apart(t, Math.min(i, j), Math.max(i, j), now.current);
    return Array.from(t.keys()).filter((i) => v[i] != null && !near(i, i - 1) && !near(i, i + 1));
  };
}

// What happened where the cursor is.
function marksAt(u: uPlot, p: ChartProps): Mark[] {
  const x = u.cursor.left ?? -1;
  if (x < 0) return none;
  const near = p.marks.filter((m) => m.at >= p.span[0] && m.at <= p.span[1] && Math.abs(u.valToPos(m.at / 1000, "x") - x) < 6 * scale());
  return near.length > 0 ? near.slice(-2) : none;
}

const none: Mark[] = [];

function overlay(u: uPlot, p: ChartProps) {
  const { ctx, bbox } = u;
  const k = devicePixelRatio * scale();
  ctx.save();
  ctx.beginPath();
  ctx.rect(bbox.left, bbox.top, bbox.width, bbox.height);
  ctx.clip();
  ctx.font = `${11 * k}px system-ui`;
  if (p.threshold !== undefined) {
    const y = u.valToPos(p.threshold, "y", true);
    ctx.strokeStyle = ctx.fillStyle = property("--line2");
    ctx.setLineDash([6 * k, 4 * k]);
    ctx.beginPath();
    ctx.moveTo(bbox.left, y);
    ctx.lineTo(bbox.left + bbox.width, y);
    ctx.stroke();
    ctx.textAlign = "left";
    ctx.fillText(`threshold ${amount(p.threshold)}`, bbox.left + 4, y - 4 * k);
  }
  ctx.setLineDash([2 * k, 3 * k]);
  for (const m of p.marks) {
    if (m.at < p.span[0] || m.at > p.span[1]) continue;
    const x = u.valToPos(m.at / 1000, "x", true);
    ctx.strokeStyle = ctx.fillStyle = property(m.kind === "alert" ? "--line2" : "--accent");
    ctx.beginPath();
    ctx.moveTo(x, bbox.top);
    ctx.lineTo(x, bbox.top + bbox.height);
    ctx.stroke();
    ctx.beginPath(); // a triangle up at the top for alerts, down at the bottom for commands: colour isn't the only sign
    const size = 5 * k, up = m.kind === "alert";
    const edge = up ? bbox.top : bbox.top + bbox.height - size * 1.6;
    const base = edge + (up ? size * 1.6 : 0), tip = edge + (up ? 0 : size * 1.6);
    ctx.moveTo(x - size, base);
    ctx.lineTo(x + size, base);
    ctx.lineTo(x, tip);
    ctx.fill();
  }
  ctx.restore();
}
