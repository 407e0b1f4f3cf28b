// The API server goes away while somebody looks, and comes back.

import assert from "node:assert/strict";
import { rmSync, writeFileSync } from "node:fs";
import { finish, kubectl, open, rows, until, url } from "./browser.mjs";

const flag = process.env.PAGE_AWAY;
const window = await open();
const { page } = window;
await page.goto(url);
await until("the task", async () => (await rows(page)).some(([, name]) => name.startsWith("known")));
await page.evaluate(() => (window.isTheSame = true));
writeFileSync(flag, "");
try {
  const notice = page.getByText("The API server has not answered since");
  await notice.waitFor();
  assert.ok((await rows(page)).some(([, name]) => name.startsWith("known")), "what was known is still there");
  rmSync(flag);
  await notice.waitFor({ state: "detached" });
} finally {
  rmSync(flag, { force: true });
}
kubectl("delete", "retryabletask", "known");
await until("the change after it", async () => (await rows(page)).length === 0);
assert.equal(await page.evaluate(() => window.isTheSame), true);
await finish(window);
