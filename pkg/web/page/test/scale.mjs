// Whoever has servers added is told what they wait for, and may send other commands meanwhile.

import { ask, assert, eventually, open, withBrowser } from "./stage.mjs";

await withBrowser(async (browser) => {
  const page = await open(browser);
  const result = () => page.textContent("#result");
  const says = (what, words) => eventually(what, async () => words.test(await result()));
  await ask("slow servers");
  await eventually("calm", async () => (await page.textContent("#condition")) === "Calm");
  await page.click("text=Scale up servers");
  await says("waiting", /^Scale up servers: waiting: the servers have 40 s at most$/);
  await page.click("text=Enable rate limiting");
  await says("limiting meanwhile", /^Enable rate limiting: success: each source is held to/);
  await says("added", /^Scale up servers: success: 2 servers instead of 1: added weir-8101/);
  await page.click("text=Scale up servers");
  await says("waiting again", /waiting/);
  await page.click("text=Scale up servers");
  await says("one at a time", /^Scale up servers: failure: one at a time/);
  assert.deepEqual(page.faults, []);
});
