import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { entityOfKey, registry } from "../../shared/features/registry.ts";
import { tenant } from "../../shared/features/tenants/entity.ts";
import { usageRecord } from "../../shared/features/usage/entity.ts";
import { auditEntry } from "../../shared/core/audit-entry.ts";
import { InnkeepError } from "../../shared/kernel/errors.ts";
import { keyOf, matchKey } from "../../shared/kv/define.ts";
import { assertKey, isKey, isSegment, isTimestamp, prefixRange, splitKey } from "../../shared/kv/key.ts";

/** Ids of a hostile caller: any text, and text that may reach another scope. */
const anySegment = fc.oneof(
  fc.string({ unit: "binary", maxLength: 140 }),
  fc.string({ unit: fc.constantFrom(..."abcXYZ019._~@+-:;%*/\\ \u0000\nü"), maxLength: 30 }),
  fc.constantFrom(
    "tn_1:evil",
    ".",
    "..",
    "...",
    "2026-01-01T00:00:00.000Z",
    "2026-02-30T00:00:00.000Z",
    "*",
    "tn_1%",
    "tn_1;",
    "",
    "a".repeat(128),
    "a".repeat(129),
  ),
);
const RUNS = { numRuns: 10_000 };

function built(build: () => string): string | null {
  try {
    return build();
  } catch (error) {
    expect(error).toMatchObject({ code: "invalid_key" });
    expect(error).toBeInstanceOf(InnkeepError);
    return null;
  }
}

describe("K22: key builder", () => {
  test("K22: a key built from any segments is refused, or matches its entity and returns the same segments", () => {
    fc.assert(
      fc.property(anySegment, anySegment, anySegment, (tenantId, metric, period) => {
        const key = built(() => keyOf(usageRecord, { tenantId, metric, period }));
        if (key === null) return !(isSegment(tenantId) && isSegment(metric) && isSegment(period));
        const params = [tenantId, metric, period].some(isTimestamp) ? null : { tenantId, metric, period };
        expect(matchKey(usageRecord, key)).toEqual(params);
        expect(splitKey(key)).toEqual(["usage", tenantId, metric, period]);
        return true;
      }),
      RUNS,
    );
  });

  test("K22: no id reaches another tenant's range: a key is within its own prefix and outside every other one", () => {
    fc.assert(
      fc.property(anySegment, anySegment, (tenantId, other) => {
        fc.pre(tenantId !== other);
        const key = built(() => keyOf(usageRecord, { tenantId, metric: "users", period: "2026-01" }));
        const range = built(() => `usage:${other}`) && isSegment(other) ? prefixRange(`usage:${other}`) : null;
        if (key === null || range === null) return true;
        return !(key >= range.start && key < range.end);
      }),
      RUNS,
    );
  });

  test("K22: a timestamp in an id cannot move an audit key between the scopes of the platform and a tenant", () => {
    fc.assert(
      fc.property(anySegment, anySegment, (tenantId, nonce) => {
        const timestamp = "2026-01-01T00:00:00.000Z";
        const key = built(() => keyOf(auditEntry, { tenantId, timestamp, nonce }));
        if (key === null || isTimestamp(tenantId) || isTimestamp(nonce)) return true;
        expect(matchKey(auditEntry, key)).toEqual({ tenantId, timestamp, nonce });
        return true;
      }),
      RUNS,
    );
  });

  test.each(["tn_1:evil", "tn_1%", "a b", "", "ä", "a/b", "a\u0000", "a".repeat(129)])("K22: %j is refused as an id", (id) => {
    expect(built(() => keyOf(tenant, { id }))).toBeNull();
  });

  test.each([".", ".."])("K22: %j is refused as a segment, alone or at any position in a key", (dots) => {
    expect(isSegment(dots)).toBe(false);
    expect(built(() => keyOf(tenant, { id: dots }))).toBeNull();
    for (const key of [dots, `${dots}:a`, `a:${dots}`, `a:${dots}:b`]) {
      expect(isKey(key), key).toBe(false);
      expect(() => assertKey(key), key).toThrowError(/not \. or \.\./);
      expect(() => prefixRange(`${key}:`), key).toThrowError(InnkeepError);
    }
  });

  test.each(["...", ".a", "a.", "..a", "a..", "a..b", ".-"])("K22: %j contains dots and is a valid segment", (id) => {
    expect(isSegment(id)).toBe(true);
    for (const key of [id, `${id}:a`, `a:${id}`, `a:${id}:b`]) expect(isKey(key), key).toBe(true);
    expect(keyOf(tenant, { id })).toBe(`tenant:${id}`);
  });

  test("K22: the one-pass check of a key and the split into segments agree on every text", () => {
    const key = fc.array(anySegment, { minLength: 1, maxLength: 5 }).map((segments) => segments.join(":"));
    fc.assert(fc.property(key, (text) => isKey(text) === (built(() => splitKey(text).join(":")) === text)), RUNS);
  });

  test("K22: a key of three segments of maximum length fits in 512 bytes, and a longer one is refused", () => {
    const long = "x".repeat(128);
    expect(keyOf(usageRecord, { tenantId: long, metric: long, period: long })).toHaveLength(392);
    expect(() => splitKey(`${long}:${long}:${long}:${long}`)).toThrowError(/512/);
  });
});

describe("K23: key spaces", () => {
  test("K23: the key of every declared example matches only its own entity", () => {
    for (const entity of registry) {
      const example = entity.example as Record<string, string>;
      const params = Object.fromEntries(
        [...entity.key.matchAll(/\{~?(\w+)\??\}/g)].map(([, name = ""]) => [name, example[name] ?? "nonce1"]),
      );
      const key = keyOf(entity, params as never);
      expect(entityOfKey(key)?.name, key).toBe(entity.name);
      expect(registry.filter((other) => matchKey(other, key) !== null)).toHaveLength(1);
    }
  });

  test("K10: a prefix is a half-open byte range of whole segments", () => {
    expect(prefixRange("usage:tn_1")).toEqual({ start: "usage:tn_1:", end: "usage:tn_1;" });
    expect(prefixRange("usage:tn_1:")).toEqual(prefixRange("usage:tn_1"));
    expect(() => prefixRange("usage:tn_1::")).toThrowError(InnkeepError);
  });
});
