import { crc32 } from "node:zlib";
import { describe, expect, test } from "vitest";
import { scopes } from "../../../shared/features/index.ts";
import { type ApiKey, apiKey } from "../../../shared/features/api-keys/entity.ts";
import {
  assertScopes,
  dueChange,
  nextCheckOf,
  refusalOf,
  scheduled,
  scopesOf,
  withExpiry,
} from "../../../shared/features/api-keys/rules.ts";
import { isSecret, newSecret } from "../../../shared/features/api-keys/secret.ts";

const DAY_MS = 24 * 3_600_000;
const NOW = "2026-03-01T12:00:00.000Z";
const at = (days: number, ms = 0) => new Date(Date.parse(NOW) + days * DAY_MS + ms).toISOString();
const key = (given: Partial<ApiKey> = {}): ApiKey => apiKey.schema.parse({ ...apiKey.example, createdAt: NOW, unusedSince: NOW, ...given });

describe("the secret of an API key", () => {
  test("AK03: has its environment, 32 random characters and the CRC-32 of them in base 62", async () => {
    const body = `ik_live_${"0".repeat(32)}`;
    let rest = crc32(body);
    let digits = "";
    for (let i = 0; i < 6; i++) {
      digits = `${"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"[rest % 62]}${digits}`;
      rest = Math.floor(rest / 62);
    }
    expect(isSecret(body + digits)).toBe(true);
    const made = await Promise.all([newSecret("live"), newSecret("live"), newSecret("test")]);
    for (const { secret, prefix, last4 } of made) {
      expect(secret).toMatch(/^ik_(live|test)_[0-9A-Za-z]{38}$/);
      expect(isSecret(secret)).toBe(true);
      expect([secret.startsWith(prefix), prefix.length, secret.endsWith(last4), last4.length]).toEqual([true, 14, true, 4]);
    }
    expect(new Set(made.map(({ secret }) => secret)).size).toBe(3);
  });
});

describe("an API key", () => {
  test.each([
    ["is valid", {}, null],
    ["before its expiry", { expiresAt: at(0, 1) }, null],
    ["at its expiry", { expiresAt: NOW }, "key_expired"],
    ["before the end of an overlap", { validUntil: at(0, 1) }, null],
    ["at the end of an overlap", { validUntil: NOW }, "key_expired"],
    ["when disabled", { enabled: false }, "key_disabled"],
    ["when revoked, whatever else", { enabled: false, expiresAt: at(-1), revokedAt: at(-2) }, "key_revoked"],
  ])("AK10: %s", (_, given, expected) => {
    expect(refusalOf({ enabled: true, ...given }, NOW)).toBe(expected);
  });

  test.each<[string, readonly string[], string | undefined, readonly string[]]>([
    ["known scopes", ["read:plans", "write:*"], undefined, []],
    ["everything, of the platform", ["*"], undefined, []],
    ["unknown scopes", ["read:plans", "read:nothing", "plans"], undefined, ["/scopes/1 unknown_scope", "/scopes/2 unknown_scope"]],
    ["what no tenant's owner has", ["read:plans", "write:plans", "read:jobs"], "tn_1", [
      "/scopes/1 scope_not_allowed",
      "/scopes/2 scope_not_allowed",
    ]],
    ["everything, of a tenant", ["*"], "tn_1", ["/scopes/0 scope_not_allowed"]],
    ["all reads of a tenant", ["read:*"], "tn_1", []],
  ])("AK07: with %s", (_, asked, tenantId, faults) => {
    let found: readonly string[] = [];
    try {
      assertScopes(asked, tenantId, scopes);
    } catch (error) {
      found = (error as { readonly fields: readonly { readonly path: string; readonly code: string }[] }).fields.map((f) =>
        `${f.path} ${f.code}`
      );
    }
    expect(found).toEqual(faults);
  });

  test("AK07: of a tenant never has a scope that the tenant's owner cannot have", () => {
    const own = scopesOf({ scopes: ["read:*", "write:*"], tenantId: "tn_1" }, scopes);
    expect([...own].sort()).toEqual([...scopes.ofTenant("owner")].sort());
    expect(scopesOf({ scopes: ["*"] }, scopes).has("*")).toBe(true);
  });

  test("AK10: has one reminder 14, 7 and 1 days before its expiry, and one event at it, at the instant", () => {
    let record = scheduled(withExpiry(key({ expiresAt: at(30) }), null, NOW));
    const seen: (readonly [string, unknown])[] = [];
    while (record.nextCheckAt !== undefined) {
      const due = record.nextCheckAt;
      expect(dueChange(record, new Date(Date.parse(due) - 1).toISOString())).toBeNull();
      const change = dueChange(record, due);
      seen.push([due, change?.data["daysLeft"] ?? change?.action]);
      record = scheduled(change?.record ?? record);
    }
    expect(seen).toEqual([[at(16), 14], [at(23), 7], [at(29), 1], [at(30), "api-key.expired"]]);
  });

  test("AK10: with missed reminders gets the last of them alone, and none that had passed when its expiry was set", () => {
    const record = scheduled(withExpiry(key({ expiresAt: at(30) }), null, NOW));
    const late = dueChange(record, at(24));
    expect(late).toMatchObject({ data: { daysLeft: 7 } });
    expect(scheduled(late?.record ?? record).nextCheckAt).toBe(at(29));
    const short = scheduled(withExpiry(key({ expiresAt: at(3) }), null, NOW));
    expect([short.reminded, short.nextCheckAt]).toEqual([[14, 7], at(2)]);
    const moved = scheduled(withExpiry({ ...short, expiresAt: at(20) }, short, NOW));
    expect([moved.reminded, moved.nextCheckAt, moved.endsAt]).toEqual([[], at(6), at(20)]);
    expect(() => withExpiry(key({ expiresAt: NOW }), null, NOW)).toThrow("must be in the future");
  });

  test("AK16: is disabled when it was not used for its days, and a use moves this on", () => {
    const record = scheduled(key({ autoDisableAfterDays: 30 }));
    expect(record.nextCheckAt).toBe(at(30));
    expect(dueChange(record, at(30, -1))).toBeNull();
    expect(dueChange(record, at(30))).toMatchObject({ action: "api-key.disabled", record: { enabled: false }, data: { reason: "unused" } });
    const used = { ...record, unusedSince: at(12) };
    expect(dueChange(used, at(30))).toBeNull();
    expect(nextCheckOf(used)).toBe(at(42));
    expect(nextCheckOf({ ...used, enabled: false })).toBeUndefined();
  });
});
