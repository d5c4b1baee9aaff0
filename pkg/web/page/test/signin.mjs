// Signing in, and what it is good for.

import { createHmac } from "node:crypto";
import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { ask, assert, condition, eventually, publish, root, shot, sleep, url, withBrowser } from "./stage.mjs";

const axe = readFileSync(createRequire(import.meta.url).resolve("axe-core/axe.min.js"), "utf8");
const people = JSON.parse(process.env.PAGE_PEOPLE); // [name, password, secret]

// RFC 6238, with the defaults of everybody's authenticator.
function code(secret, offset = 0) {
  const alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";
  const bits = [...secret.replace(/=+$/, "")].map((c) => alphabet.indexOf(c).toString(2).padStart(5, "0")).join("");
  const key = Buffer.from(bits.match(/.{8}/g).map((b) => parseInt(b, 2)));
  const step = Buffer.alloc(8);
  step.writeBigUInt64BE(BigInt(Math.floor(Date.now() / 30_000) + offset));
  const mac = createHmac("sha1", key).update(step).digest();
  const at = mac[19] & 15;
  return String((mac.readUInt32BE(at) & 0x7fffffff) % 1_000_000).padStart(6, "0");
}

const fill = async (page, name, password, number) => {
  await page.fill("[autocomplete=username]", name);
  await page.fill("[autocomplete=current-password]", password);
  await page.fill("[autocomplete=one-time-code]", number);
  await page.click("text=Sign in");
};
const fault = (page) => page.textContent("[role=alert]");

await withBrowser(async (browser) => {
  const fresh = async (options) => {
    const context = await browser.newContext({ ignoreHTTPSErrors: true, viewport: { width: 1000, height: 800 }, ...options });
    const page = await context.newPage();
    await page.goto(url);
    await page.waitForSelector("form");
    return page;
  };
  const [[alice, password, secret], [bob, bobs, bobsSecret]] = people;

  for (const colorScheme of ["light", "dark"]) {
    const page = await fresh({ colorScheme, viewport: { width: 360, height: 640 } });
    await page.evaluate(`(() => { ${axe} })()`).catch(() => undefined);
    const { violations } = await page.evaluate(() => window.axe.run(document));
    assert.deepEqual(violations.filter((v) => v.impact === "serious" || v.impact === "critical").map((v) => v.id), []);
    await shot(page, `signin-${colorScheme}`);
    await page.context().close();
  }

  const page = await fresh();
  for (const path of ["api/history?from=1&to=2", "api/rows?tab=cpu&before=1", "api/download?tab=public&form=csv&from=1&to=2", "api/live"]) {
    assert.equal(await page.evaluate(async (p) => (await fetch(p)).status, path), 401, path);
  }
  await fill(page, alice, "not the password", code(secret));
  await eventually("a wrong password", async () => (await fault(page)) === "name, password or second factor is wrong");
  await fill(page, alice, password, "000000");
  await eventually("a wrong code", async () => (await fault(page)) === "name, password or second factor is wrong");
  await fill(page, "nobody", password, code(secret));
  await eventually("nobody", async () => (await fault(page)) === "name, password or second factor is wrong");
  const used = code(secret);
  await fill(page, alice, password, used);
  await eventually("in", async () => (await condition(page)) !== null);
  assert.match(await page.textContent(".me"), /alice \(operator\)/);
  const [cookie] = await page.context().cookies();
  assert.deepEqual([cookie.name, cookie.httpOnly, cookie.secure, cookie.sameSite, cookie.path], ["__Host-weir", true, true, "Strict", "/"]);
  assert.equal(await page.evaluate(() => document.cookie), "");

  const second = await fresh();
  await fill(second, alice, password, used);
  await eventually("a code that was used", async () => (await fault(second)) === "name, password or second factor is wrong");

  publish(`${root}/metrics/cpu`, `{"cpu_usage": 5}`);
  await eventually("live", async () => (await condition(page)) === "Calm");
  await page.click("text=Enable rate limiting");
  await ask("command from web:alice");
  const command = JSON.stringify({ root, command: "disable_rate_limiting" });
  const post = (p, headers) => p.evaluate(async ([body, h]) => (await fetch("api/command", { method: "POST", body, headers: h })).status, [command, headers]);
  assert.equal(await post(page, {}), 401, "without the token");
  assert.equal(await post(page, { "Weir-Token": "guessed" }), 401, "with another token");
  await ask("no command");

  // A security key, in software: it stays with its page.
  const cdp = await page.context().newCDPSession(page);
  await cdp.send("WebAuthn.enable");
  const { authenticatorId } = await cdp.send("WebAuthn.addVirtualAuthenticator", {
    options: { protocol: "ctap2", transport: "usb", hasResidentKey: true, hasUserVerification: true, isUserVerified: true, automaticPresenceSimulation: true },
  });
  await page.click("text=Passkeys");
  await page.waitForSelector("text=None yet.");
  await shot(page, "passkeys");
  const enrol = async (name, with_) => {
    await page.fill(".passkeys [maxlength]", name);
    await page.fill(".passkeys [type=password]", with_);
    await page.click("text=Add a passkey");
  };
  await enrol("blue key", "not the password");
  await eventually("a wrong password", async () => (await page.textContent(".passkeys [role=alert]")) === "the password is wrong");
  await enrol("blue key", password);
  await page.waitForSelector("text=blue key since");
  await ask("alice has a passkey");
  await enrol("again", password);
  await eventually("once on each key", async () => (await page.textContent(".passkeys [role=alert]")) === "that device has a passkey of yours already");
  await page.evaluate(`(() => { ${axe} })()`);
  const { violations } = await page.evaluate(() => window.axe.run(".passkeys"));
  assert.deepEqual(violations.filter((v) => v.impact === "serious" || v.impact === "critical").map((v) => v.id), []);
  await shot(page, "passkeys-one");
  await page.click(".passkeys >> text=Close");

  const enterByPasskey = async (who, with_) => {
    await page.waitForSelector("form");
    await page.fill("[autocomplete=username]", who);
    await page.fill("[autocomplete=current-password]", with_);
    await page.click("#passkey");
  };
  await page.click("text=Sign out");
  await enterByPasskey(alice, "not the password");
  await eventually("a passkey alone", async () => (await fault(page)) === "name, password or second factor is wrong");
  await enterByPasskey(bob, bobs);
  await eventually("another's passkey", async () => (await fault(page)) === "name, password or second factor is wrong");
  await enterByPasskey(alice, password);
  await eventually("in by passkey", async () => /alice \(operator\)/.test(await page.textContent(".me")));
  await ask("remove alice's passkey");
  await page.waitForSelector("form", { timeout: 20_000 });
  await enterByPasskey(alice, password);
  await eventually("a removed passkey", async () => (await fault(page)) === "name, password or second factor is wrong");
  await cdp.send("WebAuthn.removeVirtualAuthenticator", { authenticatorId });

  const viewer = await fresh();
  await fill(viewer, bob, bobs, code(bobsSecret));
  await eventually("bob is in", async () => /bob \(viewer\)/.test(await viewer.textContent(".me")));
  assert.ok(await viewer.isDisabled("text=Enable rate limiting"));
  assert.match(await viewer.textContent(".actions"), /You may look, not command/);
  const token = await viewer.evaluate(async () => (await (await fetch("api/session")).json()).token);
  assert.equal(await post(viewer, { "Weir-Token": token }), 403, "a viewer's forged command");
  await ask("no command");
  await shot(viewer, "viewer");

  await viewer.click("text=Sign out");
  await viewer.waitForSelector("form");
  assert.equal(await viewer.evaluate(async () => (await fetch("api/session")).status), 401);
  await sleep(30_000 - (Date.now() % 30_000) + 500); // bob's next code
  await fill(viewer, bob, bobs, code(bobsSecret));
  await eventually("bob is in again", async () => (await condition(viewer)) !== null);
  await ask("demote bob");
  await viewer.waitForSelector("form", { timeout: 20_000 });

  const guesser = await fresh();
  for (let i = 0; i < 8; i++) {
    await fill(guesser, alice, `guess number ${i}`, "123456");
    await eventually("an answer", async () => (await fault(guesser)) !== "" && !(await guesser.isDisabled("text=Sign in")));
    if (/wait/.test(await fault(guesser))) break;
  }
  assert.match(await fault(guesser), /too many attempts: wait \d+ s/);
  await fill(guesser, alice, password, code(secret, 1));
  await eventually("the right password doesn't help now", async () => /too many attempts/.test(await fault(guesser)));
  await sleep(100);
});
