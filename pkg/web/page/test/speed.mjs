// How long people wait: from the request to the first paint with an hour of history, and from the broker to the screen.

import { open, publish, publishLines, root, rows, choose, eventually, sleep, withBrowser } from "./stage.mjs";

const median = (x) => x.toSorted((a, b) => a - b)[Math.floor(x.length / 2)];
const metric = (name, value) => console.log(`metric ${name} ${value.toFixed(1)}`);

await withBrowser(async (browser) => {
  const t = Date.now() / 1000;
  const classes = ["syn", "syn_ack", "tcp", "rst", "udp", "icmp", "fragment", "other"];
  const network = (i) => JSON.stringify({
    active_tcp_connections: 200 + i % 50, syn_packet_count: i, timestamp: t, interval_seconds: 5, mode: "enforce",
    rates: Object.fromEntries(classes.map((c) => [c, { pps: i + 0.25, bytes_per_second: 60 * i }])),
    verdicts: Object.fromEntries(classes.map((c) => [c, { passed: i, dropped: 4 * i }])),
    seconds: [0, 1, 2, 3, 4].map((s) => ({ timestamp: t - 3600 + 5 * i + s, offered: i + s, dropped: i })),
    top_sources: Array.from({ length: 10 }, (_, s) => ({ source: `198.51.100.${s}`, syn_per_second: i / (s + 1), limited: true })),
  });
  const all = Array.from({ length: 720 }, (_, i) => i);
  for (const [topic, lines] of [
    ["cpu", all.map((i) => `{"cpu_usage": ${i % 100}, "timestamp": ${t}}`)], ["ram", all.map((i) => `{"ram_usage": ${i % 100}, "timestamp": ${t}}`)],
    ["network", all.map(network)],
  ]) {
    for (let i = 0; i < lines.length; i += 100) { // no faster than a broker hands on
      await publishLines(`${root}/metrics/${topic}`, lines.slice(i, i + 100));
      await sleep(50);
    }
  }
  const paints = [];
  for (let i = 0; i < 7; i++) {
    const page = await open(browser);
    await page.waitForSelector(".row");
    paints.push(await page.evaluate(() => new Promise((done) => {
      const filled = performance.now(); // the rows are there: state and history have come
      const first = performance.getEntriesByName("first-contentful-paint")[0]?.startTime ?? filled;
      requestAnimationFrame(() => done([first, filled]));
    })));
    await page.context().close();
  }
  metric("ms-first-paint", median(paints.map((p) => p[0])));
  metric("ms-filled", median(paints.map((p) => p[1])));

  const page = await open(browser, { hash: "public" });
  await choose(page, "public");
  await page.evaluate(() => {
    window.seen = {};
    new MutationObserver(() => {
      for (const r of document.querySelectorAll(".row")) {
        const id = /probe-(\d+)/.exec(r.textContent)?.[1];
        if (id && !window.seen[id]) window.seen[id] = Date.now();
      }
    }).observe(document.body, { subtree: true, childList: true, characterData: true });
  });
  const delays = [];
  for (let i = 0; i < 21; i++) {
    const before = Date.now();
    publish("public/probe", `probe-${i} `); // takes a process: its start counts, too
    const seen = await eventually("the probe", () => page.evaluate((id) => window.seen[id], i));
    delays.push(seen - before);
    await sleep(100);
  }
  metric("ms-to-screen", median(delays));
  await eventually("rows", async () => (await rows(page)).length > 0);
});
