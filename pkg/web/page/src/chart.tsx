// A live chart: uPlot with threshold lines, and marks where alerts and commands happened.

import { useEffect, useRef } from "preact/hooks";
import uPlot from "uplot";
import type { Mark } from "./wire";
import { amount, clock } from "./format";

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
  unit: string;
  top?: number; // of the scale, at least
  height?: number;
}

const property = (name: string) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();

// The dark and the light scheme differ in what is drawn, too.
const dark = matchMedia("(prefers-color-scheme: dark)");

export function Chart(props: ChartProps) {
  const box = useRef<HTMLDivElement>(null);
  const plot = useRef<uPlot>();
  const now = useRef(props);
  now.current = props;
  const shape = JSON.stringify([props.lines, props.unit, props.top, props.height]);

  useEffect(() => {
    const el = box.current!;
    const make = () => {
      plot.current?.destroy();
      plot.current = new uPlot(options(now, el.clientWidth), feed(now.current), el);
    };
    make();
    const size = new ResizeObserver(() => {
      const width = el.clientWidth;
      if (width > 0 && width !== plot.current?.width) plot.current?.setSize({ width, height: now.current.height ?? 220 });
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
      <figcaption>{props.title} <span class="dim">{props.unit}</span></figcaption>
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

function options(now: { current: ChartProps }, width: number): uPlot.Options {
  const p = now.current;
  const axis = { stroke: property("--dim"), grid: { stroke: property("--grid"), width: 1 }, ticks: { stroke: property("--grid") }, font: "12px system-ui" };
  return {
    width: Math.max(width, 50),
    height: p.height ?? 220,
    pxAlign: false,
    legend: { live: true },
    cursor: { y: false, drag: { x: false, y: false } },
    scales: {
      x: { time: true },
      y: { range: (_u, _min, max) => [0, Math.max(max ?? 0, now.current.threshold ?? 0, now.current.top ?? 1) * 1.08] },
    },
    axes: [
      { ...axis, size: 34, space: 80, values: (_u, ticks) => ticks.map((t) => clock(t * 1000).replace(/:00$/, "")) },
      { ...axis, size: 52, values: (_u, ticks) => ticks.map((t) => t >= 1e4 ? amount(t) : String(t)) },
    ],
    series: [
      { label: "time", value: (_u, t) => t == null ? "–" : clock(t * 1000) },
      ...p.lines.map((l) => ({
        label: l.label, stroke: property(l.colour), width: 1.5, fill: l.fill ? property(`${l.colour}-fill`) : undefined,
        points: { show: false }, value: (_u: uPlot, v: number | null) => amount(v),
      })),
    ],
    hooks: { draw: [(u) => overlay(u, now.current)] },
  };
}

function overlay(u: uPlot, p: ChartProps) {
  const { ctx, bbox } = u;
  ctx.save();
  ctx.beginPath();
  ctx.rect(bbox.left, bbox.top, bbox.width, bbox.height);
  ctx.clip();
  ctx.font = `${11 * devicePixelRatio}px system-ui`;
  if (p.threshold !== undefined) {
    const y = u.valToPos(p.threshold, "y", true);
    ctx.strokeStyle = ctx.fillStyle = property("--line2");
    ctx.setLineDash([6 * devicePixelRatio, 4 * devicePixelRatio]);
    ctx.beginPath();
    ctx.moveTo(bbox.left, y);
    ctx.lineTo(bbox.left + bbox.width, y);
    ctx.stroke();
    ctx.textAlign = "left";
    ctx.fillText(`threshold ${amount(p.threshold)}`, bbox.left + 4, y - 4 * devicePixelRatio);
  }
  ctx.setLineDash([2 * devicePixelRatio, 3 * devicePixelRatio]);
  for (const m of p.marks) {
    if (m.at < p.span[0] || m.at > p.span[1]) continue;
    const x = u.valToPos(m.at / 1000, "x", true);
    ctx.strokeStyle = ctx.fillStyle = property(m.kind === "alert" ? "--line2" : "--accent");
    ctx.beginPath();
    ctx.moveTo(x, bbox.top);
    ctx.lineTo(x, bbox.top + bbox.height);
    ctx.stroke();
    ctx.beginPath(); // a triangle points up for alerts, down for commands: colour isn't the only sign
    const size = 5 * devicePixelRatio, up = m.kind === "alert";
    const base = bbox.top + (up ? size * 1.6 : 0), tip = bbox.top + (up ? 0 : size * 1.6);
    ctx.moveTo(x - size, base);
    ctx.lineTo(x + size, base);
    ctx.lineTo(x, tip);
    ctx.fill();
  }
  ctx.restore();
}
