// All that the page knows. Messages change it at once; what is on the screen follows once a frame, however many came.

import { useEffect, useState } from "preact/hooks";
import type { Order } from "./actions";
import { connect, type Live } from "./live";
import { append, emptySeries } from "./series";
import type {
  Alert, Event, Hello, Message, Network, Person, Presence, Row, Series, Server, Status, Tab, Talker,
} from "./wire";

export const tabs: Tab[] = ["cpu", "ram", "network", "alerts", "status", "public"];

const maxRows = 10_000; // of a tab
const maxChars = 16_000_000; // in them
const drawEvery = 50; // milliseconds: faster is more than eyes follow, and takes the time from what comes in

export interface Pending {
  label: string;
  state: "pending" | "waiting" | "success" | "failure";
  text: string;
  at: number;
  id?: string; // of a command that waits for a second person
  where?: string; // if there are several servers
  undo?: Order;
}

export class Store {
  me?: Person;
  signedOut = false; // and has to sign in
  passkeys?: string; // the name at which they can be had
  hello?: Hello;
  lost = true; // the page's own connection
  broker = true;
  servers: Server[] = [];
  warnings: string[] = [];
  root = "";
  series: Series = emptySeries();
  rows: Record<Tab, Row[]> = emptyRows();
  network?: Network;
  presence?: Presence;
  limiting?: Status;
  scaling?: Status;
  alerts = new Map<string, Alert>();
  sources = new Map<string, Talker>();
  pending?: Pending;
  asked = new Map<string, Status>(); // what waits for a second person, by the command's ID
  cleared = 0; // rows up to then aren't shown
  skew = 0; // the server's clock less this one's, in milliseconds
  loaded = false;

  private chars = new Map<Tab, number>();
  private answered = new Map<string, Status>();
  private waitingFor = new Map<string, (s: Status) => void>();
  private listeners = new Set<() => void>();
  private drawing = false; // asked for
  private drawn = 0; // when it was, last
  private live?: Live;

  async start() {
    setInterval(() => this.changed(), 1000); // ages grow
    for (;;) {
      try {
        const response = await fetch("api/session");
        const said = (await response.json()) as Person;
        if (response.ok) return this.enter(said);
        this.passkeys = said.passkeys;
        if (response.status === 401) return this.leave();
      } catch {
        // the server is away
      }
      await new Promise((again) => setTimeout(again, 1000));
    }
  }

  enter(me: Person) {
    this.me = me;
    this.passkeys = me.passkeys;
    this.signedOut = false;
    this.live = connect(
      (m) => { this.take(m); this.changed(); },
      (isLost) => { if (this.lost !== isLost) { this.lost = isLost; this.changed(); } },
      () => this.leave(),
    );
    this.changed();
  }

  // Forgets all: somebody else may sit down here.
  leave() {
    this.live?.end();
    this.live = undefined;
    this.me = undefined;
    this.signedOut = true;
    this.loaded = false;
    this.series = emptySeries();
    this.rows = emptyRows();
    this.servers = [];
    this.sources.clear();
    this.alerts.clear();
    this.asked.clear();
    this.network = this.limiting = this.scaling = this.presence = this.pending = undefined;
    this.changed();
  }

  get operator(): boolean { return this.me?.role === "operator"; }

  now(): number { return Date.now() + this.skew; }

  server(): Server | undefined { return this.servers.find((s) => s.root === this.root); }

  show(root: string) {
    this.root = root;
    this.loaded = false;
    this.live?.show(root);
    this.changed();
  }

  // Clears the view; the history stays.
  clear() {
    this.cleared = this.now();
    this.rows = emptyRows();
    this.chars.clear();
    this.changed();
  }

  listen(f: () => void): () => void {
    this.listeners.add(f);
    return () => this.listeners.delete(f);
  }

  changed() {
    if (this.drawing) return;
    this.drawing = true;
    const draw = () => {
      this.drawing = false;
      this.drawn = performance.now();
      for (const f of this.listeners) f();
    };
    const wait = this.drawn + drawEvery - performance.now();
    if (document.hidden) setTimeout(draw, 1000); // there are no frames then
    else if (wait > 0) setTimeout(() => requestAnimationFrame(draw), wait);
    else requestAnimationFrame(draw);
  }

  // Resolves with the status of a command, or undefined if there is none in time; with the last one if it first waits for a person.
  answer(id: string, within: number, last = false): Promise<Status | undefined> {
    const early = this.answered.get(id);
    if (early && !(last && early.approval_until)) return Promise.resolve(early);
    return new Promise((resolve) => {
      const done = (s?: Status) => {
        if (last && s?.approval_until) return;
        clearTimeout(timer);
        this.waitingFor.delete(id);
        resolve(s);
      };
      const timer = setTimeout(() => done(), within);
      this.waitingFor.set(id, done);
    });
  }

  private take(m: Message) {
    switch (m.type) {
      case "hello":
        this.hello = m;
        if (!this.root) this.root = m.root;
        break;
      case "conditions":
        this.broker = m.broker;
        this.servers = m.servers;
        this.warnings = m.warnings ?? [];
        break;
      case "snapshot":
        this.root = m.root;
        this.skew = m.now - Date.now();
        this.series = m.series;
        this.rows = emptyRows();
        for (const tab of tabs) {
          this.rows[tab] = (m.rows[tab] ?? []).filter((r) => r.at > this.cleared);
          this.chars.set(tab, length(this.rows[tab]));
        }
        this.network = m.network;
        this.presence = m.presence;
        this.limiting = m.limiting;
        this.scaling = m.scaling;
        this.asked.clear();
        if (m.limiting) this.asks(m.limiting);
        this.alerts = new Map(m.alerts.map((a) => [a.metric ?? a.alert, a]));
        this.sources = new Map(m.sources.map((s) => [s.source, s]));
        this.loaded = true;
        break;
      case "beat":
        this.skew = m.now - Date.now();
        break;
      case "event":
        this.event(m.event);
    }
  }

  private event(e: Event) {
    this.row({ at: e.at, tab: e.tab, topic: e.topic, text: e.text, note: e.note });
    append(this.series, e);
    if (e.network) {
      this.network = e.network;
      for (const s of e.network.top_sources ?? []) this.seen(e.at, s);
    }
    if (e.presence) this.presence = e.presence;
    if (e.alert) {
      const key = e.alert.metric ?? e.alert.alert;
      if (e.alert.state === "cleared") this.alerts.delete(key);
      else if (this.alerts.size < 64) this.alerts.set(key, e.alert);
    }
    if (e.status) {
      this.asks(e.status);
      if (e.topic.endsWith("/status/scaling")) this.scaling = e.status;
      else if (!e.status.command.startsWith("scale_")) this.limiting = e.status;
      if (e.status.id) {
        this.answered.set(e.status.id, e.status); // it may overtake the answer that tells the command's ID
        if (this.answered.size > 50) this.answered.delete(this.answered.keys().next().value!);
        this.waitingFor.get(e.status.id)?.(e.status);
      }
    }
  }

  // Keeps a row, and gives up the oldest tenth when there is too much.
  private row(r: Row) {
    const rows = this.rows[r.tab];
    rows.push(r);
    let chars = (this.chars.get(r.tab) ?? 0) + r.text.length;
    while (rows.length > 1 && (rows.length > maxRows || chars > maxChars)) chars -= length(rows.splice(0, Math.ceil(rows.length / 10)));
    this.chars.set(r.tab, chars);
  }

  private asks(s: Status) {
    for (const [key, a] of this.asked) if (a.approval_until! * 1000 < this.now()) this.asked.delete(key);
    const key = s.id ?? s.command;
    if ((s.approval_until ?? 0) * 1000 <= this.now()) this.asked.delete(key);
    else if (this.asked.size < 16) this.asked.set(key, s);
  }

  private seen(at: number, s: { source: string; syn_per_second: number; limited: boolean }) {
    const old = this.sources.get(s.source);
    this.sources.set(s.source, {
      ...s, first: old?.first ?? at, last: at, peak: Math.max(old?.peak ?? 0, s.syn_per_second),
    });
    if (this.sources.size <= 200) return;
    let oldest: Talker | undefined;
    for (const x of this.sources.values()) if (!oldest || x.last < oldest.last) oldest = x;
    if (oldest) this.sources.delete(oldest.source);
  }
}

const length = (rows: Row[]) => rows.reduce((n, r) => n + r.text.length, 0);

function emptyRows(): Record<Tab, Row[]> {
  return { cpu: [], ram: [], network: [], alerts: [], status: [], public: [] };
}

export const store = new Store();

// Draws the component again when anything has changed.
export function useStore(): Store {
  const [, again] = useState(0);
  useEffect(() => store.listen(() => again((n) => n + 1)), []);
  return store;
}
