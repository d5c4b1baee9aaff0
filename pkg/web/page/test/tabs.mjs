// Each tab shows what comes from outside, and hostile payloads are but text.

import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { assert, choose, condition, eventually, open, publish, root, rows, shot, withBrowser } from "./stage.mjs";

const axe = readFileSync(createRequire(import.meta.url).resolve("axe-core/axe.min.js"), "utf8");

await withBrowser(async (browser) => {
  const page = await open(browser);
  assert.equal(await condition(page), "Waiting for the sensor");

  const t = Date.now() / 1000;
  for (const [tab, topic, payload, shown] of [
    ["cpu", `${root}/metrics/cpu`, `{"cpu_usage": 91.44, "timestamp": ${t}}`],
    ["ram", `${root}/metrics/ram`, `{"ram_usage": 43.7, "timestamp": ${t}}`],
    ["network", `${root}/metrics/network`, `{"active_tcp_connections": 205, "syn_packet_count": 482, "timestamp": ${t}}`],
    ["alerts", `${root}/alerts`, `{"timestamp": ${t}, "alert": "SYN packet count exceeded threshold"}`],
    ["status", `${root}/status/rate_limiting`, `{"timestamp": ${t}, "command": "enable_rate_limiting", "status": "success"}`],
    ["status", `${root}/status/scaling`, `{"timestamp": ${t}, "command": "scale_up_servers", "status": "failure", "detail": "none"}`],
    ["public", "public/announcement", "Public announcement: Heart rate is 67 BPM"],
    ["public", "public/", "grüezi 日本 🙂"],
    ["network", `${root}/metrics/network`, `{"active_tcp_connections": 1e308, "syn_packet_count": 1}`],
    ["cpu", `${root}/metrics/cpu`, `{"cpu_usage": 1e308}`],
    ["cpu", `${root}/metrics/cpu`, "{}"],
    ["alerts", `${root}/alerts`, `{"alert": "<img src=x onerror=window.pwned=1><script>window.pwned=1</script>"}`],
    ["public", "public/<script>window.pwned=1</script>", "<script>window.pwned=1</script><svg onload=window.pwned=1>"],
    ["public", "public/bytes", Buffer.from([0xff, 0xfe, 0x1b, 0x5b]), "\\xff\\xfe\\u001b["],
    ["public", "public/long", "x".repeat(1 << 20), "(left out: 1048576 bytes, at most 65536 are read)"],
  ]) {
    publish(topic, payload);
    await choose(page, tab);
    const want = shown ?? payload;
    const row = await eventually(`${tab} shows ${want.slice(0, 80)}`, async () => (await rows(page)).find((r) => r.includes(want)));
    assert.match(row, /^\d\d\/\d\d\/\d{4} \d\d:\d\d:\d\d - Received: /);
    const topics = await page.textContent(".topic");
    assert.ok(topics.includes(tab === "public" ? "public/#" : root), topics);
  }
  assert.equal(await page.evaluate(() => window.pwned), undefined);
  assert.equal(await page.$("#panel script, #panel img, #panel svg"), null);
  await choose(page, "cpu");
  assert.match(await page.getAttribute("[role=img]", "aria-label"), /^CPU, %: now used 91, threshold 80$/);
  assert.equal(await page.locator(".row.bad").count(), 2);
  assert.match(await condition(page), /Strained/);

  await choose(page, "public");
  await page.fill("input[type=search]", "HEART rate");
  await eventually("the filter", async () => (await rows(page)).length === 1);
  await page.fill("input[type=search]", "");
  await page.click("text=Pause");
  publish("public/x", "while paused");
  await eventually("it has come", async () => (await page.evaluate(() => document.querySelector(".log .dim").textContent)).includes("paused"));
  await page.waitForTimeout(300);
  assert.ok(!(await rows(page)).some((r) => r.includes("while paused")));
  await page.click("text=Resume");
  await eventually("what came meanwhile", async () => (await rows(page)).some((r) => r.includes("while paused")));

  for (const form of ["CSV", "JSON"]) {
    const [download] = await Promise.all([page.waitForEvent("download"), page.click(`.log >> text=${form}`)]);
    const text = readFileSync(await download.path(), "utf8");
    assert.ok(text.includes("Heart rate is 67 BPM"), text);
    if (form === "JSON") assert.ok(JSON.parse(text).some((r) => r.payload === "while paused"));
  }

  await choose(page, "alerts");
  await page.click(".row");
  assert.match(await page.textContent(".detail pre"), /^\{\n {2}"timestamp"/);
  await page.keyboard.press("Escape");
  assert.equal(await page.$(".detail"), null);
  await page.keyboard.press("ArrowUp"); // the list has the focus again
  await page.keyboard.press("Home");
  assert.match(await page.textContent(".row[aria-selected=true]"), /SYN packet count exceeded threshold/);
  await page.keyboard.press("End");
  await page.keyboard.press("Enter");
  await eventually("opened by the keyboard", async () => (await page.textContent(".detail pre")).includes("onerror"));
  await page.keyboard.press("Escape");

  await choose(page, "cpu");
  for (const [key, tab] of [["ArrowRight", "ram"], ["ArrowLeft", "cpu"], ["ArrowLeft", "public"]]) {
    await page.keyboard.press(key);
    await eventually(`${key} to ${tab}`, async () => (await page.getAttribute(`#tab-${tab}`, "aria-selected")) === "true");
  }

  for (const colorScheme of ["light", "dark"]) {
    for (const [name, viewport] of [["desktop", { width: 1400, height: 1000 }], ["phone", { width: 360, height: 740 }], ["wall", { width: 3840, height: 2160 }]]) {
      const other = await open(browser, { colorScheme, viewport });
      await eventually("it is filled", async () => (await rows(other)).length > 0);
      for (const tab of name === "desktop" ? ["cpu", "network", "alerts", "public"] : ["network"]) {
        await choose(other, tab);
        await other.waitForTimeout(100);
        await shot(other, `${tab}-${colorScheme}-${name}`);
        const wide = await other.evaluate(() => document.documentElement.scrollWidth - innerWidth);
        assert.ok(wide <= 0, `${tab} is ${wide} pixels wider than the ${name}`);
        await other.evaluate(`(() => { ${axe} })()`).catch(() => undefined);
        const { violations } = await other.evaluate(() => window.axe.run(document));
        const grave = violations.filter((v) => v.impact === "serious" || v.impact === "critical");
        assert.deepEqual(grave.map((v) => `${v.id}: ${v.nodes.map((n) => n.html).join(" ")}`), [], `${tab} ${colorScheme} ${name}`);
      }
      assert.deepEqual(other.faults, []);
      await other.context().close();
    }
  }

  await choose(page, "public");
  await page.click("text=Load older");
  await eventually("no older ones, and none twice", async () => (await page.isDisabled("text=No older messages")) &&
    (await rows(page)).filter((r) => r.includes("Heart rate")).length === 1);
  await page.click("text=Pause"); // what is paused is cleared, too
  await page.click("text=Clear all logs");
  for (const tab of ["cpu", "ram", "network", "alerts", "status", "public"]) {
    await choose(page, tab);
    assert.deepEqual(await rows(page), [], tab);
  }
  publish("public/x", "after clearing");
  await eventually("it goes on", async () => (await rows(page)).some((r) => r.includes("after clearing")));
  const again = await open(browser, { hash: "public" });
  await eventually("the history is there", async () => (await rows(again)).some((r) => r.includes("Heart rate")));

  const bare = await open(browser, { hash: "public", at: process.env.PAGE_BARE_URL }); // a server that keeps no history
  publish("public/x", '=1+1 "quoted"');
  await eventually("a row", async () => (await rows(bare)).some((r) => r.includes("=1+1")));
  for (const [form, want] of [["CSV", `,"public/x","'=1+1 ""quoted""",""`], ["JSON", '"payload":"=1+1 \\"quoted\\""']]) {
    const [download] = await Promise.all([bare.waitForEvent("download"), bare.click(`.log >> text=${form}`)]);
    const text = readFileSync(await download.path(), "utf8");
    assert.ok(text.includes(want), text);
  }
  assert.deepEqual(bare.faults, []);
  assert.deepEqual(page.faults, []);
});
