import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { codeOf } from "../../support/store.ts";
import { openTestContext } from "../../support/test-context.ts";

let context: Awaited<ReturnType<typeof openTestContext>>;
beforeAll(async () => void (context = await openTestContext()));
afterAll(() => context.close());

const correctionsOf = async (tenantId: string) => (await context.auditOf(tenantId)).filter(({ action }) => action === "usage.corrected");

describe("a correction of a counter", () => {
  it("U04: a counter that is set is audited with what it was and what it became", async () => {
    const { id } = await context.tenant();
    await context.UsageService.increment(id, "bookings", 40);
    expect(await context.UsageService.record(id, "bookings", 15)).toMatchObject({ current: 15, daily: { "2026-03-01": 15 } });
    expect(await correctionsOf(id)).toMatchObject([{
      resource: "usage-record",
      resourceId: `usage:${id}:bookings:2026-03`,
      actor: { type: "admin", id: "admin-1" },
      changes: { before: { current: 40 }, after: { current: 15 } },
    }]);
  });

  it("U04: a negative increment of a counter is audited too, and one below zero changes and logs nothing", async () => {
    const { id } = await context.tenant();
    await context.UsageService.increment(id, "api_calls", 10);
    expect(await context.UsageService.increment(id, "api_calls", -4)).toMatchObject({ current: 6 });
    await expect(context.UsageService.increment(id, "api_calls", -7)).rejects.toMatchObject({
      code: "usage_below_zero",
      status: 409,
      message: "The usage of api_calls is less than 7, and usage cannot be negative. Nothing was changed.",
    });
    expect((await context.UsageService.get(id, "api_calls"))?.current).toBe(6);
    expect((await correctionsOf(id)).map(({ changes }) => changes)).toMatchObject([{ before: { current: 10 }, after: { current: 6 } }]);
  });

  it("U04: one that changes nothing is not audited, and one in a month without a record creates it", async () => {
    const { id } = await context.tenant();
    await context.UsageService.increment(id, "bookings", 3);
    expect((await context.UsageService.record(id, "bookings", 3)).current).toBe(3);
    expect(await correctionsOf(id)).toEqual([]);
    expect(await context.UsageService.record(id, "bookings", 7, undefined, "2025-12")).toMatchObject({ current: 7, limit: 10_000 });
    expect(await correctionsOf(id)).toHaveLength(1);
    expect(await codeOf(context.UsageService.record("tn_none", "bookings", 7))).toBe("not_found");
  });

  it("U04: succeeds while 4 processes count, and what they add is neither lost nor doubled", async () => {
    const stores = await context.racers(4);
    const { id } = await context.tenant();
    await context.UsageService.increment(id, "bookings", 10_000);
    let taken = 0;
    await Promise.all([
      ...stores.map(async (store) => {
        for (let i = 0; i < 60; i++) await context.over(store).UsageService.increment(id, "bookings", 1);
      }),
      (async () => {
        for (let i = 0; i < 10; i++) {
          const code = await codeOf(context.UsageService.increment(id, "bookings", -100));
          expect(["write_conflict", "no error"].some((known) => code.startsWith(known)), code).toBe(true);
          if (code !== "write_conflict") taken += 100;
        }
      })(),
    ]);
    expect(taken).toBeGreaterThan(0);
    expect((await context.UsageService.get(id, "bookings"))?.current).toBe(10_000 + 240 - taken);
    expect(await correctionsOf(id)).toHaveLength(taken / 100);
  });

  it("U08: with an idempotency key it is made once", async () => {
    const { id } = await context.tenant();
    await context.UsageService.increment(id, "bookings", 9);
    const send = () => context.UsageService.increment(id, "bookings", -4, undefined, undefined, { idempotencyKey: "refund-1" });
    expect([(await send()).current, (await send()).current]).toEqual([5, 5]);
    expect(await correctionsOf(id)).toHaveLength(1);
  });
});

describe("a negative increment of a gauge", () => {
  it("U04: is metering, not audited, and never goes below zero", async () => {
    const { id } = await context.tenant();
    await context.UsageService.record(id, "rooms", 5);
    expect((await context.UsageService.increment(id, "rooms", -2)).current).toBe(3);
    await expect(context.UsageService.increment(id, "rooms", -4)).rejects.toMatchObject({
      code: "usage_below_zero",
    });
    expect(await codeOf(context.UsageService.increment(id, "rooms", -4, undefined, "2026-04"))).toBe("usage_below_zero");
    expect(await context.UsageService.increment(id, "rooms", -1, undefined, "2026-04")).toMatchObject({ current: 2 });
    expect((await context.UsageService.get(id, "rooms"))?.current).toBe(3);
    expect(await context.auditOf(id)).toHaveLength(1);
  });

  it("U04: exactly 25 of 40 concurrent ones succeed from a level of 25, and the others are refused", async () => {
    const stores = await context.racers(8);
    const { id } = await context.tenant();
    await context.UsageService.record(id, "users", 25);
    const codes = await Promise.all(
      stores.flatMap((store) => Array.from({ length: 5 }, () => codeOf(context.over(store).UsageService.increment(id, "users", -1)))),
    );
    expect(codes.filter((code) => code === "usage_below_zero")).toHaveLength(15);
    expect(codes.filter((code) => code.startsWith("no error"))).toHaveLength(25);
    expect(await context.UsageService.get(id, "users")).toMatchObject({ current: 0, daily: { "2026-03-01": 0 } });
  });

  it("U03: 1,000 concurrent increments of 1 in one process, with negative ones between, add up exactly", async () => {
    const { id } = await context.tenant();
    await context.UsageService.record(id, "users", 100);
    await Promise.all([
      ...Array.from({ length: 1_000 }, () => context.UsageService.increment(id, "users", 1)),
      ...Array.from({ length: 50 }, () => context.UsageService.increment(id, "users", -2)),
    ]);
    expect((await context.UsageService.get(id, "users"))?.current).toBe(1_000);
  });
});
