// The raw log of a tab, as MQTT clients show it. Only the rows in view are in the document.

import { useEffect, useLayoutEffect, useMemo, useRef, useState } from "preact/hooks";
import { Download } from "./download";
import { scale, stamp } from "./format";
import { store } from "./store";
import type { Row, Tab } from "./wire";

const rowsHigh = 24; // pixels, on a desk
const overscan = 10;
const inLine = 2000; // characters of a message; a click shows the others

export function Log({ tab, rows, several }: { tab: Tab; rows: Row[]; several: boolean }) {
  const [filter, setFilter] = useState("");
  const [frozen, setFrozen] = useState<Row[]>();
  const [older, setOlder] = useState<Row[]>([]);
  const [noMore, setNoMore] = useState(false);
  const [opened, setOpened] = useState<Row>();
  const [current, setCurrent] = useState<Row>();
  const [view, setView] = useState({ top: 0, height: 300 });
  const box = useRef<HTMLDivElement>(null);
  const follow = useRef(true);

  const rowHeight = rowsHigh * scale();
  const live = frozen ?? rows;
  const all = older.length > 0 ? [...older, ...live] : live;
  const needle = filter.trim().toLowerCase();
  const matches = useMemo(() => matcher(needle), [needle]);
  const shown = needle === "" ? all : all.filter(matches);
  const first = Math.max(0, Math.floor(view.top / rowHeight) - overscan);
  const last = Math.min(shown.length, Math.ceil((view.top + view.height) / rowHeight) + overscan);

  useLayoutEffect(() => {
    const el = box.current!;
    if (follow.current && !frozen) el.scrollTop = el.scrollHeight;
    if (el.clientHeight !== view.height) setView({ top: el.scrollTop, height: el.clientHeight });
  });

  const scrolled = () => {
    const el = box.current!;
    follow.current = el.scrollTop + el.clientHeight >= el.scrollHeight - 2 * rowHeight;
    setView({ top: el.scrollTop, height: el.clientHeight });
  };

  const loadOlder = async () => {
    const oldest = all[0]?.at ?? store.now();
    const query = new URLSearchParams({ tab, root: store.root, before: String(oldest + 1) }); // more may have come in that millisecond
    const response = await fetch(`api/rows?${query}`);
    if (!response.ok) return setNoMore(true);
    const got = (await response.json()) as Row[];
    for (const r of all) if (r.at === oldest) got.pop(); else break;
    if (got.length === 0) return setNoMore(true);
    follow.current = false;
    setOlder([...got, ...older]);
    box.current!.scrollTop = 0;
  };

  // With the keyboard: up and down, Enter, Escape.
  const key = (e: KeyboardEvent) => {
    const at = current ? shown.indexOf(current) : -1;
    const to = { ArrowUp: at < 0 ? shown.length - 1 : at - 1, ArrowDown: at + 1, Home: 0, End: shown.length - 1 }[e.key];
    if (to !== undefined && shown[to]) {
      e.preventDefault();
      setCurrent(shown[to]);
      const el = box.current!;
      el.scrollTop = Math.min(to * rowHeight, Math.max(el.scrollTop, (to + 2) * rowHeight - el.clientHeight));
    }
    if (e.key === "Enter" && current) setOpened(current);
  };
  const close = () => {
    setOpened(undefined);
    box.current?.focus({ preventScroll: true });
  };

  return (
    <section class="log" aria-label="messages" onKeyDown={(e) => { if (e.key === "Escape" && opened) close(); }}>
      <div class="bar">
        <input type="search" placeholder="filter" aria-label="filter messages" value={filter}
          onInput={(e) => setFilter(e.currentTarget.value)} />
        <button type="button" aria-pressed={frozen !== undefined}
          onClick={() => setFrozen(frozen ? undefined : rows.slice())}>{frozen ? "Resume" : "Pause"}</button>
        <Download tab={tab} rows={shown} />
        {store.hello?.history && <button type="button" disabled={noMore} onClick={loadOlder}>{noMore ? "No older messages" : "Load older"}</button>}
        <span class="dim" aria-live="off">{shown.length} message{shown.length === 1 ? "" : "s"}{frozen ? ", paused" : ""}</span>
      </div>
      {shown.length === 0 && <p class="dim empty">{needle && all.length > 0 ? "No message has that." : "Nothing yet."}</p>}
      <div class="rows" ref={box} onScroll={scrolled} onKeyDown={key} tabIndex={0} role="listbox" aria-label={`messages of ${tab}`}
        aria-activedescendant={current && "current"}>
        <div class="all" role="none" style={{ height: `${shown.length * rowHeight}px` }}>
          {shown.slice(first, last).map((r, i) => (
            <div class={r.note ? "row bad" : "row"} key={first + i} style={{ top: `${(first + i) * rowHeight}px` }}
              role="option" id={r === current ? "current" : undefined} aria-selected={r === current} aria-posinset={first + i + 1} aria-setsize={shown.length}
              onClick={() => { setCurrent(r); setOpened(r); }}>
              <span class="when">{stamp(r.at)}</span> - Received: {several && <span class="dim">{short(r.topic)}: </span>}{clip(r.text)}
              {r.note && <em> (ignored: {r.note})</em>}
            </div>
          ))}
        </div>
      </div>
      {opened && <Detail row={opened} close={close} />}
    </section>
  );
}

// Rows don't change, so that each is looked at once only.
function matcher(needle: string): (r: Row) => boolean {
  const known = new WeakMap<Row, boolean>();
  return (r) => {
    let is = known.get(r);
    if (is === undefined) known.set(r, is = `${r.topic} ${r.text}`.toLowerCase().includes(needle));
    return is;
  };
}

const clip = (text: string) => text.length > inLine ? `${text.slice(0, inLine)} …` : text;

// Without the root, which is above all rows.
function short(topic: string): string {
  return topic.startsWith(`${store.root}/`) ? topic.slice(store.root.length + 1) : topic;
}

function Detail({ row, close }: { row: Row; close: () => void }) {
  const whole = useRef<HTMLPreElement>(null);
  useEffect(() => whole.current?.focus(), [row]);
  const text = useMemo(() => {
    try {
      return JSON.stringify(JSON.parse(row.text), null, 2);
    } catch {
      return row.text;
    }
  }, [row]);
  return (
    <aside class="detail" aria-label="message">
      <div class="bar"><strong>{stamp(row.at)}</strong> <span class="topic">{row.topic}</span>
        <button type="button" onClick={close}>Close</button></div>
      {row.note && <p class="bad">Ignored: {row.note}</p>}
      <pre ref={whole} tabIndex={0}>{text}</pre>
    </aside>
  );
}
