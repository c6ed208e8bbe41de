import { readFile } from "node:fs/promises";
import { createServer } from "node:http";
import type { Server } from "node:http";
import type { AddressInfo } from "node:net";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { ROOT } from "../architecture/sources.ts";
import { call, cleanUp, startStack, temporaryFolder } from "../local/stack.ts";
import type { Stack } from "../local/stack.ts";
import { noBrowser, useChromium } from "./chromium.ts";

/** Serves docs/example.html on another port, as a frontend's server would. */
const chromium = useChromium();
let stack: Stack;
let server: Server;
let address: string;

beforeAll(async () => {
  if (noBrowser !== null) return;
  stack = await startStack(join(await temporaryFolder(), "data"), ["--ephemeral"]);
  const page = await readFile(join(ROOT, "docs/example.html"));
  server = createServer((request, response) => {
    response.statusCode = request.url === "/favicon.ico" ? 204 : 200;
    response.setHeader("content-type", "text/html; charset=utf-8").end(response.statusCode === 204 ? undefined : page);
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  address = `http://localhost:${(server.address() as AddressInfo).port}/example.html?api=${stack.info.url}`;
});
afterAll(async () => {
  server?.close();
  await cleanUp();
});

async function signIn(token: string | null, options: Parameters<typeof chromium.visit>[1] = {}) {
  const visit = await chromium.visit(address, options);
  await visit.page.getByLabel("Access token").fill(token ?? "");
  await visit.page.getByRole("button", { name: "Connect" }).click();
  return visit;
}

const names = (total: number) => Array.from({ length: total }, (_, i) => i);

describe.skipIf(noBrowser !== null)("a frontend on another origin", () => {
  test("H21: signs in with a locally signed token and reads the list to its end, page by page", async () => {
    const { page, complaints } = await signIn(stack.info.tokens.superAdmin);
    await page.getByText("You are super_admin").waitFor();
    const rows = page.locator("#rows tr td:first-child");
    await expect.poll(() => page.locator("#count").textContent()).toBe("12 tenants");
    const read: string[] = [];
    for (const i of names(3)) {
      const expected = i < 2 ? 5 : 2;
      await expect.poll(async () => [await rows.count(), read.includes(await rows.first().textContent() ?? "")]).toEqual([expected, false]);
      read.push(...await rows.allTextContents());
      if (i < 2) await page.getByRole("button", { name: "Next page" }).click();
    }
    expect(new Set(read).size).toBe(12);
    await page.getByRole("button", { name: "Next page" }).waitFor({ state: "hidden" });
    expect(complaints).toEqual([]);
  });

  test("H01: shows the message of each invalid field beside the field, and any other problem with the request id", async () => {
    const { page } = await signIn(stack.info.tokens.superAdmin);
    const form = page.locator("#create");
    await form.getByLabel("Plan").locator("option").first().waitFor({ state: "attached" });
    await form.getByLabel("Subdomain").fill("-no-");
    await form.getByRole("button").click();
    await expect.poll(() => form.locator(".field-error").count()).toBe(4);
    expect(await form.getByLabel("Subdomain").getAttribute("aria-describedby")).toBe("error-subdomain");
    expect(await page.locator("#problem").textContent()).toBe("");

    await page.getByLabel("Access token").fill("not.a.token");
    await page.getByRole("button", { name: "Connect" }).click();
    await expect.poll(() => page.getByRole("alert").textContent()).toMatch(/ \(request req_\w+\)$/);
  });

  test("H05: saves a change of the version it showed, or shows the newer version if there is one", async () => {
    const { page } = await signIn(stack.info.tokens.superAdmin);
    await page.getByRole("button", { name: "Rename Casa Coral" }).click();
    const form = page.locator("#rename");
    const { body } = await call(stack.info, "GET", "/v1/tenants?search=Casa") as {
      readonly body: { readonly data: { readonly id: string }[] };
    };
    const path = `/v1/tenants/${body.data[0]?.id}`;
    await expect.poll(() => form.getByLabel("New name").inputValue()).toBe("Casa Coral");
    await call(stack.info, "PATCH", path, { name: "Casa Nueva" });
    await form.getByLabel("New name").fill("Casa Azul");
    await form.getByRole("button").click();
    await page.getByText("Somebody else has changed this tenant").waitFor();
    expect(await form.getByLabel("New name").inputValue()).toBe("Casa Nueva");
    expect(await call(stack.info, "GET", path)).toMatchObject({ body: { name: "Casa Nueva" } });
    await form.getByLabel("New name").fill("Casa Azul");
    await form.getByRole("button").click();
    await page.getByText("Saved.").waitFor();
    expect(await call(stack.info, "GET", path)).toMatchObject({ body: { name: "Casa Azul" } });
  });

  test("H21: creates a tenant with a header that requires a preflight", async () => {
    const { page, complaints } = await signIn(stack.info.tokens.superAdmin);
    const form = page.locator("#create");
    await form.getByLabel("Name", { exact: true }).fill("The Lighthouse");
    await form.getByLabel("Subdomain").fill("lighthouse");
    await form.getByLabel("Plan").selectOption("Basic");
    await form.getByLabel("Owner's email").fill("lou@lighthouse.example");
    await form.getByLabel("Owner's name").fill("Lou Keeper");
    const [request] = await Promise.all([
      page.waitForRequest((one) => one.method() === "POST"),
      form.getByRole("button").click(),
    ]);
    expect(request.headers()["idempotency-key"]).toMatch(/^[\w-]{36}$/);
    await page.getByText("The Lighthouse is active.").waitFor();
    expect(complaints).toEqual([]);
  });

  test("R05: shows a tenant's viewer only its own tenant and no form to create one", async () => {
    const { page, overflows } = await signIn(stack.info.tokens.tenantViewer, { viewport: { width: 360, height: 700 } });
    await page.getByText("You are viewer of Hotel Aurora").waitFor();
    await expect.poll(() => page.locator("#rows tr").count()).toBe(1);
    expect(await page.locator("#create").isVisible()).toBe(false);
    expect(await overflows()).toBe(false);
  });
});
