// The top sources, and what to do about one.

import { useState } from "preact/hooks";
import { Confirm, type Order } from "./actions";
import { amount, clock } from "./format";
import { useStore } from "./store";
import type { Talker } from "./wire";

const times: [string, number][] = [["10 minutes", 600], ["1 hour", 3600], ["8 hours", 28_800], ["24 hours", 86_400]];
const shownAtMost = 20;
const worth = 5; // SYNs a second: less is no cause for anything, and a flood of forged sources has thousands of those
const fresh = 15_000; // a source that wasn't seen for so long has no live rate

export function Sources() {
  const s = useStore();
  const [asking, setAsking] = useState<{ order: Order; what: string }>();
  const live = (x: Talker) => s.now() - x.last < fresh;
  const rate = (x: Talker) => live(x) ? x.syn_per_second : 0;
  const all = [...s.sources.values()].filter((x) => x.limited || x.peak >= worth).sort((a, b) => rate(b) - rate(a) || b.last - a.last).slice(0, shownAtMost);
  const block = (source: string) => setAsking({
    order: {
      label: `Block ${source}`, command: "block_source", source, ttl_seconds: 3600, reason: "from the page",
      undo: { label: `Unblock ${source}`, command: "unblock_source", source },
    },
    what: `All packets from ${source} will be dropped, but to management ports. It ends by itself, or before by Unblock or weir ctl unblock.`,
  });
  const allow = (source: string) => setAsking({
    order: {
      label: `Allow ${source}`, command: "allow_source", source, ttl_seconds: 3600, reason: "from the page",
      undo: { label: `Stop allowing ${source}`, command: "unallow_source", source },
    },
    what: `All packets from ${source} will pass up to the ceiling, whatever it sends. Whoever forges this address gets through, too.`,
  });
  return (
    <section class="sources" aria-label="top sources">
      <h2>Top sources</h2>
      {s.server()?.condition === "challenging" && <p class="dim">SYNs that are challenged aren't counted by source: their sources may be forged.</p>}
      {all.length === 0 ? <p class="dim">No source sends SYNs worth a note.</p> :
        <div class="scroll"><table>
          <thead><tr><th>source</th><th class="n">SYN/s</th><th class="n">peak</th><th>verdict</th><th>first seen</th><th>last seen</th><th><span class="hidden">commands</span></th></tr></thead>
          <tbody>
            {all.map((x) => (
              <tr key={x.source}>
                <td>{x.source}</td>
                <td class="n">{live(x) ? amount(x.syn_per_second) : "–"}</td>
                <td class="n">{amount(x.peak)}</td>
                <td>{!live(x) && "was "}{x.limited ? "over its limit" : "within its limit"}</td>
                <td>{clock(x.first)}</td>
                <td>{clock(x.last)}</td>
                <td class="bar">
                  <button type="button" aria-label={`Block ${x.source}`} disabled={!s.operator} onClick={() => block(x.source)}>Block</button>
                  <button type="button" aria-label={`Allow ${x.source}`} disabled={!s.operator} onClick={() => allow(x.source)}>Allow</button>
                </td>
              </tr>
            ))}
          </tbody>
        </table></div>}
      {asking && <Confirm {...asking} times={times} close={() => setAsking(undefined)} />}
    </section>
  );
}
