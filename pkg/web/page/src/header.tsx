// What everybody must see at a glance: is the bank under attack, what is weir doing about it, and can this page be believed.

import { useEffect } from "preact/hooks";
import { ago, amount, words } from "./format";
import { Me } from "./signin";
import type { Server } from "./wire";
import { store, useStore } from "./store";

export function Header() {
  const s = useStore();
  const server = s.server();
  const [kind, word, sentence] = judge(server);
  useEffect(() => { document.title = `${kind === "good" ? "" : `${signs[kind]} `}${word} – weir`; }, [kind, word]);
  return (
    <header class={`head ${kind}`}>
      <div class="brand"><h1>weir</h1> <Picker /><Me /></div>
      <div class="state" role="status" aria-live="polite" aria-atomic="true">
        <span class="sign" aria-hidden="true">{signs[kind]}</span>
        <strong id="condition">{word}</strong>
      </div>
      <p id="sentence">{sentence}</p>
    </header>
  );
}

type Kind = "good" | "busy" | "bad" | "lost";

const signs: Record<Kind, string> = { good: "✓", busy: "▲", bad: "!", lost: "?" };

function judge(server: Server | undefined): [Kind, string, string] {
  const s = store;
  if (s.lost) {
    return ["lost", "Page disconnected", "The page has lost its server and tries again. What it shows is old."];
  }
  if (!s.broker) {
    return ["lost", "Broker lost", "weir web can't reach the MQTT broker. What it shows is old; protection goes on without it."];
  }
  if (!server || server.condition === "waiting") {
    return ["lost", words.waiting, "Nothing has come from its sensor yet."];
  }
  const n = s.network;
  const syns = `${amount(server.syns)} SYNs in 5 s`;
  const attacked = server.attacked ? "Under attack: " : "";
  switch (server.condition) {
    case "silent":
      return ["lost", words.silent, `Nothing from the sensor for ${ago(s.now() - (server.heard ?? 0))}. ${server.attacked ? "It was under attack then. " : ""}A limit that is on stays on until its lease ends.`];
    case "beyond":
      return ["bad", words.beyond, `${attacked}the network card discards packets (${amount(n?.nic_discards)} in the last interval) before this host sees them. Ask the provider to filter upstream.`];
    case "challenging":
      return [server.attacked ? "busy" : "good", words.challenging, `${attacked}${syns}; SYNs are answered by cookies, and only real clients get through.`];
    case "limiting":
      return [server.attacked ? "busy" : "good", words.limiting, `${attacked}${syns}; sources over their limit are held back${lease()}.`];
    case "attack":
      return ["bad", words.attack, `${syns}, ${amount(server.connections)} connections; nothing is held back yet.`];
    case "strained":
      return ["busy", words.strained, `CPU ${amount(server.cpu)} %, RAM ${amount(server.ram)} %; the network is calm.`];
  }
  return ["good", words.calm, `${syns}, ${amount(server.connections)} connections, CPU ${amount(server.cpu)} %, RAM ${amount(server.ram)} %.`];
}

function lease(): string {
  const until = store.limiting?.state === "on" ? store.limiting.until : undefined;
  if (!until) return "";
  const left = until * 1000 - store.now();
  return left > 0 ? `, for ${ago(left)} more unless renewed` : "";
}

function Picker() {
  const s = useStore();
  if (s.servers.length < 2) return <span class="root">{s.root}</span>;
  return (
    <select aria-label="server" value={s.root} onChange={(e) => s.show(e.currentTarget.value)}>
      {s.servers.map((x) => <option key={x.root} value={x.root}>{x.root}: {words[x.condition]}</option>)}
    </select>
  );
}

const urgency: Kind[] = ["bad", "busy", "lost", "good"];

// All servers, when there are several, and first of all those that need somebody.
export function Overview() {
  const s = useStore();
  if (s.servers.length < 2) return null;
  const all = [...s.servers].sort((a, b) => urgency.indexOf(tone(a)) - urgency.indexOf(tone(b)));
  return (
    <nav class="overview" aria-label="servers">
      {all.map((x) => (
        <button type="button" key={x.root} class={`card ${tone(x)}`} aria-current={x.root === s.root} onClick={() => s.show(x.root)}>
          <strong>{x.root}</strong>
          <span>{words[x.condition]}{x.attacked && x.condition !== "attack" && (live(x) ? ", attacked" : ", attacked when last heard")}</span>
          <span class="dim">{live(x) ? `CPU ${amount(x.cpu)} %, RAM ${amount(x.ram)} %, ${amount(x.syns)} SYNs` : "no live figures"}</span>
        </button>
      ))}
    </nav>
  );
}

const live = (x: Server) => x.condition !== "silent" && x.condition !== "waiting";

function tone(x: Server): Kind {
  if (!live(x)) return "lost";
  if (x.condition === "attack" || x.condition === "beyond") return "bad";
  return x.attacked || x.condition === "strained" ? "busy" : "good";
}
