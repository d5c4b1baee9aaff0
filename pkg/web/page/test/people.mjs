// A command that two people must send: the page says who waits, and what became of it.

import { ask, assert, choose, eventually, open, rows, shot, withBrowser } from "./stage.mjs";

const result = (page) => page.textContent("#result");
const waiting = (page) => page.locator(".waiting:not(#result)").allTextContents();

await withBrowser(async (browser) => {
  const page = await open(browser);
  await page.click("text=Enable rate limiting");
  await eventually("enabled", async () => /Enable rate limiting: success/.test(await result(page)));
  await page.click("text=Disable");
  await eventually("waits", async () => /Disable: waiting: not done yet: page asks for it/.test(await result(page)));
  assert.equal(await page.isDisabled("text=Scale up servers"), false); // other commands don't wait with it
  assert.deepEqual(await waiting(page), []); // it isn't said twice
  const later = await open(browser); // who opens the page now
  await eventually("told to others, too", async () => (await waiting(later)).some((w) => /disable_rate_limiting waits for a second person until \d\d:/.test(w)));
  await shot(later, "two-people");
  await ask("enforcing");
  await ask("bob");
  await eventually("done", async () => /Disable: success: rate limiting is off; sent by/.test(await result(page)));
  await eventually("nobody waits", async () => (await waiting(page)).length === 0 && (await waiting(later)).length === 0);
  await ask("observing");
  await choose(page, "status");
  await eventually("its row", async () => (await rows(page)).some((r) => r.includes('"approval_until"')));
  assert.deepEqual(page.faults, []);
});
