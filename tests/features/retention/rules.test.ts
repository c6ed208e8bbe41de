import { describe, expect, test } from "vitest";
import { registry } from "../../../shared/features/registry.ts";
import { assertPolicy, cutoffOf, isOld, keepRules, partsOf } from "../../../shared/features/retention/rules.ts";
import { indexesOf } from "../../../shared/kv/define.ts";

const policy = (type: string, retentionDays: number, enabled = true) => ({
  id: `${type}-${retentionDays}`,
  type,
  retentionDays,
  action: "delete" as const,
  enabled,
  createdAt: "2026-01-01T00:00:00.000Z",
});
const daysOf = (...policies: Parameters<typeof keepRules>[1]) =>
  Object.fromEntries(keepRules(registry, policies).map(({ entity, days }) => [entity, days]));

describe("the rules of retention", () => {
  test("C14: are the declared ones, unless an enabled policy says otherwise", () => {
    expect(daysOf()).toMatchObject({ "usage-record": 730, "outbox-event": 30, "audit-entry": 730 });
    expect(daysOf(policy("usage-record", 10))).toMatchObject({ "usage-record": 10, "outbox-event": 30 });
    expect(daysOf(policy("usage-record", 10, false))).toMatchObject({ "usage-record": 730 });
    expect(daysOf(policy("plan", 10))).toEqual(daysOf());
  });

  test("C14: of several enabled policies for one entity, the longest applies", () => {
    const policies = [policy("usage-record", 10), policy("usage-record", 40), policy("usage-record", 900, false)];
    const rule = keepRules(registry, policies).find(({ entity }) => entity === "usage-record");
    expect(rule).toMatchObject({ days: 40, policies: policies.slice(0, 2) });
  });

  test("C14: exist only for entities that declare a retention", () => {
    const assertType = (type: string) => assertPolicy(registry, { type }, { hasArchive: true });
    expect(() => assertType("usage-record")).not.toThrow();
    for (const type of ["plan", "tenant", "nothing", "constructor"]) expect(() => assertType(type)).toThrow(/type/);
  });

  test("C16: keep a record until it is older than the policy by more than 5 minutes, to the millisecond", () => {
    const cutoff = cutoffOf(30, Date.parse("2026-03-31T12:05:00.000Z"));
    expect(cutoff).toBe("2026-03-01T12:00:00.000Z");
    expect(isOld({ createdAt: "2026-03-01T12:00:00.000Z" }, "createdAt", cutoff)).toBe(false);
    expect(isOld({ createdAt: "2026-03-01T11:59:59.999Z" }, "createdAt", cutoff)).toBe(true);
  });

  test.each([[{}], [{ createdAt: null }], [{ createdAt: 5 }], [{ createdAt: "" }], [{ createdAt: "2020" }], [null], [[]]])(
    "C16: keep a record without a valid time: %j",
    (value) => expect(isOld(value, "createdAt", "2026-03-01T12:00:00.000Z")).toBe(false),
  );

  test("C15: every time field has an index, unless each update would change it", () => {
    for (const entity of registry.filter(({ retention }) => retention)) {
      const isIndexed = indexesOf(entity).some(([first]) => first === entity.retention?.after);
      expect([entity.name, isIndexed]).toEqual([entity.name, entity.frequentUpdates !== true]);
    }
  });

  test("C15: a commit locks at most 200 keys: those of the records twice, and of their tenants", () => {
    const cases = [[500, 1], [500, 500], [500, 0], [1, 1], [99, 99], [0, 0]] as const;
    for (const [records, tenants] of cases) {
      const entries = Array.from({ length: records }, (_, i) => ({ n: i, tenantId: tenants === 0 ? null : `tn_${i % tenants}` }));
      const parts = partsOf(entries);
      expect(parts.flat()).toEqual(entries);
      for (const part of parts) {
        const owners = new Set(part.map(({ tenantId }) => tenantId).filter((id) => id !== null));
        expect(2 * part.length + owners.size + 2).toBeLessThanOrEqual(200);
      }
      if (tenants === 1) expect(parts).toHaveLength(Math.ceil(records / 98));
    }
  });
});
