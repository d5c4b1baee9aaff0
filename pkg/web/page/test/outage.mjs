// A page says what it has lost, and gets it back by itself.

import { ask, assert, choose, condition, eventually, open, publish, root, rows, withBrowser } from "./stage.mjs";

// The widest gap in the line of a chart, in pixels.
const gap = (page) => page.evaluate(() => {
  const canvas = document.querySelector(".chart canvas");
  const { data, width, height } = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height);
  let widest = 0, last = -1;
  for (let x = 0; x < width; x++) {
    let drawn = false;
    for (let y = 0; y < height && !drawn; y++) {
      const i = 4 * (y * width + x);
      drawn = data[i + 3] > 128 && data[i + 2] - data[i] > 80; // blue
    }
    if (!drawn) continue;
    if (last >= 0) widest = Math.max(widest, x - last);
    last = x;
  }
  return widest;
});

await withBrowser(async (browser) => {
  const page = await open(browser, { hash: "cpu" });
  await eventually("calm", async () => (await condition(page)) === "Calm");
  publish("public/x", "before");

  await ask("kill sensor");
  await eventually("silent", async () => (await condition(page)) === "Sensor silent");
  const silence = async () => Number(/Nothing from the sensor for (\d+) s/.exec(await page.textContent("#sentence"))[1]);
  await eventually("long enough to be seen", async () => (await silence()) >= 8);
  await ask("start sensor");
  await eventually("calm again", async () => (await condition(page)) === "Calm");
  await eventually("a gap in the chart", async () => (await gap(page)) >= 10);

  await ask("kill broker");
  await eventually("broker lost", async () => (await condition(page)) === "Broker lost");
  await page.click("text=Enable rate limiting");
  await eventually("nothing is sent", async () => /failure: the broker is away/.test(await page.textContent("#result")));
  await ask("start broker");
  await eventually("calm after the broker", async () => (await condition(page)) === "Calm");

  // A server that is frozen, or a cable that is cut, closes no connection.
  await ask("freeze web");
  await eventually("disconnected from the frozen", async () => (await condition(page)) === "Page disconnected");
  await eventually("its title", async () => (await page.title()).startsWith("? Page disconnected"));
  await page.click("text=Enable rate limiting");
  await eventually("no word from the frozen", async () => /failure: no answer in 5 s from the page's server/.test(await page.textContent("#result")));
  await ask("thaw web");
  await eventually("calm after the thaw", async () => (await condition(page)) === "Calm");

  await ask("kill web");
  await eventually("disconnected", async () => (await condition(page)) === "Page disconnected");
  await ask("start web");
  await eventually("calm after the page's server", async () => (await condition(page)) === "Calm");
  await choose(page, "public");
  await eventually("the history survives", async () => (await rows(page)).some((r) => r.includes("before")));
  publish(`${root}/alerts`, `{"alert": "x", "metric": "cpu_usage", "state": "raised"}`);
  await eventually("live again", async () => (await condition(page)) === "Strained");

  publish("bank/zurich/web1/metrics/cpu", `{"cpu_usage": 7}`);
  await eventually("another server", async () => /bank\/zurich\/web1/.test(await page.textContent(".overview")));
  const first = () => page.textContent(".card >> nth=0");
  publish("bank/zurich/web1/alerts", `{"alert": "x", "metric": "syn_packet_count", "state": "raised"}`);
  await eventually("the attacked one comes first", async () => /zurich.*Under attack/.test(await first()));
  publish("bank/zurich/web1/alerts", `{"alert": "x", "metric": "syn_packet_count", "state": "cleared"}`);
  await eventually("now the strained one does", async () => /bank_server.*Strained/.test(await first()));
  await page.click(".overview >> text=bank/zurich/web1");
  await choose(page, "cpu");
  await eventually("its figures", async () => (await rows(page)).some((r) => r.includes('"cpu_usage": 7')));
  publish(`${root}/metrics/cpu`, `{"cpu_usage": 8.125}`);
  await page.waitForTimeout(500);
  assert.ok(!(await rows(page)).some((r) => r.includes("8.125")), "another server's message");
  assert.deepEqual(page.faults, []);
});
