import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { ceilingOf, fits, judged, overageOf } from "../../../shared/features/usage/policies.ts";
import { openTestContext } from "../../support/test-context.ts";
import { codeOf } from "../../support/store.ts";

const HARD = { policy: "hard", gracePercent: 0 } as const;
const GRACE = { policy: "hard", gracePercent: 10 } as const;
const SOFT = { policy: "soft", gracePercent: 0 } as const;
const OVERAGE = { policy: "overage", gracePercent: 50 } as const;

describe("a policy", () => {
  test.each(
    [
      [100, HARD, 100],
      [100, GRACE, 110],
      [0.1, GRACE, 0.11],
      [3, { policy: "hard", gracePercent: 33.3 }, 3.999],
      [0, GRACE, 0],
      [null, GRACE, null],
      [100, SOFT, null],
      [100, OVERAGE, null],
    ] as const,
  )("U14: a limit of %s under %j ends at %s", (limit, policy, ceiling) => {
    expect(ceilingOf(limit, policy)).toBe(ceiling);
  });

  test.each(
    [
      // current, limit, amount, policy, allowed, over the limit, overage
      [90, 100, 10, HARD, true, true, 0],
      [90, 100, 11, HARD, false, false, 0],
      [100, 100, 10, GRACE, true, true, 10],
      [100, 100, 10.000001, GRACE, false, true, 0],
      [90, 100, 9, SOFT, true, false, 0],
      [90, 100, 11, SOFT, true, true, 1],
      [500, 100, 1, OVERAGE, true, true, 401],
      [0, 0, 0.3, OVERAGE, true, true, 0.3],
      [5, null, 1e12, HARD, true, false, 0],
    ] as const,
  )("U14: at %d of %s, %d more under %j: allowed %s, over %s, overage %d", (current, limit, amount, policy, allowed, over, overage) => {
    const level = { current, limit };
    expect(fits(level, amount, policy)).toBe(allowed);
    expect(judged(level, amount, policy)).toMatchObject({ allowed, current, limit, overLimit: over, overage, policy: policy.policy });
  });

  test.each([[100.3, 100, 0.3], [99, 100, 0], [7, null, 0], [7, 0, 7]])("U14: %d of %s is %d above the limit", (current, limit, over) => {
    expect(overageOf({ current, limit })).toBe(over);
  });
});

let context: Awaited<ReturnType<typeof openTestContext>>;
beforeAll(async () => void (context = await openTestContext()));
afterAll(() => context.close());

async function metered(policy: string, gracePercent = 0): Promise<{ readonly id: string; readonly metric: string }> {
  const metric = `pieces_${policy}_${gracePercent}`;
  await context.MetricService.create({ id: metric, name: metric, unit: "pieces", kind: "counter", policy: policy as "hard", gracePercent });
  const { id } = await context.tenant();
  await context.UsageService.record(id, metric, 0, 10);
  return { id, metric };
}

describe("usage above the limit", () => {
  test("U14: soft allows it and says so, in the answer and in the usage", async () => {
    const { id, metric } = await metered("soft");
    expect(await context.UsageService.consume(id, metric, 10)).toMatchObject({ allowed: true, remaining: 0, overLimit: true, overage: 0 });
    expect(await context.UsageService.consume(id, metric, 3)).toEqual(
      { allowed: true, current: 13, limit: 10, remaining: 0, policy: "soft", overLimit: true, overage: 3 },
    );
    expect(await context.UsageService.get(id, metric)).toMatchObject({ current: 13, policy: "soft", overLimit: true, percentage: 100 });
  });

  test("U14: overage allows it and reports the amount to bill", async () => {
    const { id, metric } = await metered("overage");
    expect(await context.UsageService.check(id, metric, 25)).toMatchObject({ allowed: true, current: 0, policy: "overage", overage: 15 });
    expect(await context.UsageService.consume(id, metric, 25)).toMatchObject({ allowed: true, current: 25, overage: 15 });
  });

  test("U14: hard with a grace of 20 % ends exactly at 120 % for 40 racers of 4 processes", async () => {
    const { id, metric } = await metered("hard", 20);
    const stores = await context.racers(4);
    const answers = await Promise.all(
      stores.flatMap((store) => Array.from({ length: 10 }, () => context.over(store).UsageService.consume(id, metric, 1))),
    );
    expect(answers.filter(({ allowed }) => allowed)).toHaveLength(12);
    expect(await context.UsageService.consume(id, metric, 1)).toEqual(
      { allowed: false, current: 12, limit: 10, remaining: 0, policy: "hard", overLimit: true, overage: 2 },
    );
  });

  test("U14: a change of the policy counts from the next call on, and changes the version of the usage", async () => {
    const { id, metric } = await metered("hard");
    const { version } = await context.UsageService.record(id, metric, 10);
    expect(await context.UsageService.consume(id, metric, 1)).toMatchObject({ allowed: false });
    context.clock.advance(1);
    await context.MetricService.update(metric, { policy: "soft" });
    expect(await context.UsageService.get(id, metric)).toMatchObject({
      policy: "soft",
      version: expect.not.stringMatching(`^${version}$`),
    });
    expect(await context.UsageService.consume(id, metric, 1)).toMatchObject({ allowed: true, overage: 1 });
  });

  test("U14: an unknown policy and a grace above 100 % are refused", async () => {
    const made = { id: "pieces", name: "Pieces", unit: "pieces", kind: "counter" } as const;
    expect(await codeOf(context.MetricService.create({ ...made, policy: "lax" as "soft" }))).toBe("validation_failed");
    expect(await codeOf(context.MetricService.create({ ...made, gracePercent: 101 }))).toBe("validation_failed");
  });
});
