import { readFile, writeFile } from "node:fs/promises";
import process from "node:process";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { Year } from "./year.ts";

const DAYS = 400;
/** A person changes a plan on this day, in every walk. */
const UPGRADE_DAY = 45;
const GOLDEN = new URL("golden-year.txt", import.meta.url);

/** The days of a walk in steps. */
const every = (step: number) =>
  Array.from({ length: Math.floor(DAYS / step) }, (_, i) => (i + 1) * step).concat(DAYS % step === 0 ? [] : DAYS);

describe.each([
  ["day by day", every(1)],
  ["every third day", every(3)],
  ["in one jump, but for the day on which a person changes a plan", [UPGRADE_DAY, DAYS]],
])("400 days, %s", (_, days) => {
  let year: Year;
  beforeAll(async () => {
    year = await Year.open();
    await year.goTo(0);
    let cleaned = 0;
    for (const day of days) {
      await year.goTo(day);
      if (day === UPGRADE_DAY) await year.upgrade();
      if (day - cleaned >= 30) await year.cleanUp();
      if (day - cleaned >= 30) cleaned = day;
    }
  }, 300_000);
  afterAll(() => year.context.close());

  test("B25: fire every trial end, renewal, invoice, reminder, suspension and payment of the golden list at its instant, once", async () => {
    const lines = await year.lines();
    if (process.env["GOLDEN"] === "write" && days.length === DAYS) await writeFile(GOLDEN, `${lines.join("\n")}\n`);
    expect(lines).toEqual((await readFile(GOLDEN, "utf8")).trimEnd().split("\n"));
  });

  test("B25: fire what is due of each tenant in the order of its instants, each as the act of the program with its audit entry", async () => {
    for (const [id, name] of year.names) {
      const entries = (await year.context.auditOf(id)).filter(({ data }) => data !== undefined) as unknown as Audited[];
      const instants = entries.flatMap(({ data: { effectiveAt } }) => effectiveAt ?? []);
      expect(instants, name).toEqual(instants.toSorted());
      for (const { actor, data } of entries) if (data.effectiveAt !== undefined) expect(actor.type, name).toBe("system");
      expect(await year.context.AuditService.verify(id), name).toMatchObject({ ok: true });
    }
  });

  test("B14: leave invoices that sum, and numbers without a gap in each year", async () => {
    const invoices = (await year.context.dump("invoice")).map(({ value }) => value as unknown as Sums);
    for (const { amount, tax, total, lineItems } of invoices) {
      expect([amount, total]).toEqual([lineItems.reduce((sum, line) => sum + line.amount, 0), amount + tax]);
    }
    for (const at of ["2026", "2027"]) {
      const numbers = invoices.filter(({ number }) => number.startsWith(`INV-${at}`)).map(({ number }) => Number(number.slice(9)));
      expect(numbers.length).toBeGreaterThan(5);
      expect(numbers.sort((a, b) => a - b)).toEqual(Array.from({ length: numbers.length }, (_, i) => i + 1));
    }
  });

  test("B18: leave movements of revenue that sum to the present revenue", async () => {
    const movements = (await year.context.dump("movement")).map(({ value }) => (value as { amount: number }).amount);
    const sum = movements.reduce((total, amount) => total + Math.round(amount * 100), 0) / 100;
    expect(sum).toBe(await year.context.TenantService.calculateTotalMRR());
  });

  test("B25: delete the events that are older than their policy, and keep those of the tenant under legal hold", async () => {
    const policy = 60 * 86_400_000 + 31 * 86_400_000;
    const events = (await year.context.dump("outbox")).map(({ value }) => value as { createdAt: string; tenantId?: string });
    const old = events.filter(({ createdAt }) => Date.parse(createdAt) < year.context.clock.now() - policy);
    expect(old.filter(({ tenantId }) => tenantId !== year.idOf("held"))).toEqual([]);
    expect(events.length).toBeGreaterThan(old.length);
    expect(old.length > 0).toBe(true);
  });
});

interface Audited {
  readonly actor: { readonly type: string };
  readonly data: { readonly effectiveAt?: string };
}

interface Sums {
  readonly number: string;
  readonly amount: number;
  readonly tax: number;
  readonly total: number;
  readonly lineItems: readonly { readonly amount: number }[];
}
