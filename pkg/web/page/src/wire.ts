// What the server sends: pkg/web's hello, conditions, snapshot and events, and weir's payloads as far as the page reads them.

export type Condition =
  | "waiting" | "silent" | "beyond" | "challenging" | "limiting" | "attack" | "strained" | "calm";

export type Tab = "cpu" | "ram" | "network" | "alerts" | "status" | "public";

export interface Verdicts {
  passed: number;
  would_drop?: number;
  dropped?: number;
  challenged?: number;
}

export interface Second {
  timestamp: number;
  offered: number;
  dropped?: number;
  challenged?: number;
}

export interface Network {
  active_tcp_connections: number;
  syn_packet_count: number;
  tier?: string;
  interface?: string;
  mode?: string;
  lease_seconds?: number;
  interval_seconds?: number;
  rates?: Record<string, { pps: number }>;
  verdicts?: Record<string, Verdicts>;
  drops?: Record<string, number>;
  nic_discards?: number;
  seconds?: Second[];
  top_sources?: { source: string; syn_per_second: number; limited: boolean }[];
}

export interface Alert {
  alert: string;
  state?: string;
  metric?: string;
  value?: number;
  threshold?: number;
  since?: number;
}

export interface Status {
  command: string;
  status: "success" | "failure";
  detail?: string;
  id?: string;
  origin?: string;
  state?: string;
  rate?: number;
  until?: number;
  approval_until?: number; // it waits for a second person
  servers?: { running?: number; takes_seconds?: number };
  warning?: string;
}

export interface Presence {
  state: string;
  host?: string;
  interface?: string;
  tier?: string;
  version?: string;
  transport?: string;
  warning?: string;
}

export interface Row {
  at: number;
  tab: Tab;
  topic: string;
  text: string;
  note?: string;
}

export interface Event extends Row {
  cpu?: { cpu_usage: number };
  ram?: { ram_usage: number };
  network?: Network;
  alert?: Alert;
  command?: { command: string; id?: string; origin?: string };
  status?: Status;
  presence?: Presence;
}

export interface Column {
  t: number[] | null;
  v: number[] | null;
}

export interface ClassColumns {
  offered: (number | null)[];
  dropped: (number | null)[];
  challenged: (number | null)[];
  passed: (number | null)[];
}

export interface Mark {
  at: number;
  kind: string;
  text: string;
}

export interface Series {
  cpu: Column;
  ram: Column;
  network: {
    t: number[] | null;
    connections: number[] | null;
    syns: number[] | null;
    classes: Record<string, ClassColumns>;
  };
  seconds: { t: number[] | null; offered: number[] | null; dropped: number[] | null; challenged: number[] | null };
  marks: Mark[];
}

export interface Talker {
  source: string;
  syn_per_second: number;
  peak: number;
  limited: boolean;
  first: number;
  last: number;
}

export interface Server {
  root: string;
  condition: Condition;
  attacked: boolean;
  heard?: number;
  cpu?: number;
  ram?: number;
  syns?: number;
  connections?: number;
}

export interface Hello {
  type: "hello";
  version: string;
  root: string;
  interval: number;
  thresholds: { cpu: number; ram: number; syns: number; connections: number };
  history: boolean;
}

export interface Conditions {
  type: "conditions";
  broker: boolean;
  servers: Server[];
  warnings?: string[];
}

export interface Snapshot {
  type: "snapshot";
  now: number;
  root: string;
  series: Series;
  rows: Partial<Record<Tab, Row[]>>;
  network?: Network;
  presence?: Presence;
  limiting?: Status;
  scaling?: Status;
  alerts: Alert[];
  sources: Talker[];
}

export interface Person {
  name: string; // "" where nobody has to sign in
  role: "viewer" | "operator";
  token: string;
  passkeys?: string; // the host at which they can be had
}

export type Message = Hello | Conditions | Snapshot | { type: "event"; event: Event } | { type: "beat"; now: number };
