import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { cleanUp, startStack, temporaryFolder } from "../local/stack.ts";
import type { Stack } from "../local/stack.ts";
import { noBrowser, useChromium } from "./chromium.ts";

const chromium = useChromium();
const PHONE = { width: 360, height: 700 };
let stack: Stack;

beforeAll(async () => {
  if (noBrowser === null) stack = await startStack(join(await temporaryFolder(), "data"), ["--ephemeral"]);
});
afterAll(cleanUp);

/** Opens the reference and waits for its operations. */
async function openReference(options: Parameters<typeof chromium.visit>[1] = {}) {
  const visit = await chromium.visit(`${stack.info.url}/docs`, options);
  await visit.page.locator(".opblock").first().waitFor();
  return visit;
}

describe.skipIf(noBrowser !== null)("the API reference of the local stack", () => {
  // One page, because drawing all operations takes seconds.
  test("H28: shows every operation of openapi.json, sends a call with the chosen role, and calls no other host", async () => {
    const { page, complaints, hosts, overflows } = await openReference({ colorScheme: "light" });
    const document = await (await fetch(`${stack.info.url}/openapi.json`)).json() as {
      readonly paths: Record<string, object>;
      readonly webhooks: Record<string, object>;
    };
    const operations = [...Object.values(document.paths), ...Object.values(document.webhooks)].flatMap((path) => Object.keys(path));
    expect(operations.length).toBeGreaterThan(20);
    expect(await page.locator(".opblock").count()).toBe(operations.length);
    const operation = page.locator("[id$='-getMe']");
    await operation.locator(".opblock-summary-control").click();
    const results = operation.locator(".live-responses-table");
    const tried = async (role: string) => {
      await operation.locator("button.execute").click();
      await results.locator("pre", { hasText: `"role": "${role}"` }).waitFor();
      return (await results.locator("td.response-col_status:not(.col_header)").textContent())?.trim();
    };
    expect(await tried("super_admin")).toBe("200");
    await page.getByLabel("Send calls with the role").selectOption({ label: "tenant viewer" });
    expect(await tried("viewer")).toBe("200");
    expect([...hosts]).toEqual([new URL(stack.info.url).host]);
    expect(complaints).toEqual([]);
    await page.setViewportSize(PHONE);
    expect(await overflows()).toBe(false);
    expect(await page.locator("html.dark-mode").count()).toBe(0);
  });

  test("H28: does not scroll sideways on a phone, and follows the dark scheme", async () => {
    const { page, overflows } = await openReference({ viewport: PHONE, colorScheme: "dark" });
    expect(await overflows()).toBe(false);
    expect(await page.locator("html.dark-mode").count()).toBe(1);
  });
});
