import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { codeOf } from "../../support/store.ts";
import { openTestContext } from "../../support/test-context.ts";
import { seededRandom } from "../../support/random.ts";

let context: Awaited<ReturnType<typeof openTestContext>>;
beforeAll(async () => void (context = await openTestContext()));
afterAll(() => context.close());

/** At the limit, not above it. */
const FULL = { policy: "hard", overLimit: true, overage: 0 } as const;

describe("consume", () => {
  it("U12: of 100 racers in 10 processes for 10 units exactly 10 are allowed, each with the amount that remains", async () => {
    const stores = await context.racers(10);
    const { id } = await context.tenant();
    await context.UsageService.record(id, "rooms", 0, 10);
    const answers = await Promise.all(
      stores.flatMap((store) => Array.from({ length: 10 }, () => context.over(store).UsageService.consume(id, "rooms", 1))),
    );
    const allowed = answers.filter((answer) => answer.allowed);
    expect(allowed.map(({ remaining }) => remaining).sort((a, b) => Number(a) - Number(b))).toEqual([0, 1, 2, 3, 4, 5, 6, 7, 8, 9]);
    expect(answers.filter((answer) => !answer.allowed)).toEqual(
      Array.from({ length: 90 }, () => ({ allowed: false, current: 10, limit: 10, remaining: 0, ...FULL })),
    );
    expect((await context.UsageService.get(id, "rooms"))?.current).toBe(10);
  });

  it("U12: concurrent first calls of a month share what the plan allows", async () => {
    const stores = await context.racers(8);
    const { id } = await context.tenant({ plan: "Trial" });
    const period = "2026-04";
    const answers = await Promise.all(stores.map((store) => context.over(store).UsageService.consume(id, "bookings", 30, period)));
    expect(answers.filter(({ allowed }) => allowed)).toHaveLength(3);
    expect(await context.UsageService.get(id, "bookings", period)).toMatchObject({ current: 90, limit: 100, daily: { "2026-04-01": 90 } });
  });

  it("U12: concurrent random amounts, with increments between, are never allowed beyond the limit", async () => {
    const random = seededRandom("U12 amounts");
    const stores = await context.racers(6);
    const { id } = await context.tenant();
    await context.UsageService.record(id, "storage", 0, 500);
    let added = 0;
    await Promise.all(stores.map(async (store) => {
      const { UsageService } = context.over(store);
      for (let i = 0; i < 30; i++) {
        const amount = 1 + random.below(20);
        const outcome = await UsageService.consume(id, "storage", amount);
        if (outcome.allowed) added += amount;
        if (outcome.allowed && random.below(3) === 0) {
          await UsageService.increment(id, "storage", -amount);
          added -= amount;
        }
        expect(outcome.current, `seed ${random.seed}`).toBeLessThanOrEqual(500);
      }
    }));
    const usage = await context.UsageService.get(id, "storage");
    expect(usage?.current, `seed ${random.seed}`).toBe(added);
    expect(usage?.daily).toEqual({ "2026-03-01": added });
  });

  it("U12: without a limit everything fits, with a limit of zero nothing, and a refusal writes nothing", async () => {
    const { id } = await context.tenant({ plan: "Enterprise" });
    expect(await context.UsageService.consume(id, "bookings", 1e9)).toMatchObject({
      allowed: true,
      current: 1e9,
      limit: null,
      remaining: null,
    });
    const { version } = await context.UsageService.record(id, "users", 0, 0);
    expect(await context.UsageService.consume(id, "users", 1)).toEqual({ allowed: false, current: 0, limit: 0, remaining: 0, ...FULL });
    expect((await context.UsageService.get(id, "users"))?.version).toBe(version);
    expect(await codeOf(context.UsageService.consume(id, "users", -1))).toBe("validation_failed");
    expect(await codeOf(context.UsageService.consume("tn_none", "users", 1))).toBe("not_found");
  });

  it("U12: decimals are exact: ten tenths fill a limit of one", async () => {
    const { id } = await context.tenant();
    await context.UsageService.record(id, "storage", 0, 1);
    for (let i = 1; i <= 10; i++) expect((await context.UsageService.consume(id, "storage", 0.1)).allowed, String(i)).toBe(true);
    expect(await context.UsageService.consume(id, "storage", 0.000001)).toMatchObject({
      allowed: false,
      current: 1,
      limit: 1,
      remaining: 0,
    });
  });

  it("U08: with an idempotency key consumes once, however often it is sent", async () => {
    const { id } = await context.tenant();
    await context.UsageService.record(id, "users", 0, 2);
    const send = () => context.UsageService.consume(id, "users", 2, undefined, { idempotencyKey: "order-7" });
    for (let i = 0; i < 3; i++) expect(await send()).toEqual({ allowed: true, current: 2, limit: 2, remaining: 0, ...FULL });
  });

  it("H05: checks the version if one is given, and consumes nothing if it is stale", async () => {
    const { id } = await context.tenant();
    const { version } = await context.UsageService.record(id, "users", 1);
    const take = (ifMatch: string[]) => context.UsageService.consume(id, "users", 1, undefined, { ifMatch });
    expect(await take([version ?? ""])).toMatchObject({ allowed: true, current: 2 });
    expect(await codeOf(take([version ?? ""]))).toBe("precondition_failed");
    expect((await context.UsageService.get(id, "users"))?.current).toBe(2);
  });

  it("U12: 64 concurrent calls of one process on one metric all succeed", async () => {
    const { id } = await context.tenant({ plan: "Enterprise" });
    await context.UsageService.record(id, "storage", 0, 1e9);
    const startedMs = performance.now();
    await Promise.all(Array.from({ length: 64 }, async () => {
      for (let i = 0; i < 20; i++) expect((await context.UsageService.consume(id, "storage", 1)).allowed).toBe(true);
    }));
    console.info(`64 callers × 20 units: ${Math.round(performance.now() - startedMs)} ms`);
    expect((await context.UsageService.get(id, "storage"))?.current).toBe(1_280);
  });
});
