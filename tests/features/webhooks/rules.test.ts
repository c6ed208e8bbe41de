import { describe, expect, test } from "vitest";
import { isInnkeepError } from "../../../shared/kernel/errors.ts";
import { type Webhook, webhook } from "../../../shared/features/webhooks/entity.ts";
import { deliveryKey, isSubscribed, newDelivery, receives } from "../../../shared/features/webhooks/matching.ts";
import {
  assertPatterns,
  checkedHeaders,
  disabled,
  dueChange,
  enabled,
  gapStart,
  scheduled,
  secretTimes,
} from "../../../shared/features/webhooks/rules.ts";
import { newSecret } from "../../../shared/features/webhooks/secret.ts";

const NOW = "2026-03-01T12:00:00.000Z";
const DAY_MS = 86_400_000;
const at = (days: number, ms = 0) => new Date(Date.parse(NOW) + days * DAY_MS + ms).toISOString();
const made = (given: Partial<Webhook> = {}): Webhook => webhook.schema.parse({ ...webhook.example, ...secretTimes(NOW), ...given });

/** The faults that a call reports, as `path code`. */
function faultsOf(call: () => unknown): string[] {
  try {
    call();
    return [];
  } catch (error) {
    if (!isInnkeepError(error)) throw error;
    return error.fields.map(({ path, code }) => `${path} ${code}`);
  }
}

describe("the events of a webhook", () => {
  test.each<[string, readonly string[], string, boolean]>([
    ["a name", ["tenant.created"], "tenant.created", true],
    ["another name", ["tenant.created"], "tenant.created_twice", false],
    ["a group", ["tenant.*"], "tenant.suspended", true],
    ["a group with a like beginning", ["tenant.*"], "tenants.suspended", false],
    ["a group within a group", ["usage.*"], "usage.alert.resolved", true],
    ["everything", ["*"], "invoice.paid", true],
    ["one of several", ["plan.*", "invoice.paid"], "invoice.paid", true],
  ])("W01: %s", (_, events, type, expected) => {
    expect(isSubscribed({ events: [...events] }, type)).toBe(expected);
  });

  test("W20: about a webhook itself are not sent to it, but to others", () => {
    const event = { type: "webhook.disabled", subject: "webhook_1" };
    expect(receives({ id: "webhook_1", events: ["*"] }, event)).toBe(false);
    expect(receives({ id: "webhook_2", events: ["*"] }, event)).toBe(true);
  });

  test("W01: are refused one by one when the catalogue has no such type or group", () => {
    const isPattern = (pattern: string) => ["*", "tenant.*", "tenant.created"].includes(pattern);
    expect(faultsOf(() => assertPatterns(["tenant.created", "tenant.*", "*"], isPattern))).toEqual([]);
    expect(faultsOf(() => assertPatterns(["tenant.created", "tenant.exploded", "*.created"], isPattern))).toEqual([
      "/events/1 unknown_event_type",
      "/events/2 unknown_event_type",
    ]);
  });
});

describe("a delivery", () => {
  const event = { id: "evt_1767225600000_a1b2c3d4e5f6", type: "tenant.created", seq: 7 };

  test("W10: has the instant and the random part of its event, so that two of one millisecond are two records", () => {
    const other = { ...event, id: "evt_1767225600000_b1b2c3d4e5f6" };
    const ids = [event, other].map((each) => newDelivery({ id: "webhook_1", tenantId: undefined }, each, NOW));
    expect(ids.map(({ timestamp, nonce }) => `${timestamp} ${nonce}`)).toEqual([
      "2026-01-01T00:00:00.000Z a1b2c3d4e5f6",
      "2026-01-01T00:00:00.000Z b1b2c3d4e5f6",
    ]);
  });

  test.each([
    ["its own id", "delivery_1767225600000_a1b2c3d4e5f6", "delivery:webhook_1:2026-01-01T00:00:00.000Z:a1b2c3d4e5f6"],
    ["that of its event", event.id, "delivery:webhook_1:2026-01-01T00:00:00.000Z:a1b2c3d4e5f6"],
    ["another text", "missing", null],
    ["an instant that no key can have", "delivery_999999999999999_a", null],
    ["a nonce with a colon", "delivery_1_a:b", null],
  ])("W09: is found by %s", (_, id, key) => {
    expect(deliveryKey("webhook_1", id)).toBe(key);
  });
});

describe("additional headers", () => {
  test.each<[string, Record<string, string>, readonly string[]]>([
    ["of the usual kind", { "X-Environment": "production", Authorization: "Bearer abc" }, []],
    ["that Innkeep sets", { "Webhook-Signature": "v1,a", "content-type": "text/plain", Host: "a" }, [
      "/headers/Webhook-Signature",
      "/headers/content-type",
      "/headers/Host",
    ]],
    ["of the connection", { connection: "close", "Proxy-Authorization": "a", "transfer-encoding": "chunked" }, [
      "/headers/connection",
      "/headers/Proxy-Authorization",
      "/headers/transfer-encoding",
    ]],
    ["with an invalid name", { "x y": "a", "": "a", "x:y": "a" }, ["/headers/x y", "/headers/", "/headers/x:y"]],
    ["with a line break", { "x-a": "a\r\nx-b: c" }, ["/headers/x-a"]],
    ["with a space at an end", { "x-a": " a", "x-b": "" }, ["/headers/x-a", "/headers/x-b"]],
    ["beyond ASCII", { "x-a": "ü" }, ["/headers/x-a"]],
    ["that are too long", { "x-a": "a".repeat(1_025), "x-b": "b".repeat(1_024) }, ["/headers/x-a"]],
    ["twice", { "X-A": "1", "x-a": "2" }, ["/headers/X-A", "/headers/x-a"]],
    ["that are too many", Object.fromEntries(Array.from({ length: 11 }, (_, i) => [`x-${i}`, "a"])), ["/headers"]],
  ])("W01: %s", (_, headers, faults) => {
    expect(faultsOf(() => checkedHeaders(headers)).map((fault) => fault.replace(/ invalid$/, ""))).toEqual(faults);
  });

  test("W01: have lower-case names in one order", () => {
    expect(Object.entries(checkedHeaders({ "X-B": "1", "x-A": "2" }))).toEqual([["x-a", "2"], ["x-b", "1"]]);
  });
});

describe("a webhook", () => {
  test("W12: loses its failures and the reason when it is enabled, and is due", () => {
    const failing = { status: "failed" as const, enabled: false, disabledReason: "failing" as const, disabledAt: at(-1) };
    const before = { ...made({ ...failing, failureCount: 12, failingSince: at(-6) }), pausedUntil: at(1), pauseSeconds: 300 };
    const gap = { since: at(-6), failed: 3, missing: 4, isComplete: true };
    const after = enabled(before, gap, NOW);
    expect(after).toMatchObject({ enabled: true, status: "active", failureCount: 0, failingSince: null, dueAt: NOW, gap });
    for (const field of ["disabledAt", "disabledReason", "pausedUntil", "pauseSeconds"]) expect(after).not.toHaveProperty(field);
    expect(gapStart(before, NOW)).toBe(at(-6));
    expect(gapStart({ failingSince: null, disabledAt: at(-1) }, NOW)).toBe(at(-1));
  });

  test("W01: is disabled by request with the instant and the reason", () => {
    expect(disabled(made({ dueAt: NOW }), NOW)).toMatchObject({
      enabled: false,
      status: "disabled",
      disabledReason: "by_request",
      disabledAt: NOW,
      dueAt: null,
    });
  });
});

describe("the secret of a webhook", () => {
  test("W04: is whsec_ and 32 random bytes in base64", () => {
    const secrets = Array.from({ length: 100 }, newSecret);
    expect(new Set(secrets).size).toBe(100);
    for (const secret of secrets) {
      expect(secret).toMatch(/^whsec_[A-Za-z0-9+/]{43}=$/);
      expect(atob(secret.slice(6))).toHaveLength(32);
    }
  });

  test.each<[string, number, Partial<Webhook>, readonly string[]]>([
    ["15 days before its end", 350, {}, []],
    ["a millisecond before the first reminder", 351 - 1 / DAY_MS, {}, []],
    ["14 days before its end", 351, {}, ["webhook.secret_expiring 14"]],
    ["again, which is no second reminder", 352, { reminded: [14] }, []],
    ["7 days before", 358, { reminded: [14] }, ["webhook.secret_expiring 7"]],
    ["a day before, when nobody looked since the first", 364, { reminded: [14] }, ["webhook.secret_expiring 1"]],
    ["at its end", 365, { reminded: [14, 7, 1] }, ["webhook.secret_expired -"]],
    ["long after, once", 1_000, {}, ["webhook.secret_expired -"]],
    ["at the end of an overlap", 1, { previousSecretExpiresAt: at(1) }, ["webhook.secret_retired -"]],
    ["before the end of an overlap", 1, { previousSecretExpiresAt: at(1, 1) }, []],
    ["when both are due", 400, { previousSecretExpiresAt: at(1) }, ["webhook.secret_retired -", "webhook.secret_expired -"]],
  ])("AK10: %s", (_, days, given, expected) => {
    const now = at(days);
    let record = scheduled(made(given));
    const isDue = record.nextCheckAt !== undefined && record.nextCheckAt <= now;
    const found: string[] = [];
    for (let due = dueChange(record, now); due; due = dueChange(record, now)) {
      found.push(`${due.action} ${due.data["daysLeft"] ?? "-"}`);
      record = scheduled(due.record);
    }
    expect(found).toEqual(expected);
    expect([isDue, record.nextCheckAt === undefined || record.nextCheckAt > now]).toEqual([expected.length > 0, true]);
  });
});
