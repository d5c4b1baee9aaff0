// Fifty thousand messages pass through the page. It prints what they cost.

import { assert, choose, eventually, open, publish, publishLines, root, rows, withBrowser } from "./stage.mjs";

const n = 50_000;

await withBrowser(async (browser) => {
  const page = await open(browser, { hash: "cpu" });
  await page.evaluate(() => {
    window.longest = 0;
    let last = performance.now();
    const tick = (now) => { window.longest = Math.max(window.longest, now - last); last = now; requestAnimationFrame(tick); };
    requestAnimationFrame(tick);
    window.tasks = [];
    new PerformanceObserver((l) => window.tasks.push(...l.getEntries().map((e) => e.duration))).observe({ type: "longtask" });
  });
  const lines = Array.from({ length: n }, (_, i) => JSON.stringify({ cpu_usage: i % 100, timestamp: i }));
  const start = Date.now();
  await publishLines(`${root}/metrics/cpu`, lines);
  await eventually("the last one", async () => { // a broker may drop what comes faster than it is read
    publish(`${root}/metrics/cpu`, '{"cpu_usage": 42, "timestamp": 424242}');
    return (await rows(page)).some((r) => r.includes("424242"));
  });
  const took = Date.now() - start;
  const seen = Number((await page.textContent(".log .bar .dim")).match(/\d+/)[0]);
  await page.evaluate(() => { document.querySelector(".rows").scrollTop = 1000; });
  await choose(page, "network");
  const [longest, tasks, heap] = await page.evaluate(() => [window.longest, window.tasks, (globalThis.gc?.(), performance.memory.usedJSHeapSize)]);
  console.log(`${n} messages in ${took} ms: ${seen} rows, longest frame ${longest.toFixed(0)} ms, longest task ${Math.max(0, ...tasks).toFixed(0)} ms, heap ${(heap / 1e6).toFixed(0)} MB`);
  assert.ok(Math.max(0, ...tasks) < 100, `the page was busy for ${Math.max(...tasks)} ms in one go`);
  assert.ok(heap < 300e6, `${heap} bytes`);
  assert.ok(seen >= 500 && seen <= 10_000, `${seen} rows`);
  assert.deepEqual(page.faults, []);
});
