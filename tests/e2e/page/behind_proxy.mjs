// Through `kubectl proxy`, where the page is many levels below the root: links, the form to log in, and changes.

import assert from "node:assert/strict";
import { check, finish, kubectl, open, rows, until, url } from "./browser.mjs";

const window = await open();
const { page, faults } = window;
await page.goto(url);
await page.getByLabel("Bearer token of the cluster").fill(process.env.PAGE_READER);
await page.getByRole("button", { name: "Log in" }).click();
await until("the task", async () => (await rows(page)).length === 1);
// The page of another cluster behind another proxy of this machine has a cookie of another name; another page of this cluster has one of
// another path.
const [cookie] = await window.context.cookies();
assert.equal(cookie.name, `retryable-tasks-session-${process.env.PAGE_SERVER.replace(":", "_")}`);
assert.equal(`${cookie.path}/`, new URL(url).pathname);
// Asked for without a token.
faults.splice(0, faults.length, ...faults.filter((fault) => !fault.includes("401")));
for (const tab of ["Errors", "Failed", "Queues", "Schedules", "Workers", "Now"]) {
  await page.getByRole("link", { name: tab }).click();
  await page.getByRole("heading", { name: tab, exact: true }).waitFor();
  assert.ok(page.url().startsWith(url), page.url());
}
await check(page, "", "proxy-now");
await page.evaluate(() => (window.isTheSame = true));
kubectl("delete", "retryabletask", "mine");
await page.getByText("Nothing runs, waits or is queued").waitFor();
assert.equal(await page.evaluate(() => window.isTheSame), true);
await finish(window);
