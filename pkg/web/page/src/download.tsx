// Downloads what the history has of the last day, or where none is kept, what the page shows.

import { store } from "./store";
import type { Row, Tab } from "./wire";

type Form = "csv" | "json";

export function Download({ tab, rows }: { tab: Tab; rows: Row[] }) {
  const kept = store.hello?.history;
  const save = (form: Form) => {
    const to = Math.round(store.now()) + 1000;
    const link = document.createElement("a");
    if (kept) {
      link.href = `api/download?${new URLSearchParams({ tab, root: store.root, form, from: String(to - 86_400_000), to: String(to) })}`;
      link.download = "";
    } else {
      link.href = URL.createObjectURL(new Blob([form === "csv" ? csv(rows) : json(rows)]));
      link.download = `weir-${tab}-${new Date(to).toISOString().replace(/[-:]|\.\d+/g, "")}.${form}`;
    }
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 60_000);
  };
  const title = kept ? "the last 24 hours" : "what is shown: no history is kept";
  return (
    <>
      <button type="button" title={title} onClick={() => save("csv")}>CSV</button>
      <button type="button" title={title} onClick={() => save("json")}>JSON</button>
    </>
  );
}

const at = (r: Row) => new Date(r.at).toISOString();

// The same as pkg/web's downloads.
function json(rows: Row[]): string {
  const line = (r: Row) => JSON.stringify({ at: at(r), topic: r.topic, payload: payload(r.text), refused: r.note });
  return `[${rows.map(line).join("\n,")}]\n`;
}

function payload(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return text;
  }
}

function csv(rows: Row[]): string {
  const cell = (s: string) => `"${(/^[=+\-@\t]/.test(s) ? `'${s}` : s).replaceAll('"', '""')}"`;
  const line = (r: Row) => [at(r), r.topic, r.text, r.note ?? ""].map(cell).join(",");
  return `${["at,topic,payload,refused", ...rows.map(line)].join("\n")}\n`;
}
