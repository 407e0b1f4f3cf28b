// What the browser tests share: a browser that tells of every error, and kubectl.

import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { mkdirSync } from "node:fs";
import { createRequire } from "node:module";

const require = createRequire(`${process.env.PAGE_TOOLS}/package.json`);
const { chromium } = require("playwright-core");
const { default: AxeBuilder } = require("@axe-core/playwright");

export const url = process.env.PAGE_URL;
export const namespace = process.env.PAGE_NAMESPACE;
const pictures = process.env.PAGE_PICTURES;
/** How long anything may take: only what hangs is to fail. */
export const LIMIT = 120_000;
/** Most nodes of a page, texts included. */
const MOST_NODES = 2000;

export const kubectl = (...args) => execFileSync("kubectl", ["--namespace", namespace, ...args], { encoding: "utf8" });

/** A window of a browser of its own. What goes wrong in it is collected. */
export const open = async (options = {}) => {
  const browser = await chromium.launch({
    executablePath: process.env.PAGE_BROWSER,
    args: ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
      "--disable-component-update", "--disable-sync"],
  });
  const context = await browser.newContext({ viewport: { width: 1280, height: 800 }, ...options });
  context.setDefaultTimeout(LIMIT);
  const page = await context.newPage();
  const faults = [];
  page.on("pageerror", (error) => faults.push(`error: ${error.message}`));
  page.on("dialog", (dialog) => faults.push(`dialog: ${dialog.message()}`) && dialog.dismiss());
  // What the browser refuses by the page's policy is said here too. Not a fault: the Pods of other tests bring and take
  // network interfaces, and the browser then ends its connections.
  page.on("console", (message) => {
    const isFault = message.type() === "error" && !message.text().includes("net::ERR_NETWORK_CHANGED");
    if (isFault) faults.push(`console: ${message.text()}`);
  });
  return { browser, context, page, faults };
};

/** Waits until `is` holds, or fails with what it says. */
export const until = async (what, is) => {
  const end = Date.now() + LIMIT;
  for (;;) {
    const problem = await is().catch((error) => `${error}`);
    if (problem === true) return;
    if (Date.now() > end) assert.fail(`${what} did not come: ${problem}`);
    await new Promise((resolve) => setTimeout(resolve, 100));
  }
};

/** The texts of the cells of each row of the first table. */
export const rows = (page) =>
  page.locator("#list tbody tr").evaluateAll((all) => all.map((row) => [...row.cells].map((cell) => cell.innerText.trim())));

/** Loads a page, and checks what holds of every page: few nodes, nothing wider than the window, no finding of axe. */
export const check = async (page, path, picture) => {
  await page.goto(new URL(path, url).href);
  await page.locator("#live:not(.off)").waitFor();
  const nodes = await page.evaluate(() => {
    const walker = document.createTreeWalker(document, NodeFilter.SHOW_ALL);
    let count = 0;
    while (walker.nextNode()) count += 1;
    return count;
  });
  assert.ok(nodes <= MOST_NODES, `${path} has ${nodes} nodes`);
  const wider = await page.evaluate(() => document.documentElement.scrollWidth - document.documentElement.clientWidth);
  assert.ok(wider <= 0, `${path} is ${wider} pixels wider than the window`);
  const { violations } = await new AxeBuilder({ page }).analyze();
  const found = violations.map(({ id, impact, nodes }) => `${impact} ${id}: ${nodes.map(({ html }) => html).join(" ")}`);
  assert.deepEqual(found, [], path);
  if (pictures && picture) {
    mkdirSync(pictures, { recursive: true });
    await page.screenshot({ path: `${pictures}/${picture}.png`, fullPage: true });
  }
  return nodes;
};

export const finish = async ({ browser, faults }) => {
  await browser.close();
  assert.deepEqual(faults, []);
};
