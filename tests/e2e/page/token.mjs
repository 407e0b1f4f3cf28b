// Who may see what: nothing without a token, and with one the namespaces in which its owner may list tasks.

import assert from "node:assert/strict";
import { check, finish, kubectl, open, rows, until, url } from "./browser.mjs";

const { PAGE_READER: reader, PAGE_STRANGER: stranger, PAGE_OTHER: other, PAGE_SECOND: second } = process.env;
const isRefused = (fault) => /401|503/.test(fault);

const logIn = async (page, token) => {
  await page.getByLabel("Bearer token of the cluster").fill(token);
  await page.getByRole("button", { name: "Log in" }).click();
};

const window = await open();
const { page, context, faults } = window;
await page.goto(new URL("tasks?q=mi", url).href);
await page.getByRole("heading", { name: "Log in" }).waitFor();
await logIn(page, "nonsense");
await page.getByRole("alert").getByText("does not accept this token").waitFor();

await logIn(page, reader);
await until("the one task", async () => (await rows(page)).length === 1);
assert.match(page.url(), /\/tasks\?q=mi$/);
assert.equal(await page.getByRole("link", { name: "mine" }).count(), 1);
const html = await page.content();
assert.ok(!html.includes("secret") && !html.includes(other), "of other namespaces nothing is told");
await page.goto(new URL(`task?namespace=${other}&name=secret`, url).href);
await page.getByText("There is no task of this name, or you may not see it").waitFor();
const [cookie] = await context.cookies();
assert.deepEqual([cookie.httpOnly, cookie.sameSite, cookie.value.includes(reader)], [true, "Lax", false]);
// Cookies go to all ports of a host: who logs in to the page of another cluster stays logged in to this one.
await page.goto(second);
await page.getByRole("heading", { name: "Log in" }).waitFor();
await logIn(page, reader);
await page.getByRole("link", { name: "mine" }).waitFor();
await page.goto(new URL("tasks?q=mi", url).href);
await page.getByRole("link", { name: "mine" }).waitFor();
faults.splice(0, faults.length, ...faults.filter((fault) => !/401|404/.test(fault)));
await check(page, "", "token-now");
await page.getByRole("button", { name: "Log out" }).click();
await page.getByRole("heading", { name: "Log in" }).waitFor();

await logIn(page, stranger);
await page.getByText("You may list RetryableTasks in none of the namespaces").waitFor();
assert.equal((await rows(page)).length, 0);
await page.getByRole("button", { name: "Log out" }).click();

// The token ends while somebody looks: the page asks for another, by itself.
await page.getByRole("heading", { name: "Log in" }).waitFor();
await logIn(page, reader);
await page.getByRole("link", { name: "mine" }).waitFor();
kubectl("delete", "serviceaccount", "reader");
await page.getByRole("alert").getByText("it has expired").waitFor();
faults.splice(0, faults.length, ...faults.filter((fault) => !isRefused(fault)));
await finish(window);
