// What the browser tests share. They are run by cmd/weir/web_test.go, which does what a line "@name" on their output asks for and
// answers by a line.

import assert from "node:assert/strict";
import { execFileSync, spawn } from "node:child_process";
import { once } from "node:events";
import { createInterface } from "node:readline";
import { chromium } from "playwright-core";

export const url = process.env.PAGE_URL ?? "http://127.0.0.1:8080";
export const root = "<103795587>/bank_server";
const answers = createInterface({ input: process.stdin })[Symbol.asyncIterator]();

// Asks the other side to do something.
export async function ask(name) {
  console.log(`@${name}`);
  const { value } = await answers.next();
  assert.equal(value, "done", name);
}

const port = process.env.PAGE_BROKER_PORT ?? "1883";

export function publish(topic, payload, ...more) {
  execFileSync("mosquitto_pub", ["-h", "127.0.0.1", "-p", port, "-t", topic, "-s", ...more], { input: payload });
}

// Publishes each line.
export async function publishLines(topic, lines) {
  const p = spawn("mosquitto_pub", ["-h", "127.0.0.1", "-p", port, "-t", topic, "-l"], { stdio: ["pipe", "inherit", "inherit"] });
  p.stdin.end(lines.join("\n") + "\n");
  const [status] = await once(p, "exit");
  assert.equal(status, 0);
}

export const sleep = (ms) => new Promise((done) => setTimeout(done, ms));

// Waits for what takes milliseconds on an idle machine.
export async function eventually(what, f, within = 20_000) {
  const end = Date.now() + within;
  let last;
  while (Date.now() < end) {
    try {
      last = await f();
      if (last) return last;
    } catch (e) {
      last = e;
    }
    await sleep(50);
  }
  assert.fail(`${what}: ${last}`);
}

export async function withBrowser(f) {
  const browser = await chromium.launch({
    executablePath: process.env.PAGE_CHROMIUM ?? "/usr/bin/chromium",
    args: ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
      "--disable-component-update", "--disable-sync", "--js-flags=--expose-gc", "--enable-precise-memory-info",
      ...(process.env.PAGE_HOSTS ? [`--host-resolver-rules=${process.env.PAGE_HOSTS}`] : [])],
  });
  try {
    await f(browser);
  } finally {
    await browser.close();
  }
  process.exit(0); // the other side's input is still open
}

// Opens the page, which must not ask for anything elsewhere, nor fail.
export async function open(browser, options = {}) {
  const { hash = "network", at = url, ...rest } = options;
  const context = await browser.newContext({ viewport: { width: 1400, height: 1000 }, acceptDownloads: true, ...rest });
  const page = await context.newPage();
  page.faults = [];
  page.on("request", (r) => {
    if (!r.url().startsWith(at) && !r.url().startsWith(`blob:${at}`)) page.faults.push(`asked for ${r.url()}`);
  });
  page.on("pageerror", (e) => page.faults.push(`error ${e.message}`));
  page.on("console", (m) => {
    if (m.type() === "error" && !/WebSocket|Failed to load resource/.test(m.text())) page.faults.push(`console: ${m.text()}`);
  });
  page.on("dialog", (d) => {
    page.faults.push(`dialog ${d.message()}`);
    void d.dismiss();
  });
  await page.goto(`${at}/#${hash}`);
  await page.waitForSelector("#condition");
  return page;
}

export const condition = (page) => page.textContent("#condition");

export async function choose(page, tab) {
  await page.click(`#tab-${tab}`);
}

// The rows in view, as a person reads them.
export const rows = (page) => page.$$eval(".row", (all) => all.map((r) => r.textContent));

export async function shot(page, name) {
  if (process.env.PAGE_SHOTS) await page.screenshot({ path: `${process.env.PAGE_SHOTS}/${name}.png` });
}

export { assert };
