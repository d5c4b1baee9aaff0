// Commands: a button shows what it waits for until the controller's own status has come.

import { useEffect, useRef, useState } from "preact/hooks";
import { clock } from "./format";
import { store, useStore, type Pending } from "./store";

const answerWithin = 5000;

export interface Order {
  label: string;
  command: string;
  source?: string;
  ttl_seconds?: number;
  reason?: string;
  undo?: Order; // what takes it back
}

const turned = "you turned to another server before an answer came: see that one's command status";

export async function send(o: Order) {
  const root = store.root;
  const many = store.servers.length > 1;
  const report = (state: Pending["state"], text: string, id?: string) => {
    store.pending = { label: o.label, where: many ? root : undefined, state, text, at: store.now(), id, undo: state === "success" ? o.undo : undefined };
    store.changed();
  };
  report("pending", "waiting for the controller");
  const { label: _, undo: __, ...rest } = o;
  const sent = performance.now();
  try {
    const response = await fetch("api/command", {
      method: "POST", headers: { "Content-Type": "application/json", "Weir-Token": store.me?.token ?? "" }, body: JSON.stringify({ root, ...rest }),
      signal: AbortSignal.timeout(answerWithin),
    });
    const said = (await response.json()) as { id?: string; error?: string };
    if (!response.ok || !said.id) return report("failure", said.error ?? `the page's server says ${response.status}`);
    const takes = o.command.startsWith("scale_") ? store.scaling?.servers?.takes_seconds ?? 0 : 0;
    if (takes > 0) return await servers(said.id, takes, report);
    const status = await store.answer(said.id, Math.max(0, sent + answerWithin - performance.now()));
    if (!status && store.root !== root) return report("failure", turned);
    if (!status) return report("failure", "no answer in 5 s: is the controller running?");
    if (!status.approval_until) return report(status.status, status.detail ?? "");
    report("waiting", status.detail ?? "", said.id);
    const shown = store.pending;
    const last = await store.answer(said.id, status.approval_until * 1000 - store.now() + answerWithin, true);
    if (store.pending === shown) report(last?.status ?? "failure", last?.detail ?? "the controller says no more");
  } catch (e) {
    const late = e instanceof DOMException && e.name === "TimeoutError";
    report("failure", late ? "no answer in 5 s from the page's server: the command may still be sent" : "the page's server can't be reached: nothing was sent, as far as is known");
  }
}

// Servers take minutes, in which other commands can be sent.
async function servers(id: string, takes: number, report: (state: Pending["state"], text: string, id?: string) => void) {
  const root = store.root;
  report("waiting", `the servers have ${Math.ceil(takes)} s at most`, id);
  let status = await store.answer(id, takes * 1000 + answerWithin);
  if (status?.approval_until) {
    report("waiting", status.detail ?? "", id);
    status = await store.answer(id, status.approval_until * 1000 - store.now() + takes * 1000 + answerWithin, true);
  }
  if (store.pending?.state === "pending") return; // another command has the line
  report(status?.status ?? "failure", status?.detail ?? (store.root === root ? "no answer: is the controller running?" : turned));
}

export function Actions() {
  const s = useStore();
  const busy = s.pending?.state === "pending";
  const [asking, setAsking] = useState<Order>();
  const disable = { label: "Disable", command: "disable_rate_limiting" };
  return (
    <section class="actions" aria-label="commands">
      <Button label="Enable rate limiting" busy={busy} press={() => send({ label: "Enable rate limiting", command: "enable_rate_limiting" })} />
      <Button label="Disable" busy={busy} press={() => s.server()?.attacked ? setAsking(disable) : send(disable)} />
      <Button label="Scale up servers" busy={busy} press={() => send({ label: "Scale up servers", command: "scale_up_servers" })} />
      <button type="button" onClick={() => s.clear()}>Clear all logs</button>
      {!s.operator && <p class="dim">You may look, not command: your role is {s.me?.role}.</p>}
      <p class={`result ${s.pending?.state ?? ""}`} role="status" aria-live="assertive" id="result">
        {s.pending && <><strong>{s.pending.label}</strong>{s.pending.where && ` on ${s.pending.where}`}: {s.pending.state}{s.pending.text && `: ${s.pending.text}`}</>}
      </p>
      {s.pending?.undo && s.operator && <Button label={s.pending.undo.label} busy={busy} press={() => send(s.pending!.undo!)} />}
      {[...s.asked].filter(([key, a]) => key !== s.pending?.id && a.approval_until! * 1000 > s.now()).map(([key, a]) => (
        <p class="result waiting" role="status" key={key}>
          <strong>{a.command}</strong> waits for a second person until {clock(a.approval_until! * 1000)}: {a.detail}
        </p>
      ))}
      {asking && <Confirm order={asking} close={() => setAsking(undefined)}
        what="The server is under attack. Disabling rate limiting lets everything through that it now holds back." />}
    </section>
  );
}

function Button({ label, busy, press }: { label: string; busy: boolean; press: () => void }) {
  const mine = busy && store.pending?.label === label;
  return <button type="button" disabled={busy || !store.operator} aria-busy={mine} onClick={press}>{label}{mine && " …"}</button>;
}

// One confirmation that says what will happen. With times to choose from, the choice is part of it.
export function Confirm({ order, what, times, close }: {
  order: Order; what: string; times?: [string, number][]; close: () => void;
}) {
  const box = useRef<HTMLDialogElement>(null);
  const [ttl, setTTL] = useState(order.ttl_seconds);
  useEffect(() => { box.current?.showModal(); }, []);
  return (
    <dialog ref={box} onClose={close} aria-labelledby="question">
      <h2 id="question">{order.label}?</h2>
      <p>{what}</p>
      {times && <label>For <select value={ttl} onChange={(e) => setTTL(Number(e.currentTarget.value))}>
        {times.map(([text, seconds]) => <option key={seconds} value={seconds}>{text}</option>)}
      </select></label>}
      <div class="bar">
        <button type="button" class="primary" onClick={() => { box.current?.close(); void send({ ...order, ttl_seconds: ttl }); }}>{order.label}</button>
        <button type="button" autofocus onClick={() => box.current?.close()}>Cancel</button>
      </div>
    </dialog>
  );
}
