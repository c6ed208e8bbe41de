import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { entityOfKey, registry } from "../../shared/features/registry.ts";
import { InnkeepError } from "../../shared/kernel/errors.ts";
import { familyOf, keyFromId, matchKey } from "../../shared/kv/define.ts";
import type { AnyEntity } from "../../shared/kv/define.ts";
import { isSegment, isTimestamp, prefixRange, RESERVED_TENANT_IDS } from "../../shared/kv/key.ts";
import { seededRandom } from "../support/random.ts";
import { exampleParams, keyFrom, paramsOf } from "./example.ts";

/** Ids of a hostile caller: random texts, and texts that try to leave the scope. */
const hostile = fc.oneof(
  { weight: 3, arbitrary: fc.string({ unit: fc.constantFrom(..."abXY09._~@+-"), minLength: 1, maxLength: 20 }) },
  fc.string({ unit: "binary", maxLength: 140 }),
  fc.string({ unit: fc.constantFrom(..."ab19:;%*/\\ \u0000\nü"), maxLength: 20 }),
  fc.constantFrom(
    "tn_1:evil",
    "tn_1:2026-01-01T00:00:00.000Z:x",
    "2026-01-01T00:00:00.000Z",
    "2026-02-30T00:00:00.000Z",
    "global",
    "settings",
    "",
  ),
);

/** The key, or null when a parameter was refused with the error that names it. */
function built(entity: AnyEntity, params: Readonly<Record<string, string>>): string | null {
  try {
    return keyFrom(entity, params);
  } catch (error) {
    if (!(error instanceof InnkeepError)) throw error;
    expect(error).toMatchObject({ code: "invalid_key", status: 400 });
    return null;
  }
}

const everyEntity = registry.map((entity) => [entity.name, entity] as const);

describe("keys of every entity", () => {
  test.each(everyEntity)("K22: a key of %s gives back the parameters it was built from, and is of no other entity", (_name, entity) => {
    const params = exampleParams(entity);
    const key = keyFrom(entity, params);
    expect(matchKey(entity, key)).toEqual(params);
    expect(registry.filter((other) => matchKey(other, key) !== null)).toEqual([entity]);
    if (entity.naturalKey) expect(key).toBe((entity.example as { id?: unknown }).id);
  });

  test("K22: of 10,000 random sets of segments each is refused or read back unchanged, in its own scope", () => {
    const { seed } = seededRandom("keys of every entity");
    const property = fc.property(fc.constantFrom(...registry), fc.array(hostile, { minLength: 4, maxLength: 4 }), (entity, texts) => {
      const params = Object.fromEntries(paramsOf(entity).map((name, i) => [name, texts[i] ?? ""]));
      const values = Object.values(params);
      const key = built(entity, params);
      expect(key !== null).toBe(values.every((value) => isSegment(value) || isTimestamp(value)));
      if (key === null) return;
      // A timestamp in the position of an id, or an id in that of a timestamp, gives no key of this entity.
      const shaped = Object.entries(params).every(([name, value]) => isTimestamp(value) === (name === "timestamp"));
      expect(matchKey(entity, key)).toEqual(shaped ? params : null);
      const { start, end } = prefixRange([familyOf(entity), ...values.slice(0, -1)].join(":"));
      expect(key >= start && key < end).toBe(true);
    });
    fc.assert(property, { seed, numRuns: 10_000 });
  });

  test.each(["tn_1:evil", "tn_1%", "tn_1;", "tn 1", "", "ä", "a/b", "a\u0000", "a".repeat(129)])(
    "K22: %j is refused by every entity, naming the parameter",
    (id) => {
      for (const [, entity] of everyEntity) {
        const [param] = paramsOf(entity);
        if (param === undefined) continue; // There is one record.
        expect(() => keyFrom(entity, { ...exampleParams(entity), [param]: id })).toThrowError(
          expect.objectContaining({ code: "invalid_key", fields: [expect.objectContaining({ path: param })] }),
        );
      }
    },
  );

  test("K22: a full key and a short id name the same record", () => {
    for (const [, entity] of everyEntity) {
      if (paramsOf(entity).length > 1) continue;
      const key = keyFrom(entity, exampleParams(entity));
      expect(keyFromId(entity, key)).toBe(key);
      expect(keyFromId(entity, key.slice(key.indexOf(":") + 1))).toBe(key);
    }
  });
});

describe("key spaces", () => {
  test("K23: global and platform can never be a tenant id", () => {
    expect([...RESERVED_TENANT_IDS]).toEqual(expect.arrayContaining(["global", "platform"]));
  });

  test("K23: a literal segment in the position of another key's tenant id is reserved", () => {
    for (const [, entity] of everyEntity) {
      const [, second = ""] = entity.key.split(":");
      if (!second.startsWith("{")) expect(RESERVED_TENANT_IDS.has(second), entity.key).toBe(true);
    }
  });

  test.each([
    "nothing:tn_1",
    "tenant",
    "tenant:tn_1:more",
    "usage:tn_1",
    "usage:tn_1:users",
    "usage:tn_1:users:2026-01:more",
    "audit:tn_1",
    "audit:2026-01-01T00:00:00.000Z",
    "audit:a:b:2026-01-01T00:00:00.000Z:x",
    "tenant:2026-01-01T00:00:00.000Z",
    "audit:tn_1:2026-02-30:x",
  ])("K28: %s is a key of no declared entity", (key) => {
    expect(entityOfKey(key)).toBeNull();
  });

  test("K28: the platform's and a tenant's audit keys are of one entity and differ by the tenant", () => {
    const at = "2026-01-01T00:00:00.000Z";
    expect(entityOfKey(`audit:${at}:x`)?.name).toBe("audit-entry");
    expect(entityOfKey(`audit:tn_1:${at}:x`)?.name).toBe("audit-entry");
    const audit = registry.find(({ name }) => name === "audit-entry");
    if (!audit) throw new Error("audit entries are not declared");
    expect(matchKey(audit, `audit:${at}:x`)).toEqual({ timestamp: at, nonce: "x" });
    expect(matchKey(audit, `audit:tn_1:${at}:x`)).toEqual({ tenantId: "tn_1", timestamp: at, nonce: "x" });
  });
});
