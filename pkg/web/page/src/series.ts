// What the charts draw, in columns: a snapshot's, and what has come since.

import type { Event, Mark, Network, Series } from "./wire";

const hour = 3_600_000;
const maxPoints = 7200; // of a chart: an hour at two a second
const maxMarks = 500;

export function emptySeries(): Series {
  return {
    cpu: { t: [], v: [] }, ram: { t: [], v: [] },
    network: { t: [], connections: [], syns: [], classes: {} },
    seconds: { t: [], offered: [], dropped: [], challenged: [] }, marks: [],
  };
}

// The same as pkg/web's series.add.
export function append(s: Series, e: Event) {
  if (e.cpu) push(s.cpu, e.at, e.cpu.cpu_usage);
  if (e.ram) push(s.ram, e.at, e.ram.ram_usage);
  if (e.network) network(s, e.at, e.network);
  if (e.alert && e.alert.state !== "reminder") mark(s, { at: e.at, kind: "alert", text: `${e.alert.alert} (${e.alert.state ?? "raised"})` });
  if (e.command) mark(s, { at: e.at, kind: "command", text: e.command.command });
}

// Takes the oldest out of columns of the same length, the first of which are times: what is from before since, and a tenth of the
// most when there are more, for that is cheaper than one each time.
function trim(columns: unknown[][], most: number, since = 0) {
  const t = columns[0]!;
  let gone = t.length > most ? t.length - most + Math.floor(most / 10) : 0;
  while (since > 0 && gone < t.length && (t[gone] as number) < since) gone++;
  if (gone > 0) for (const c of columns) c.splice(0, gone);
}

function push(c: { t: number[] | null; v: number[] | null }, at: number, v: number) {
  c.t ??= [];
  c.v ??= [];
  c.t.push(at);
  c.v.push(v);
  trim([c.t, c.v], maxPoints, at - hour);
}

function mark(s: Series, m: Mark) {
  s.marks.push(m);
  if (s.marks.length > maxMarks) s.marks.shift();
}

const kinds = ["offered", "dropped", "challenged", "passed"] as const;

function network(s: Series, at: number, n: Network) {
  const c = s.network;
  c.t ??= [];
  c.connections ??= [];
  c.syns ??= [];
  for (const name of Object.keys(n.rates ?? {})) {
    if (c.classes[name] || Object.keys(c.classes).length >= 16) continue;
    const none = () => c.t!.map(() => null);
    c.classes[name] = { offered: none(), dropped: none(), challenged: none(), passed: none() };
  }
  c.t.push(at);
  c.connections.push(n.active_tcp_connections);
  c.syns.push(n.syn_packet_count);
  for (const [name, columns] of Object.entries(c.classes)) {
    const r = n.rates?.[name];
    const v = n.verdicts?.[name] ?? (r?.pps === 0 ? { passed: 0 } : undefined);
    const per = (count: number | undefined) => v && n.interval_seconds ? (count ?? 0) / n.interval_seconds : null;
    columns.offered.push(r ? r.pps : null);
    columns.dropped.push(per(v?.dropped));
    columns.challenged.push(per(v?.challenged));
    columns.passed.push(per((v?.passed ?? 0) + (v?.would_drop ?? 0)));
  }
  trim([c.t, c.connections, c.syns, ...Object.values(c.classes).flatMap((x) => kinds.map((k) => x[k]))], maxPoints, at - hour);
  seconds(s, n);
}

function seconds(s: Series, n: Network) {
  const c = s.seconds;
  c.t ??= [];
  c.offered ??= [];
  c.dropped ??= [];
  c.challenged ??= [];
  for (const x of n.seconds ?? []) {
    const at = Math.trunc(x.timestamp * 1000);
    if (c.t.length > 0 && at <= c.t[c.t.length - 1]!) continue;
    c.t.push(at);
    c.offered.push(x.offered);
    c.dropped.push(x.dropped ?? 0);
    c.challenged.push(x.challenged ?? 0);
  }
  trim([c.t, c.offered, c.dropped, c.challenged], maxPoints / 2);
}
