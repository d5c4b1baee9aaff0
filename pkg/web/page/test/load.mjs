// Fifty thousand messages pass through the page, and long ones while they are filtered. It prints what they cost.

import { assert, choose, eventually, open, publish, publishLines, root, rows, withBrowser } from "./stage.mjs";

const n = 50_000;
const drained = 60_000; // milliseconds, for what a busy machine's broker has taken in but not yet handed on

await withBrowser(async (browser) => {
  const page = await open(browser, { hash: "cpu" });
  await browser.startTracing(page, { categories: ["toplevel"] });
  const lines = Array.from({ length: n }, (_, i) => JSON.stringify({ cpu_usage: i % 100, timestamp: i }));
  const start = Date.now();
  await publishLines(`${root}/metrics/cpu`, lines);
  await eventually("the last one", async () => { // a broker may drop what comes faster than it is read
    publish(`${root}/metrics/cpu`, '{"cpu_usage": 42, "timestamp": 424242}');
    return (await rows(page)).some((r) => r.includes("424242"));
  }, drained);
  const took = Date.now() - start;
  const seen = Number((await page.textContent(".log .bar .dim")).match(/\d+/)[0]);
  await page.evaluate(() => { document.querySelector(".rows").scrollTop = 1000; });

  await choose(page, "public");
  await page.fill("input[type=search]", "needle");
  await publishLines("public/long", Array.from({ length: 3000 }, (_, i) => `<b>${i}</b> `.repeat(400)));
  await eventually("the needle in them", async () => {
    publish("public/x", "needle");
    return (await rows(page)).length > 0;
  }, drained);
  await page.fill("input[type=search]", "");
  await page.evaluate(() => { document.querySelector(".rows").scrollTop = 1000; });
  await choose(page, "network");
  const { traceEvents } = JSON.parse((await browser.stopTracing()).toString());
  const [frame, wall] = longest(traceEvents);
  const heap = await page.evaluate(() => (globalThis.gc?.(), performance.memory.usedJSHeapSize));
  console.log(`${n} messages in ${took} ms: ${seen} rows, longest task ${frame.toFixed(0)} ms of a core, ${wall.toFixed(0)} ms by the clock, heap ${(heap / 1e6).toFixed(0)} MB`);
  assert.ok(frame > 0 && frame < 100, `the page was busy for ${frame} ms in one go`);
  assert.ok(heap < 300e6, `${heap} bytes`);
  assert.ok(seen >= 500 && seen <= 10_000, `${seen} rows`);
  assert.deepEqual(page.faults, []);
});

// The longest task of the page's main thread, which no frame is shown during: in milliseconds of a core, for others use this machine,
// too, and by the clock.
function longest(events) {
  const main = new Set(events.filter((e) => e.name === "thread_name" && e.args.name === "CrRendererMain").map((e) => `${e.pid}/${e.tid}`));
  const tasks = events.filter((e) => e.dur && main.has(`${e.pid}/${e.tid}`));
  const most = (member) => tasks.reduce((max, e) => Math.max(max, (e[member] ?? 0) / 1000), 0);
  return [most("tdur"), most("dur")];
}
