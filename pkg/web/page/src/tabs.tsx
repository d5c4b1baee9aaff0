// The six tabs: charts above, the raw log below.

import { useEffect, useState } from "preact/hooks";
import { Chart, type Line } from "./chart";
import { titles, topics } from "./format";
import { Log } from "./log";
import { Sources } from "./sources";
import { store, tabs, useStore } from "./store";
import type { Series, Tab } from "./wire";

const ranges: [string, number][] = [["5 min", 300_000], ["15 min", 900_000], ["1 h", 3_600_000], ["24 h", 86_400_000], ["7 d", 604_800_000]];
const inMemory = 3_600_000;
const atFirst = 900_000;
const least = 120_000;
const refetchEvery = 60_000;
const pastPoints = 720; // of what is older than the memory, as pkg/web thins it
const late = 2.5; // intervals, as for a sensor that is silent

export function Tabs() {
  const s = useStore();
  const [tab, setTab] = useState<Tab>(() => tabs.find((t) => `#${t}` === location.hash) ?? "network");
  const [range, setRange] = useState(atFirst);
  const past = usePast(range);
  const choose = (t: Tab) => { setTab(t); history.replaceState(null, "", `#${t}`); };
  const move = (e: KeyboardEvent) => {
    const step = e.key === "ArrowRight" ? 1 : e.key === "ArrowLeft" ? -1 : 0;
    if (step === 0) return;
    const next = tabs[(tabs.indexOf(tab) + step + tabs.length) % tabs.length]!;
    choose(next);
    document.getElementById(`tab-${next}`)?.focus();
  };
  return (
    <main>
      <div class="tabs" role="tablist" aria-label="topics" onKeyDown={move}>
        {tabs.map((t) => (
          <button type="button" key={t} id={`tab-${t}`} role="tab" aria-selected={t === tab} aria-controls="panel" tabIndex={t === tab ? 0 : -1}
            onClick={() => choose(t)}>{titles[t]}{t === "alerts" && s.alerts.size > 0 && <span class="count">{s.alerts.size}</span>}</button>
        ))}
      </div>
      <div id="panel" role="tabpanel" aria-labelledby={`tab-${tab}`} tabIndex={-1}>
        <div class="bar between">
          <span class="topic">Topic: {topics(s.root, tab)}</span>
          {(tab === "cpu" || tab === "ram" || tab === "network") && <div class="bar" role="group" aria-label="time">
            {ranges.filter(([, ms]) => ms <= inMemory || s.hello?.history).map(([text, ms]) =>
              <button type="button" key={ms} aria-pressed={ms === range} onClick={() => setRange(ms)}>{text}</button>)}
          </div>}
        </div>
        <Charts tab={tab} series={range > inMemory && past ? past : s.series} range={range} />
        {tab === "network" && <Sources />}
        <Log key={`${tab} ${s.root} ${s.cleared}`} tab={tab} rows={s.rows[tab]} several={tab === "status" || tab === "public"} />
      </div>
    </main>
  );
}

// What is older than the page's memory.
function usePast(range: number): Series | undefined {
  const [past, setPast] = useState<Series>();
  useEffect(() => {
    setPast(undefined);
    if (range <= inMemory) return;
    let gone = false;
    const load = async () => {
      const to = Math.round(store.now());
      const query = new URLSearchParams({ root: store.root, from: String(to - range), to: String(to) });
      const response = await fetch(`api/history?${query}`);
      if (response.ok && !gone) setPast((await response.json()) as Series);
    };
    void load();
    const timer = setInterval(() => void load(), refetchEvery);
    return () => { gone = true; clearInterval(timer); };
  }, [range, store.root]);
  return past;
}

const one = (label: string): Line[] => [{ label, colour: "--line1", fill: true }];
const verdicts: Line[] = [
  { label: "offered", colour: "--line1", fill: true }, { label: "dropped", colour: "--line2" },
  { label: "challenged", colour: "--line3" }, { label: "passed", colour: "--line4" },
];

function Charts({ tab, series, range }: { tab: Tab; series: Series; range: number }) {
  const s = useStore();
  const [cls, setClass] = useState("syn");
  const t = s.hello?.thresholds;
  const first = Math.min(series.cpu.t?.[0] ?? Infinity, series.ram.t?.[0] ?? Infinity, series.network.t?.[0] ?? Infinity);
  const span: [number, number] = [Math.max(s.now() - range, Math.min(first, s.now() - least)), s.now()]; // no room for what isn't known

  const step = Math.max(s.hello?.interval ?? 0, range > inMemory ? range / pastPoints : 0);
  const shared = { marks: series.marks, span, apart: late * step };
  if (tab === "cpu" || tab === "ram") {
    const c = series[tab];
    return <Chart {...shared} title={tab === "cpu" ? "CPU" : "RAM"} unit="%" lines={one("used")} data={[c.t ?? [], c.v ?? []]} threshold={t?.[tab]} top={100} />;
  }
  if (tab !== "network") return null;
  const n = series.network;
  const classes = Object.keys(n.classes).sort();
  const c = n.classes[cls];
  return (
    <div class="charts">
      <Chart {...shared} title="Connections" unit="active TCP" lines={one("connections")} data={[n.t ?? [], n.connections ?? []]} threshold={t?.connections} />
      <Chart {...shared} title="SYNs offered" unit="in 5 s" lines={one("SYNs")} data={[n.t ?? [], n.syns ?? []]} threshold={t?.syns} />
      <div>
        <Chart {...shared} title="What became of them" unit="packets/s" lines={verdicts}
          data={[n.t ?? [], c?.offered ?? [], c?.dropped ?? [], c?.challenged ?? [], c?.passed ?? []]} />
        <label class="class">class <select value={cls} onChange={(e) => setClass(e.currentTarget.value)}>
          {(classes.length > 0 ? classes : ["syn"]).map((x) => <option key={x}>{x}</option>)}
        </select></label>
      </div>
      {range <= inMemory && <Chart {...shared} apart={late * 1000} title="SYNs, second by second" unit="packets/s" lines={verdicts.slice(0, 3)}
        data={[series.seconds.t ?? [], series.seconds.offered ?? [], series.seconds.dropped ?? [], series.seconds.challenged ?? []]} />}
    </div>
  );
}
