// A real flood turns the header and the charts; the buttons act in the kernel.

import { ask, assert, choose, condition, eventually, open, rows, shot, withBrowser } from "./stage.mjs";

const result = (page) => page.textContent("#result");
const figures = (page, title) => page.getAttribute(`[role=img][aria-label^="${title}"]`, "aria-label");

await withBrowser(async (browser) => {
  const page = await open(browser);
  await eventually("calm", async () => (await condition(page)) === "Calm");
  await shot(page, "calm");

  await ask("flood");
  await eventually("limiting", async () => /Limiting|Challenging/.test(await condition(page)));
  await eventually("under attack, in words", async () => /Under attack: .* SYNs in 5 s/.test(await page.textContent("#sentence")));
  await eventually("drops in the chart", async () => /dropped (?!0|–)/.test(await figures(page, "What became of them")));
  await eventually("drops second by second", async () => /dropped (?!0|–)/.test(await figures(page, "SYNs, second by second")));
  await eventually("the attacker among the sources", async () => /198\.51\.100\.3.*over its limit/.test(await page.textContent(".sources")));
  await page.waitForTimeout(6000);
  await shot(page, "attack");
  const phone = await open(browser, { viewport: { width: 360, height: 740 } });
  await eventually("the attacker on the phone", async () => /198\.51\.100\.3/.test(await phone.textContent(".sources")));
  const wide = await phone.evaluate(() => document.documentElement.scrollWidth - innerWidth);
  assert.ok(wide <= 0, `${wide} pixels wider than the phone`);
  await phone.context().close();
  await choose(page, "alerts");
  await eventually("the alert", async () => (await rows(page)).some((r) => r.includes("SYN packet count exceeded threshold")));
  await choose(page, "status");
  await eventually("command and status", async () => {
    const all = (await rows(page)).join("\n");
    return all.includes('"command":"enable_rate_limiting","id"') && all.includes('"status":"success"');
  });

  // During an attack disabling asks first.
  await page.click("text=Disable");
  await page.click("dialog >> text=Cancel");
  await ask("enforcing");
  await page.click("text=Disable");
  assert.match(await page.textContent("dialog"), /lets everything through/);
  await page.click("dialog >> text=Disable >> visible=true >> nth=-1");
  await eventually("disabled", async () => /Disable: success/.test(await result(page)));
  await ask("observing");
  await eventually("under attack", async () => (await condition(page)) === "Under attack");
  await shot(page, "unprotected");
  await page.click("text=Enable rate limiting");
  await eventually("enabled", async () => /Enable rate limiting: success/.test(await result(page)));
  await ask("enforcing");

  await choose(page, "network");
  await page.click('[aria-label="Block 198.51.100.3"]');
  assert.match(await page.textContent("dialog"), /Block 198\.51\.100\.3\?.*All packets from 198\.51\.100\.3 will be dropped/);
  await page.selectOption("dialog select", "600");
  await shot(page, "block");
  await page.click("dialog .primary");
  await eventually("blocked", async () => /Block 198\.51\.100\.3: success/.test(await result(page)));
  await ask("blocked");
  await eventually("what was isn't said as if it were", async () => /198\.51\.100\.3–.*was (over|within) its limit/.test(await page.textContent(".sources")), 40_000);
  await page.click("text=Unblock 198.51.100.3");
  await eventually("unblocked", async () => /Unblock 198\.51\.100\.3: success/.test(await result(page)));
  await ask("unblocked");

  await page.click("text=Scale up servers");
  await eventually("no scaler", async () => /Scale up servers: failure: .*no scaler/.test(await result(page)));
  await ask("kill controller");
  await page.click("text=Enable rate limiting");
  await eventually("pending", async () => /pending/.test(await result(page)) && await page.isDisabled("text=Enable rate limiting"));
  await eventually("no answer", async () => /failure: no answer in 5 s/.test(await result(page)));
  assert.deepEqual(page.faults, []);
});
