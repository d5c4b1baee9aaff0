// The raw log of a tab, as MQTT clients show it. Only the rows in view are in the document.

import { useLayoutEffect, useMemo, useRef, useState } from "preact/hooks";
import { stamp } from "./format";
import { store } from "./store";
import type { Row, Tab } from "./wire";

const rowHeight = 24;
const overscan = 10;

export function Log({ tab, rows, several }: { tab: Tab; rows: Row[]; several: boolean }) {
  const [filter, setFilter] = useState("");
  const [frozen, setFrozen] = useState<Row[]>();
  const [older, setOlder] = useState<Row[]>([]);
  const [noMore, setNoMore] = useState(false);
  const [opened, setOpened] = useState<Row>();
  const [view, setView] = useState({ top: 0, height: 300 });
  const box = useRef<HTMLDivElement>(null);
  const follow = useRef(true);

  const live = frozen ?? rows;
  const cleared = older.length > 0 && older[0]!.at <= store.cleared && rows.length === 0;
  const all = older.length > 0 && !cleared ? [...older, ...live] : live;
  const needle = filter.trim().toLowerCase();
  const shown = needle === "" ? all : all.filter((r) => `${r.topic} ${r.text}`.toLowerCase().includes(needle));
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
    const before = all[0]?.at ?? store.now();
    const query = new URLSearchParams({ tab, root: store.root, before: String(before) });
    const response = await fetch(`api/rows?${query}`);
    if (!response.ok) return setNoMore(true);
    const got = (await response.json()) as Row[];
    if (got.length === 0) return setNoMore(true);
    follow.current = false;
    setOlder([...got, ...older]);
  };

  return (
    <section class="log" aria-label="messages">
      <div class="bar">
        <input type="search" placeholder="filter" aria-label="filter messages" value={filter}
          onInput={(e) => setFilter(e.currentTarget.value)} />
        <button type="button" aria-pressed={frozen !== undefined}
          onClick={() => setFrozen(frozen ? undefined : rows.slice())}>{frozen ? "Resume" : "Pause"}</button>
        <Download tab={tab} />
        <span class="dim" aria-live="off">{shown.length} message{shown.length === 1 ? "" : "s"}{frozen ? ", paused" : ""}</span>
      </div>
      <div class="rows" ref={box} onScroll={scrolled} tabIndex={0} role="log" aria-label={`messages of ${tab}`} aria-live="off">
        {store.hello?.history && !noMore && shown.length > 0 && view.top < 50 &&
          <button type="button" class="older" onClick={loadOlder}>Load older messages</button>}
        <div class="all" style={{ height: `${shown.length * rowHeight}px` }}>
          {shown.slice(first, last).map((r, i) => (
            <div class={r.note ? "row bad" : "row"} key={first + i} style={{ top: `${(first + i) * rowHeight}px` }}
              onClick={() => setOpened(r)}>
              <span class="when">{stamp(r.at)}</span> - Received: {several && <span class="dim">{short(r.topic)}: </span>}{r.text}
              {r.note && <em> (ignored: {r.note})</em>}
            </div>
          ))}
        </div>
        {shown.length === 0 && <p class="dim empty">Nothing yet.</p>}
      </div>
      {opened && <Detail row={opened} close={() => setOpened(undefined)} />}
    </section>
  );
}

// Without the root, which is above all rows.
function short(topic: string): string {
  return topic.startsWith(`${store.root}/`) ? topic.slice(store.root.length + 1) : topic;
}

function Detail({ row, close }: { row: Row; close: () => void }) {
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
      <pre tabIndex={0}>{text}</pre>
    </aside>
  );
}

// Downloads what the history has of the last day, or where there is none, what the page shows.
function Download({ tab }: { tab: Tab }) {
  const save = (form: "csv" | "json") => {
    const to = Math.round(store.now()) + 1000;
    const query = new URLSearchParams({ tab, root: store.root, form, from: String(to - 86_400_000), to: String(to) });
    const link = document.createElement("a");
    link.href = `api/download?${query}`;
    link.download = "";
    link.click();
  };
  if (!store.hello?.history) return null;
  return (
    <>
      <button type="button" title="the last 24 hours" onClick={() => save("csv")}>CSV</button>
      <button type="button" title="the last 24 hours" onClick={() => save("json")}>JSON</button>
    </>
  );
}
