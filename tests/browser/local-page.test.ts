import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { call, cleanUp, startStack, temporaryFolder } from "../local/stack.ts";
import type { Stack } from "../local/stack.ts";
import { noBrowser, useChromium } from "./chromium.ts";
import type { Visit } from "./chromium.ts";

interface Tenant {
  readonly id: string;
  readonly name: string;
  readonly plan: string;
  readonly status: string;
  readonly mrr: number;
}
interface Usage {
  readonly metric: string;
  readonly limit: number | null;
  readonly percentage: number;
}

type Movement = Readonly<Record<"new" | "expansion" | "contraction" | "churn" | "reactivation" | "ending", number>>;
interface Numbers {
  readonly revenue: { readonly movements: readonly Movement[] };
  readonly signUps: { readonly days: readonly { readonly tenants: number }[] };
  readonly tenants: { readonly byPlan: readonly unknown[] };
  readonly nearLimits: { readonly highest: readonly unknown[] };
}

const chromium = useChromium();
let stack: Stack;
let empty: Stack;

beforeAll(async () => {
  if (noBrowser !== null) return;
  stack = await startStack(join(await temporaryFolder(), "data"), ["--ephemeral"]);
  empty = await startStack(join(await temporaryFolder(), "data"), ["--ephemeral", "--seed", "none", "--webhook-echo"]);
});
afterAll(cleanUp);

async function read<T>(of: Stack, path: string): Promise<T> {
  return (await call(of.info, "GET", path)).body as T;
}

/** Opens the page and waits for the tenants. */
async function openPage(options: Parameters<typeof chromium.visit>[1] = {}): Promise<Visit> {
  const visit = await chromium.visit(stack.info.url, options);
  await visit.page.locator("[data-tenant]").first().waitFor();
  return visit;
}

/** The elements whose text has a contrast below 4.5 (WCAG 2.2) with its background. */
function lowContrast(page: Visit["page"]): Promise<string[]> {
  return page.evaluate(() => {
    const numbers = (colour: string) => (colour.match(/[\d.]+/g) ?? []).map(Number);
    const luminance = (colour: string) => {
      const [r = 0, g = 0, b = 0] = numbers(colour).map((c) => c / 255 <= 0.04045 ? c / 255 / 12.92 : ((c / 255 + 0.055) / 1.055) ** 2.4);
      return 0.2126 * r + 0.7152 * g + 0.0722 * b;
    };
    const behind = (element: Element | null): string => {
      const colour = element ? getComputedStyle(element).backgroundColor : "rgb(255, 255, 255)";
      return element && numbers(colour)[3] === 0 ? behind(element.parentElement) : colour;
    };
    const withText = [...document.querySelectorAll<HTMLElement>("body *")].filter((element) =>
      element.checkVisibility() && [...element.childNodes].some((node) => node.nodeType === 3 && (node.textContent ?? "").trim() !== "")
    );
    return withText.flatMap((element) => {
      const [light = 0, dark = 0] = [luminance(getComputedStyle(element).color), luminance(behind(element))].sort((a, b) => b - a);
      const ratio = (light + 0.05) / (dark + 0.05);
      return ratio < 4.5 ? [`${element.tagName} "${element.textContent}" ${ratio.toFixed(2)}`] : [];
    });
  });
}

describe.skipIf(noBrowser !== null)("the page of the local stack", () => {
  test("O10: shows every job with its last and next run", async () => {
    const { page, complaints } = await openPage();
    const { data } = await read<{ readonly data: readonly { readonly name: string }[] }>(stack, "/v1/jobs");
    await page.locator("[data-job]").first().waitFor();
    expect(await page.locator("[data-job]").evaluateAll((items) => items.map((item) => item.getAttribute("data-job")))).toEqual(
      data.map(({ name }) => name),
    );
    expect(await page.locator("[data-job]").first().innerText()).toMatch(/(never ran|ran \d)[^]*(next \d|running)/);
    expect(complaints).toEqual([]);
  });

  test("N02: shows the newest notifications of a tenant, and the number of unread ones", async () => {
    const { page, complaints } = await openPage();
    await page.locator("#notifications-unread", { hasText: /\d+ unread/ }).waitFor();
    const path = (await page.locator("#notifications-call").innerText()).replace("GET ", "");
    const { data } = await read<{ readonly data: readonly { readonly id: string }[] }>(stack, path);
    const shown = await page.locator("[data-notification]").evaluateAll((items) =>
      items.map((each) => each.getAttribute("data-notification"))
    );
    expect(shown).toEqual(data.map(({ id }) => id));
    expect(complaints).toEqual([]);
  });

  test("C06: counts what the deletion of a tenant would remove and keep, and changes nothing", async () => {
    const { page, complaints } = await openPage();
    await page.locator("#deletion-preview").click();
    await page.locator("#deletion-result", { hasText: /^\d+ records would be deleted and \d+ kept\. Nothing was changed\.$/ }).waitFor();
    const id = await page.locator("#deletion-tenant").inputValue();
    const { records } = await read<{ readonly records: readonly { readonly entity: string }[] }>(
      stack,
      `/v1/tenants/${id}/deletion-preview`,
    );
    const shown = await page.locator("[data-kind]").evaluateAll((items) => items.map((item) => item.getAttribute("data-kind")));
    expect(shown).toEqual(records.map(({ entity }) => entity));
    expect(complaints).toEqual([]);
  });

  test("W09, W22: shows the last events, and the last deliveries to webhooks with their outcome", async () => {
    const { page, complaints } = await chromium.visit(empty.info.url);
    const sent = page.locator("[data-delivery]", { hasText: "success" });
    await expect.poll(async () => {
      await page.locator("#refresh").click();
      return await sent.count();
    }, { timeout: 30_000 }).toBeGreaterThan(0);
    // A job can make an event between the two reads.
    await expect.poll(async () => {
      await page.locator("#refresh").click();
      const { data } = await read<{ readonly data: readonly { readonly id: string; readonly type: string }[] }>(empty, "/v1/events");
      const shown = await page.locator("[data-event]").evaluateAll((items) => items.map((item) => item.getAttribute("data-event")));
      const first = await page.locator("[data-event]").first().innerText();
      return shown.join() === data.slice(-8).reverse().map(({ id }) => id).join() && first.includes(data.at(-1)?.type ?? "none");
    }, { timeout: 30_000 }).toBe(true);
    expect(await sent.first().innerText()).toMatch(/npm start -- --webhook-echo[^]*1 attempt, status 204 in \d+ ms/);
    expect(complaints).toEqual([]);
  });

  test("O01: a refresh before the tokens have arrived waits for them", async () => {
    const { page, complaints } = await openPage();
    const waiting: (() => Promise<void>)[] = [];
    await page.route("**/local/tokens", (route) => void waiting.push(() => route.continue()));
    await page.reload({ waitUntil: "domcontentloaded" });
    await expect.poll(() => waiting.length).toBe(1);
    await page.locator("#refresh").click();
    await waiting[0]?.();
    await page.locator("[data-tenant]").first().waitFor();
    expect(complaints).toEqual([]);
  });

  test("O01: shows the migration, and every tenant with plan, status, revenue and a bar for each metric with a limit", async () => {
    const { page, complaints, hosts } = await openPage();
    const { data } = await read<{ readonly data: readonly Tenant[] }>(stack, "/v1/tenants?limit=100");
    expect(data).toHaveLength(12);
    expect(await page.locator("[data-tenant]").count()).toBe(12);
    const { migration } = await read<{ readonly migration: string }>(stack, "/ready");
    expect(await page.locator("#store").textContent()).toContain(migration);
    const totalMrr = data.filter(({ status }) => ["active", "trial"].includes(status)).reduce((sum, { mrr }) => sum + mrr, 0);
    const revenue = page.locator("#figures div", { hasText: "Monthly revenue, active and trial" });
    expect(await revenue.locator("dd").textContent()).toBe(`$${totalMrr.toLocaleString("en")}`);
    for (const { id, name, plan, status, mrr } of data) {
      const item = page.locator(`[data-tenant="${id}"]`);
      const text = await item.textContent();
      expect(text).toContain(name);
      expect(text).toContain(`$${mrr.toLocaleString("en")} a month`);
      expect(await item.locator(".plan dd").textContent()).toBe(plan);
      expect(await item.locator(".status").textContent()).toBe(status);
      const { data: usage } = await read<{ readonly data: readonly Usage[] }>(stack, `/v1/tenants/${id}/usage`);
      expect(await item.locator("[data-metric]").evaluateAll((all) => all.map((one) => one.getAttribute("data-metric"))))
        .toEqual(usage.map(({ metric }) => metric));
      const shown = await item.getByRole("meter").evaluateAll((all) =>
        all.map((one) => [Number(one.getAttribute("aria-valuenow")), one.querySelector("span")?.style.width])
      );
      expect(shown).toEqual(usage.filter(({ limit }) => limit !== null).map(({ percentage }) => [percentage, `${percentage}%`]));
    }
    expect(complaints).toEqual([]);
    expect([...hosts]).toEqual([new URL(stack.info.url).host]);
  });

  test("U01: shows the unit of each amount, which metrics are monthly, and which are over their limit", async () => {
    const metric = { id: "compute", name: "Machine time", unit: "hours", kind: "counter" };
    await call(stack.info, "POST", "/v1/metrics", metric);
    const { data: [tenant] } = await read<{ readonly data: readonly Tenant[] }>(stack, "/v1/tenants?search=Fjordview");
    const path = `/v1/tenants/${tenant?.id}/usage`;
    await expect.poll(async () => (await call(stack.info, "POST", `${path}/compute/increment`, { amount: 12_345 })).status, {
      timeout: 20_000,
    })
      .toBe(200);
    await call(stack.info, "PUT", `${path}/storage`, { value: 5 * 2 ** 29 });
    await call(stack.info, "PUT", `${path}/rooms`, { value: 61 });
    const { page } = await openPage();
    const meter = (id: string) => page.locator(`[data-tenant="${tenant?.id}"] [data-metric="${id}"]`);
    expect(await meter("compute").textContent()).toBe("Machine time this month12.3 k hours, no limit");
    expect(await meter("storage").textContent()).toBe("Storage2.5 GiB of 10 GiB · 25%");
    expect(await meter("storage").getAttribute("title")).toBe("2,684,354,560 of 10,737,418,240 bytes");
    expect(await meter("rooms").textContent()).toBe("Rooms61 of 60 · over the limit");
    expect(await meter("rooms").getAttribute("data-level")).toBe("over");
    expect(await meter("bookings").textContent()).toMatch(/^Bookings this month[\d,]+ of 1,000 · \d+%$/);
    expect(await meter("bookings").getAttribute("title")).toMatch(/ of 1,000 bookings; resets to 0 on \w+ 1, \d{4}$/);
  });

  test("B18: draws the dashboard from its numbers, with a text for every chart and the numbers behind it", async () => {
    const { page, complaints, hosts } = await openPage();
    await page.locator("[data-chart]").first().waitFor();
    const shown = await read<Numbers>(stack, "/v1/dashboard");
    const bars = (chart: string, series: string) => page.locator(`[data-chart="${chart}"] [data-series="${series}"]`).count();
    for (const kind of ["new", "expansion", "contraction", "churn", "reactivation"] as const) {
      expect([kind, await bars("revenue", kind)]).toEqual([kind, shown.revenue.movements.filter((month) => month[kind] !== 0).length]);
    }
    expect(await bars("sign-ups", "new")).toBe(shown.signUps.days.filter(({ tenants }) => tenants > 0).length);
    expect(await bars("tenants", "plan")).toBe(shown.tenants.byPlan.length);
    expect(await bars("near-limits", "over") + await bars("near-limits", "high")).toBe(shown.nearLimits.highest.length);
    // The height of the bars of one kind is proportional to their amounts.
    const gains = shown.revenue.movements.map((month) => month.new).filter((amount) => amount > 0);
    const heights = await page.locator('[data-chart="revenue"] [data-series="new"]').evaluateAll((all) =>
      all.map((one) => one.getAttribute("height"))
    );
    const scale = heights.map((height, i) => Number(height) / (gains[i] ?? 1));
    for (const one of scale) expect(one / (scale[0] ?? 1)).toBeCloseTo(1, 1);
    for (const chart of await page.locator("[data-chart] svg").all()) {
      const [title, description] = ((await chart.getAttribute("aria-labelledby")) ?? "").split(" ");
      expect(await chart.locator(`#${title}`).textContent()).not.toBe("");
      expect(await chart.locator(`#${description}`).textContent()).not.toBe("");
    }
    const table = page.locator('[data-chart="revenue"] details');
    await table.locator("summary").click();
    expect(await table.locator("tbody tr").count()).toBe(12);
    const last = shown.revenue.movements.at(-1)?.ending ?? 0;
    expect(await table.locator("tbody tr").last().locator("td").last().textContent()).toBe(`$${last.toLocaleString("en")}`);
    expect(complaints).toEqual([]);
    expect([...hosts]).toEqual([new URL(stack.info.url).host]);
  });

  test("B18: draws the charts for the width of the window, also after it changes", async () => {
    const { page, overflows } = await openPage({ viewport: { width: 1_100, height: 700 } });
    const widths = () =>
      page.locator("[data-chart] svg").evaluateAll((all) => (
        all.map((one) => Math.abs(Number(one.getAttribute("viewBox")?.split(" ")[2]) - one.getBoundingClientRect().width))
      ));
    await expect.poll(async () => Math.max(...await widths())).toBeLessThan(2);
    await page.setViewportSize({ width: 400, height: 700 });
    await expect.poll(async () => Math.max(...await widths())).toBeLessThan(2);
    expect(await overflows()).toBe(false);
  });

  test.each([320, 1_100])("B18: shows exact counts up to 100, and no text over another at %i pixels", async (width) => {
    const shown = await read<Numbers>(stack, "/v1/dashboard");
    const { page, overflows } = await chromium.visit("about:blank", { viewport: { width, height: 700 } });
    const long = { id: "tn_long", name: `${"W".repeat(99)}<b>`, plan: "Basic", usagePercent: 96 };
    const changed = {
      ...shown,
      nearLimits: { fromPercent: 80, tenants: 64, highest: [long] },
      openAlerts: 100,
      pastDueSubscriptions: 99,
    };
    await page.route("**/v1/dashboard*", (route) => route.fulfill({ json: changed }));
    await page.goto(stack.info.url);
    const chart = page.locator('[data-chart="near-limits"]');
    await chart.waitFor();
    expect(await chart.locator("h3").textContent()).toBe("Near a limit: 64 at 80 % or more");
    expect(await chart.locator("p").textContent()).toBe("100 or more open usage alerts, 99 subscriptions past due.");
    const covered = await page.locator("[data-chart] svg").evaluateAll((all) =>
      all.flatMap((one) => {
        const texts = [...one.querySelectorAll("text")].map((text) => ({
          said: text.textContent,
          ...text.getBoundingClientRect().toJSON(),
        }));
        return texts.flatMap((a, i) =>
          texts.slice(i + 1).filter((b) => a.left < b.right && b.left < a.right && Math.abs(a.top - b.top) < 4).map((b) => [a.said, b.said])
        );
      })
    );
    expect(covered).toEqual([]);
    expect(await overflows()).toBe(false);
  });

  test("O01: refreshes while it is open", async () => {
    const { page } = await openPage();
    await page.clock.install();
    await page.reload();
    await page.locator("[data-tenant]").first().waitFor();
    const given = { name: "The Lighthouse", subdomain: "lighthouse", plan: "Basic", owner: "lou@lighthouse.example", ownerName: "Lou" };
    const { body } = await call(stack.info, "POST", "/v1/tenants", given);
    const { id } = body as Tenant;
    await page.clock.runFor(10_000);
    await page.getByRole("button", { name: "Show more" }).click();
    await expect.poll(() => page.locator("[data-tenant]").count()).toBe(13);
    await call(stack.info, "DELETE", `/v1/tenants/${id}`);
    await page.clock.runFor(10_000);
    await page.locator(`[data-tenant="${id}"]`).waitFor({ state: "detached" });
  });

  test("O01: searches and filters, and says when nothing matches", async () => {
    const { page } = await openPage();
    await page.getByRole("combobox", { name: "Status" }).selectOption("suspended");
    await expect.poll(() => page.locator("[data-tenant] h3").allTextContents()).toEqual(["Kestrel Airport Hotel"]);
    expect(await page.locator("#call").textContent()).toContain("status=suspended");
    await page.getByLabel("Search").fill("no such hotel");
    await page.getByText("No tenant matches").waitFor();
  });

  test("O01: copies a token of every role, which GET /v1/me confirms", async () => {
    const { page } = await openPage({ permissions: ["clipboard-read", "clipboard-write"] });
    const roles = async (list: string) =>
      await page.locator(`#${list} [data-role]`).evaluateAll((all) => all.map((one) => one.getAttribute("data-role")));
    expect(await roles("platform-tokens")).toEqual(["super_admin", "admin", "support", "read_only"]);
    expect(await roles("tenant-tokens")).toEqual(["owner", "admin", "staff", "viewer"]);
    const { data: [other] } = await read<{ readonly data: readonly Tenant[] }>(stack, "/v1/tenants?search=Hanami");
    const before = await page.locator("#tenant-tokens input").first().inputValue();
    await page.locator("#token-tenant").selectOption(other?.id ?? "");
    await expect.poll(() => page.locator("#tenant-tokens input").first().inputValue()).not.toBe(before);
    for (const item of await page.locator("[data-role]").all()) {
      await item.getByRole("button").click();
      const token = await page.evaluate(() => navigator.clipboard.readText());
      const answer = await fetch(`${stack.info.url}/v1/me`, { headers: { authorization: `Bearer ${token}` } });
      const isTenant = await item.locator("xpath=ancestor::*[@id='tenant-tokens']").count() === 1;
      expect(await answer.json()).toMatchObject({ role: await item.getAttribute("data-role"), tenantId: isTenant ? other?.id : null });
    }
  });

  test.each([320, 360, 768])("O01: does not scroll sideways at %i pixels", async (width) => {
    const { page, overflows } = await openPage({ viewport: { width, height: 700 } });
    // The choice of a tenant is as wide as the longest name allows.
    const choice = page.locator("#token-tenant");
    await choice.selectOption({ index: 1 });
    const narrow = (await choice.boundingBox())?.width ?? 0;
    await choice.evaluate((select: HTMLSelectElement) => select.add(new Option("W".repeat(99))));
    await expect.poll(async () => (await choice.boundingBox())?.width ?? 0).toBeGreaterThan(narrow);
    expect(await overflows()).toBe(false);
  });

  test.each(["light", "dark"] as const)("O01: has a contrast of at least 4.5 in the %s scheme", async (colorScheme) => {
    const { page } = await openPage({ colorScheme });
    expect(await lowContrast(page)).toEqual([]);
  });

  test("O01: shows the API's error with the request id when a call fails, and keeps the earlier data", async () => {
    const { page } = await openPage();
    const problem = { detail: "the database does not answer", requestId: "req_1" };
    for (const path of ["**/ready", "**/v1/**"]) {
      await page.route(
        path,
        (route) => route.fulfill({ status: 503, contentType: "application/problem+json", body: JSON.stringify(problem) }),
      );
    }
    await page.getByRole("button", { name: "Refresh" }).click();
    await expect.poll(() => page.getByRole("alert").allTextContents()).toContain("the database does not answerRequest req_1");
    expect(await page.locator("#store").textContent()).toContain("Not ready: the database does not answer");
    expect(await page.locator("[data-tenant]").count()).toBe(12);
    await page.unroute("**/ready");
    await page.unroute("**/v1/**");
    await page.getByRole("button", { name: "Refresh" }).click();
    await expect.poll(() => page.locator("#problem").textContent()).toBe("");
  });

  test("O01: says that there are no tenants on an empty platform, and shows the platform tokens", async () => {
    const { page, complaints } = await chromium.visit(empty.info.url);
    await page.getByText("There are no tenants yet").waitFor();
    expect(await page.locator("#platform-tokens [data-role]").count()).toBe(4);
    expect(await page.locator("#tenant-tokens").textContent()).toContain("no tenant yet");
    expect(complaints).toEqual([]);
  });

  test("O01: does not fill the terminal with its own requests; other requests are shown", async () => {
    await openPage();
    const requestId = `seen-${Date.now()}`;
    await fetch(`${stack.info.url}/v1/tenants`, { headers: { "x-request-id": requestId } });
    await expect.poll(() => stack.output()).toContain(requestId);
    expect(stack.output()).not.toContain("local-page.");
  });
});
