// What a person does with the page: finds the causes of many failures, sees why a task waits, follows one that runs.

import assert from "node:assert/strict";
import { check, finish, kubectl, namespace, open, rows, until, url } from "./browser.mjs";

const everyPage = async () => {
  for (const [name, options] of [
    ["light", { colorScheme: "light" }],
    ["dark", { colorScheme: "dark" }],
    ["narrow", { viewport: { width: 390, height: 800 }, reducedMotion: "reduce" }],
    // 200 % zoom of a window of 1280 pixels.
    ["zoomed", { viewport: { width: 640, height: 400 }, deviceScaleFactor: 2 }],
  ]) {
    const window = await open(options);
    const task = `task?namespace=${namespace}&name=red-0`;
    for (const path of ["", "errors", "failed", "tasks", "queues", "schedules", "workers", task]) {
      await check(window.page, path, `${name}-${path.split("?")[0] || "now"}`);
    }
    await check(window.page, task.replace("red-0", "late"), `${name}-task-queued`);
    await finish(window);
  }
};

/** Three causes behind forty failures; the message of one of them is hostile, and stays text. */
const findTheCauses = async () => {
  const window = await open();
  const { page } = window;
  await page.goto(url);
  await page.getByRole("link", { name: "Errors" }).click();
  await until("forty failures of three causes", async () => {
    const found = await rows(page);
    return JSON.stringify(found.map(([count]) => count)) === '["20","12","8"]' || JSON.stringify(found);
  });
  await page.getByText("40 failures of 3 causes").waitFor();
  const [first, second] = await rows(page);
  assert.match(first[1], /Error, exit code 111\s+\S{8}\s+connect to orders-db-\d+ failed/);
  assert.match(second[1], /<img src=x onerror=alert\(1\)><script>alert\(2\)<\/script>/);
  assert.equal(await page.locator("main img, main script").count(), 0);
  // What the plugin takes.
  assert.match(await page.locator("#list tbody tr").first().locator("code.id").innerText(), /^\S{8}$/);
  await page.locator("#list tbody tr").first().getByRole("link", { name: "5", exact: true }).click();
  await until("its five tasks", async () => (await rows(page)).length === 5);
  await page.getByRole("link", { name: "red-0" }).click();
  await page.getByRole("heading", { name: "red-0" }).waitFor();
  await page.getByText("maxRetries (3) exhausted after 4 attempts").first().waitFor();
  assert.equal(await page.locator("#timeline tbody tr").count(), 4);
  assert.equal(await page.locator("svg.timeline .bar").count(), 4);
  const waits = await page.locator("svg.timeline .wait title").allTextContents();
  assert.equal(waits.length, 3);
  for (const wait of waits) assert.match(wait, /Then a wait of .* which the jitter picked from .* to /);
  await page.getByText("YAML").click();
  const yaml = await page.locator("#yaml-text").innerText();
  assert.ok(yaml.includes("name: PASSWORD") && !yaml.includes("hunter2"), yaml);
  await finish(window);
};

const seeWhyItWaits = async () => {
  const window = await open();
  const { page } = window;
  await page.goto(url);
  for (const [state, task, why] of [
    ["Queued", "held", /TaskQueue closed: .*it is number 1 of 1 in line/],
    ["Queued", "late", /TaskQueue disk: .*circuit/],
    ["Blocked", "after-held", /held/],
    ["Waiting", "much-later", /as spec\.startAt says/],
    ["Pending", "nowhere", /no node|node/i],
  ]) {
    await page.getByRole("navigation", { name: "Parts of the list" }).getByRole("link", { name: new RegExp(state) }).click();
    await page.getByRole("link", { name: task, exact: true }).click();
    const sentence = await page.locator("#why .sentence").innerText();
    assert.match(sentence, why);
    await page.getByRole("link", { name: /^Now/ }).click();
  }
  await finish(window);
};

/** Each tab answers what it is opened for, and leads on. */
const lookAround = async () => {
  const window = await open();
  const { page } = window;
  await page.goto(url);
  const tab = async (name) => {
    await page.getByRole("navigation", { name: "Pages" }).getByRole("link", { name }).click();
    await page.getByRole("heading", { name, exact: true }).waitFor();
  };
  const says = (row, ...texts) =>
    until(`${row} with ${texts}`, async () => {
      const text = (await page.locator(row).innerText()).replace(/\s+/g, " ");
      return texts.every((wanted) => wanted.test(text)) || text;
    });
  await tab("Queues");
  await says(`#q-${namespace}-disk`, /0\/10/, /Open probes in (1d|23h)/, /7 of \d+ tasks failed/, /7 no space left on device/);
  await says(`#q-${namespace}-orders`, /1\/4/, /at most 4 at a time/);
  await says(`#q-${namespace}-closed`, /Held/, /nothing starts, as spec\.stopPolicy says/);
  await page.locator(`#q-${namespace}-disk`).getByRole("link", { name: "no space left on device" }).click();
  await until("the failures of that queue", async () => (await rows(page)).map(([count]) => count).join() === "7");
  await tab("Schedules");
  await says(`#s-${namespace}-yearly`, /Scheduled/, /30 2 1 1 \* Europe\/Berlin/, /in \d+d/, /ago/);
  await says(`#s-${namespace}-broken`, /Paused/, /failed/);
  await page.locator(`#s-${namespace}-broken`).getByRole("link", { name: "1", exact: true }).click();
  await until("its run", async () => (await rows(page)).map(([state]) => state).join() === "Failed");
  await tab("Workers");
  await says("#r-operator-0", /Leads/, /busybox/);
  await says("#r-operator-1", /Stands by/);
  const node = page.locator("#list tbody tr", { hasNotText: "no node yet" });
  await node.locator("td[data-label='Attempts now'] a").click();
  await until("what runs there", async () => (await rows(page)).some(([, name]) => name.startsWith("long")));
  await finish(window);
};

/** A command is copied as it is shown; where the browser does not let it, it is marked. */
const copyACommand = async () => {
  for (const permissions of [["clipboard-read", "clipboard-write"], []]) {
    const window = await open();
    const { page, context } = window;
    if (permissions.length === 0) {
      await page.addInitScript(() => (navigator.clipboard.writeText = async () => Promise.reject(new Error("not allowed"))));
    }
    await context.grantPermissions(permissions);
    await page.goto(new URL(`task?namespace=${namespace}&name=long`, url).href);
    const row = page.locator("#command-list li", { hasText: "kubectl describe" });
    const text = await row.locator("code").innerText();
    assert.match(text, new RegExp(`^kubectl describe retryabletask long -n ${namespace}$`));
    await row.getByRole("button", { name: "Copy" }).click();
    if (permissions.length === 0) {
      await row.getByRole("button", { name: "Marked" }).waitFor();
      assert.equal(await page.evaluate(() => `${document.getSelection()}`), text);
    } else {
      await row.getByRole("button", { name: "Copied" }).waitFor();
      assert.equal(await page.evaluate(() => navigator.clipboard.readText()), text);
    }
    await row.getByRole("button", { name: "Copy", exact: true }).waitFor();
    await finish(window);
  }
};

/** Without loading the page again, and with the focus where it was. */
const followATask = async () => {
  const window = await open();
  const { page } = window;
  await page.goto(url);
  const row = page.locator(`#t-${namespace}-gated`);
  await row.getByText("Running").waitFor();
  await row.getByRole("link", { name: "gated" }).focus();
  await page.evaluate(() => (window.isTheSame = true));
  const pod = () => kubectl("get", "pods", "-l", "retryable.dev/task-name=gated", "--field-selector=status.phase=Running", "-o", "name").trim();
  const letGo = async () => {
    await until("the container to run", async () => Boolean(pod()) || "no Pod runs");
    kubectl("exec", pod(), "--", "touch", "/tmp/go");
  };
  await letGo();
  await until("the second attempt in the list", async () => (await row.locator("td").nth(1).innerText()) === "2");
  assert.equal(await page.evaluate(() => document.activeElement.textContent), "gated");
  await row.getByRole("link", { name: "gated" }).click();
  await page.evaluate(() => (window.isTheSame = true));
  await page.locator("#why").getByText("Running").waitFor();
  const before = await page.locator("#why time, #facts time").first().innerText();
  await letGo();
  await page.locator("#why").getByText("Succeeded").first().waitFor();
  await page.locator("#a-2").getByText("Succeeded").waitFor();
  assert.equal(await page.evaluate(() => window.isTheSame), true);
  assert.ok(before);
  await finish(window);
};

await findTheCauses();
await seeWhyItWaits();
await lookAround();
await copyACommand();
await followATask();
await everyPage();
