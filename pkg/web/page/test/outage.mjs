// A page says what it has lost, and gets it back by itself.

import { ask, assert, choose, condition, eventually, open, publish, root, rows, withBrowser } from "./stage.mjs";

await withBrowser(async (browser) => {
  const page = await open(browser, { hash: "cpu" });
  await eventually("calm", async () => (await condition(page)) === "Calm");
  publish("public/x", "before");

  await ask("kill sensor");
  await eventually("silent", async () => (await condition(page)) === "Sensor silent");
  assert.match(await page.textContent("#sentence"), /Nothing from the sensor for \d+ s/);
  await ask("start sensor");
  await eventually("calm again", async () => (await condition(page)) === "Calm");

  await ask("kill broker");
  await eventually("broker lost", async () => (await condition(page)) === "Broker lost");
  await page.click("text=Enable rate limiting");
  await eventually("nothing is sent", async () => /failure: the broker is away/.test(await page.textContent("#result")));
  await ask("start broker");
  await eventually("calm after the broker", async () => (await condition(page)) === "Calm");

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
  await page.click(".overview >> text=bank/zurich/web1");
  await choose(page, "cpu");
  await eventually("its figures", async () => (await rows(page)).some((r) => r.includes('"cpu_usage": 7')));
  publish(`${root}/metrics/cpu`, `{"cpu_usage": 8.125}`);
  await page.waitForTimeout(500);
  assert.ok(!(await rows(page)).some((r) => r.includes("8.125")), "another server's message");
  assert.deepEqual(page.faults, []);
});
