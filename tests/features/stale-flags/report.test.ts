import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { createBackend, loadServices } from "../../../shared/container.ts";
import { systemContext } from "../../../shared/kernel/context.ts";
import { jsonLogger } from "../../../shared/kernel/logger.ts";
import type { Store } from "../../../shared/kv/store.ts";
import { codeOf } from "../../support/store.ts";
import { openTestContext, userOf } from "../../support/test-context.ts";

let context: Awaited<ReturnType<typeof openTestContext>>;
beforeAll(async () => void (context = await openTestContext()));
afterAll(() => context.close());

const HOUR = 3_600_000;
const DAY = 24 * HOUR;
let made = 0;
const flag = (given: object = {}) =>
  context.FeatureFlagService.create({ key: `flag-${++made}`, name: "Flag", status: "enabled", ...given });
const marksOf = async (flagId: string) =>
  (await context.dump("flageval")).find(({ key }) => key === `flageval:${flagId}`)?.value as Record<string, string> | undefined;

/** A process of its own, whose marks can be written at once. `store` replaces its store. */
async function newProcess(store: Store = context.another(), log: (line: string) => void = () => undefined) {
  const logger = jsonLogger(log, context.clock.now);
  const { bind, platform } = createBackend({ store, clock: context.clock, logger });
  const servicesOf = await loadServices();
  return {
    as: (caller: object = {}) => servicesOf(bind({ ...systemContext(context.clock), ...caller })),
    written: () => platform.uses.flush(),
  };
}

describe("the record of evaluations", () => {
  test("F21: says when a flag was evaluated by itself and with all, also by a tenant's user, and is not audited", async () => {
    const [{ id: tenantId }, { id, key }] = [await context.tenant(), await flag()];
    const { as, written } = await newProcess();
    expect(await marksOf(id)).toEqual({ flagId: id, createdAt: context.clock.iso() });
    const entries = (await context.dump("audit")).length;
    context.clock.advance(DAY);
    const one = context.clock.iso();
    await as(userOf(tenantId)).OfrepService.evaluate(key, {});
    await written();
    expect(await marksOf(id)).toMatchObject({ lastEvaluatedAt: one });
    expect(await marksOf(id)).not.toHaveProperty("lastDeliveredAt");
    context.clock.advance(DAY);
    await as(userOf(tenantId)).OfrepService.evaluateAll({});
    await written();
    expect(await marksOf(id)).toMatchObject({ lastEvaluatedAt: one, lastDeliveredAt: context.clock.iso() });
    expect((await context.dump("audit")).length).toBe(entries);
  });

  test.each<
    [way: string, run: (services: ReturnType<Awaited<ReturnType<typeof newProcess>>["as"]>, key: string, tenantId: string) => unknown]
  >([
    ["FeatureFlagService.isEnabled", ({ FeatureFlagService: flags }, key, tenantId) => flags.isEnabled(key, tenantId)],
    ["FeatureFlagService.evaluate", ({ FeatureFlagService: flags }, key, tenantId) => flags.evaluate(key, tenantId)],
    ["OfrepService.evaluate", ({ OfrepService: ofrep }, key, tenantId) => ofrep.evaluate(key, { targetingKey: tenantId })],
  ])("F21: is written at most once an hour by a process that evaluates with %s, and after a clock was set back", async (_, run) => {
    const [{ id: tenantId }, { id, key }] = [await context.tenant(), await flag()];
    const { as, written } = await newProcess();
    const seen = async () => {
      for (let n = 0; n < 20; n++) await run(as(), key, tenantId);
      await written();
      return (await marksOf(id))?.["lastEvaluatedAt"];
    };
    const first = context.clock.iso();
    expect(await seen()).toBe(first);
    context.clock.advance(HOUR - 1);
    expect(await seen()).toBe(first);
    context.clock.advance(1);
    expect(await seen()).toBe(context.clock.iso());
    context.clock.advance(-DAY);
    expect(await seen()).toBe(context.clock.iso());
    context.clock.advance(DAY);
  });

  test("F21: costs one write for 1,000 evaluations, and does not delay or fail one while the database refuses it", async () => {
    const [{ id: tenantId }, { id, key }] = [await context.tenant(), await flag()];
    const lines: string[] = [];
    let writes = 0;
    const refusing = new Proxy(context.another(), {
      get(target, name) {
        if (name === "increment") {
          return () => {
            writes += 1;
            return Promise.reject(new Error("refused"));
          };
        }
        const value: unknown = Reflect.get(target, name);
        return typeof value === "function" ? (value.bind(target) as unknown) : value;
      },
    });
    const { as, written } = await newProcess(refusing, (line) => lines.push(line));
    const results = await Promise.all(Array.from({ length: 1_000 }, () => as().FeatureFlagService.isEnabled(key, tenantId)));
    await written();
    expect(new Set(results)).toEqual(new Set([true]));
    expect(writes).toBe(1);
    expect(lines.filter((line) => line.includes("refused"))).toHaveLength(1);
    expect(await marksOf(id)).not.toHaveProperty("lastEvaluatedAt");
  });

  test("F21: ends with its flag, also if the flag is deleted before the mark is written", async () => {
    const [{ id: tenantId }, { id, key }] = [await context.tenant(), await flag()];
    const { as, written } = await newProcess();
    const evaluated = as().FeatureFlagService.isEnabled(key, tenantId);
    await Promise.all([evaluated, context.FeatureFlagService.delete(id)]);
    await written();
    expect(await marksOf(id)).toBeUndefined();
  });
});

describe("the report of stale flags", () => {
  const reportOf = async (days?: number) => {
    const { data } = await context.StaleFlagService.report(days);
    return (id: string) => data.find(({ flagId }) => flagId === id)?.reasons.map(({ reason }) => reason);
  };

  test("F21: lists flags that were not evaluated, do not differ, or have expired overrides, for the given days", async () => {
    const [{ id: tenantId }, { id: other }] = [await context.tenant(), await context.tenant()];
    const { FeatureFlagService: flags } = context;
    const [used, unused, off, overridden, sameOverride, expired] = [
      await flag({ rolloutPercentage: 50 }),
      await flag({ rolloutPercentage: 50 }),
      await flag({ rolloutPercentage: 0 }),
      await flag(),
      await flag(),
      await flag(),
    ];
    await flags.setOverride(overridden.id, tenantId, { enabled: false });
    await flags.setOverride(sameOverride.id, tenantId, { enabled: true });
    const expiresAt = context.clock.iso(40 * DAY);
    await flags.setOverride(expired.id, tenantId, { enabled: false, expiresAt });
    await flags.setOverride(expired.id, other, { enabled: false, expiresAt: context.clock.iso(41 * DAY) });
    context.clock.advance(30 * DAY);
    const { as, written } = await newProcess();
    for (const { key } of [used, off, overridden, sameOverride, expired]) await as().FeatureFlagService.isEnabled(key, tenantId);
    await written();
    const after30 = await reportOf();
    expect(after30(used.id)).toBeUndefined();
    expect(after30(unused.id)).toEqual(["not_evaluated"]);
    expect(after30(off.id)).toEqual(["always_off"]);
    expect(after30(overridden.id)).toBeUndefined();
    expect(after30(sameOverride.id)).toEqual(["always_on"]);
    expect(after30(expired.id), "its overrides are live").toBeUndefined();
    expect((await reportOf(31))(unused.id), "created 30 days ago").toBeUndefined();
    context.clock.set(expiresAt);
    expect((await reportOf())(expired.id), "one is live").toEqual(["overrides_expired"]);
    context.clock.advance(DAY);
    const { data } = await context.StaleFlagService.report();
    const found = data.find(({ flagId }) => flagId === expired.id);
    expect(found?.reasons).toEqual([
      { reason: "always_on", since: expired.created },
      { reason: "overrides_expired", since: expiresAt },
    ]);
    expect(data.map(({ key }) => key)).toEqual(data.map(({ key }) => key).toSorted());
  });

  test("F21: reports a change of the flag as one, so that it is not stale for another 30 days", async () => {
    const { id } = await flag();
    context.clock.advance(30 * DAY);
    expect((await reportOf())(id)).toContain("always_on");
    await context.FeatureFlagService.update(id, { rolloutPercentage: 100 });
    expect((await reportOf())(id)).not.toContain("always_on");
  });

  test("F21: refuses days other than 1 to 365, also to a library caller", async () => {
    for (const days of [0, 366, 1.5, NaN]) {
      expect(await codeOf(context.StaleFlagService.report(days)), String(days)).toBe("invalid_parameter");
    }
  });
});
