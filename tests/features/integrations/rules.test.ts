import { describe, expect, test } from "vitest";
import type { OutboundFault } from "../../../shared/core/outbound.ts";
import { CALL_OUTCOMES, type CallOutcome } from "../../../shared/features/connector-events/entity.ts";
import {
  admission,
  afterCall,
  CLOSED,
  isFailure,
  OPENS_AFTER,
  probing,
  transition,
} from "../../../shared/features/integrations/circuit.ts";
import { resultOf } from "../../../shared/features/integrations/connection-test.ts";
import { type Circuit, type Integration, integration, MAX_HISTORY } from "../../../shared/features/integrations/entity.ts";
import {
  credentialFields,
  dueChange,
  OUTCOME_TEXTS,
  scheduled,
  synced,
  withoutCredentials,
} from "../../../shared/features/integrations/rules.ts";
import { providerOf } from "../../../shared/features/integrations/providers.ts";
import { seededRandom } from "../../support/random.ts";

const T0 = "2026-03-01T10:00:00.000Z";
const at = (seconds: number) => new Date(Date.parse(T0) + seconds * 1_000).toISOString();
const day = (days: number) => at(days * 86_400);
const EXAMPLE = integration.schema.parse(integration.example);

describe("the circuit breaker", () => {
  test.each<[CallOutcome, number | undefined, boolean]>([
    ["unreachable", undefined, true],
    ["timeout", undefined, true],
    ["tls_failed", undefined, true],
    ["unexpected", undefined, true],
    ["unexpected", 500, true],
    ["unexpected", 503, true],
    ["unexpected", 302, false],
    ["unexpected", 418, false],
    ["ok", 200, false],
    ["invalid_credentials", 401, false],
    ["forbidden", 403, false],
    ["not_found", 404, false],
    ["rate_limited", 429, false],
  ])("I16: the outcome %s with status %s counts as a failure: %s", (outcome, status, expected) => {
    expect(isFailure(outcome, status)).toBe(expected);
  });

  test("I16: opens with the fifth failure in a row, and a response of the provider starts the count again", () => {
    let circuit: Circuit = CLOSED;
    for (let i = 1; i < OPENS_AFTER; i++) circuit = afterCall(circuit, "timeout", undefined, T0);
    expect(circuit).toEqual({ state: "closed", failures: 4, refusals: 0 });
    expect(afterCall(circuit, "not_found", 404, T0)).toEqual(CLOSED);
    const open = afterCall(circuit, "unexpected", 502, T0);
    expect(open).toEqual({ state: "open", failures: 5, refusals: 0, openedAt: T0, nextProbeAt: at(60) });
    expect([transition(circuit, open), transition(open, open), transition(open, CLOSED)]).toEqual([
      "circuit_opened",
      null,
      "circuit_closed",
    ]);
  });

  test("I16: refuses calls for 60 s, then lets one probe through, which closes it or opens it for 60 s more", () => {
    const open: Circuit = { state: "open", failures: 5, refusals: 0, openedAt: T0, nextProbeAt: at(60) };
    expect(admission(CLOSED, T0)).toBe("allowed");
    expect(admission(open, at(59.999))).toEqual({ retryAt: at(60) });
    expect(admission(open, at(60))).toBe("probe");
    const half = probing(open, at(60));
    expect(half).toMatchObject({ state: "half_open", nextProbeAt: at(120) });
    expect(admission(half, at(119.999))).toEqual({ retryAt: at(120) });
    // A probe that never ended is repeated.
    expect(admission(half, at(120))).toBe("probe");
    expect(afterCall(half, "ok", 200, at(61))).toEqual(CLOSED);
    const again = afterCall(half, "timeout", undefined, at(70));
    expect(again).toEqual({ state: "open", failures: 6, refusals: 0, openedAt: T0, nextProbeAt: at(130) });
    expect([transition(open, half), transition(half, again), transition(half, CLOSED)]).toEqual([null, null, "circuit_closed"]);
  });

  test("I16: a call that fails late does not move the next probe of an open circuit", () => {
    const open: Circuit = { state: "open", failures: 5, refusals: 0, openedAt: T0, nextProbeAt: at(60) };
    expect(afterCall(open, "timeout", undefined, at(50))).toMatchObject({ failures: 6, nextProbeAt: at(60) });
  });

  test("I12: refused credentials are counted until credentials are accepted, whatever fails between", () => {
    const outcomes: [CallOutcome, number][] = [["invalid_credentials", 1], ["timeout", 1], ["rate_limited", 1], ["invalid_credentials", 2]];
    let circuit: Circuit = CLOSED;
    for (const [outcome, refusals] of outcomes) {
      circuit = afterCall(circuit, outcome, undefined, T0);
      expect(circuit.refusals, outcome).toBe(refusals);
    }
    for (const outcome of ["ok", "forbidden", "not_found"] as const) expect(afterCall(circuit, outcome, 200, T0).refusals).toBe(0);
  });
});

describe("a connection test", () => {
  const response = (status: number, body = "", headers = {}) => (
    { ok: true, status, headers, body: new TextEncoder().encode(body), truncated: false, durationMs: 12 } as const
  );

  test.each<[number, CallOutcome]>([
    [200, "ok"],
    [204, "ok"],
    [301, "unexpected"],
    [400, "unexpected"],
    [401, "invalid_credentials"],
    [403, "forbidden"],
    [404, "not_found"],
    [429, "rate_limited"],
    [500, "unexpected"],
  ])("I15: status %s means %s", (status, outcome) => {
    expect(resultOf(response(status))).toEqual({ outcome, statusCode: status, durationMs: 12, revoked: false });
  });

  test.each<[OutboundFault, CallOutcome]>([
    ["address_refused", "unreachable"],
    ["dns_failed", "unreachable"],
    ["connect_failed", "unreachable"],
    ["connection_closed", "unreachable"],
    ["tls_failed", "tls_failed"],
    ["timeout", "timeout"],
    ["invalid_response", "unexpected"],
  ])("I15: the fault %s means %s", (code, outcome) => {
    expect(resultOf({ ok: false, code, message: "", durationMs: 3 })).toEqual({ outcome, durationMs: 3, revoked: false });
  });

  test.each<[string, number, string, CallOutcome, boolean]>([
    ["slack", 200, '{"ok":true}', "ok", false],
    ["slack", 200, '{"ok":false,"error":"invalid_auth"}', "invalid_credentials", false],
    ["slack", 200, '{"ok": false, "error": "token_revoked"}', "invalid_credentials", true],
    ["slack", 200, '{"ok":false,"error":"missing_scope"}', "forbidden", false],
    ["slack", 200, '{"ok":false,"error":"ratelimited"}', "rate_limited", false],
    ["slack", 200, '{"ok":false,"error":"fatal_error"}', "unexpected", false],
    ["stripe", 401, '{"error":{"code":"api_key_expired"}}', "invalid_credentials", true],
    ["stripe", 401, '{"error":{}}', "invalid_credentials", false],
    ["cloudbeds", 200, '{"success":true,"data":[]}', "ok", false],
    ["cloudbeds", 200, '{"success":false}', "unexpected", false],
  ])("I15: %s, status %s, body %s means %s, revoked: %s", (provider, status, body, outcome, revoked) => {
    expect(resultOf(response(status, body), providerOf(provider).signs)).toMatchObject({ outcome, revoked });
  });

  test("I12: a challenge that says that the token was revoked counts as revoked", () => {
    const challenge = { "www-authenticate": 'Bearer error="invalid_token", error_description="The access token was revoked"' };
    expect(resultOf(response(401, "", challenge))).toMatchObject({ outcome: "invalid_credentials", revoked: true });
    expect(resultOf(response(200, "", challenge))).toMatchObject({ outcome: "ok", revoked: false });
  });

  test("I15: every outcome has a text that says what to do", () => {
    for (const outcome of CALL_OUTCOMES) expect(OUTCOME_TEXTS[outcome]).toMatch(/^The provider|^No secure/);
  });
});

describe("credentials", () => {
  test("I04: show the last four characters of long values only", () => {
    expect(credentialFields({ long: "abcdefgh1234", short: "abcdefg1234" })).toEqual([{ name: "long", last4: "1234" }, { name: "short" }]);
  });

  test("I04: are removed from a text that quotes them, the longest first", () => {
    const quoting = "401 for sk_test_abcdef12 and sk_test_abcdef; code 12";
    const credentials = { a: "sk_test_abcdef", b: "sk_test_abcdef12", c: "12" };
    expect(withoutCredentials(quoting, credentials)).toBe("401 for [redacted] and [redacted]; code 12");
  });

  test("I04: are removed in base64, in JSON and in URLs, wherever they are in the encoded text", () => {
    const { seed, below } = seededRandom("I04 encodings");
    for (let n = 0; n < 60; n++) {
      const secret = Array.from({ length: 6 + below(30) }, () => String.fromCharCode(33 + below(94))).join("");
      const whole = `${"user".slice(0, below(5))}${secret}${"=/+x".slice(0, below(5))}`;
      const base64 = Buffer.from(whole).toString("base64");
      for (const form of [base64, base64.replace(/=+$/, ""), Buffer.from(whole).toString("base64url")]) {
        expect(withoutCredentials(`401: Basic ${form}, try again`, { secret }), `seed ${seed}`).toBe("401: Basic [redacted], try again");
      }
      for (const form of [JSON.stringify(secret), `"${encodeURIComponent(secret)}"`]) {
        expect(withoutCredentials(`401: ${form}`, { secret }), `seed ${seed}`).toBe('401: "[redacted]"');
      }
    }
  });

  test("AK10: are announced 14, 7 and 1 days before they expire, once each, and then they need new ones", () => {
    const expiring = scheduled({ ...EXAMPLE, credentialsExpireAt: day(20) });
    expect(expiring.nextCheckAt).toBe(day(6));
    expect(dueChange(expiring, at(5.99 * 86_400))).toBeNull();
    let record: Integration = expiring;
    const sent: (readonly [number, unknown])[] = [];
    for (let now = 0; now <= 21; now += 0.5) {
      for (let due = dueChange(record, day(now)); due; due = dueChange(record, day(now))) {
        sent.push([now, due.data["daysLeft"] ?? due.data["reason"]]);
        record = due.record;
      }
    }
    expect(sent).toEqual([[6, 14], [13, 7], [19, 1], [20, "expired"]]);
    expect(record).toMatchObject({ status: "error", needsReauth: true, reauthReason: "expired" });
    expect(record.nextCheckAt).toBeUndefined();
  });

  test("AK10: of reminders that were missed, only the last is sent", () => {
    const due = dueChange(scheduled({ ...EXAMPLE, credentialsExpireAt: day(20) }), day(19.5));
    expect(due).toMatchObject({ data: { daysLeft: 1 }, record: { reminded: [14, 7, 1], nextCheckAt: day(20) } });
  });
});

describe("synchronisations", () => {
  test("I03: count failures in a row, and keep the last 50 with their errors", () => {
    let record: Integration = { ...EXAMPLE, syncHistory: [], consecutiveFailures: 0 };
    for (let i = 0; i < 60; i++) record = synced(record, "failed", `error ${i}`, at(i));
    expect(record).toMatchObject({ lastSyncAt: at(59), lastSyncStatus: "failed", lastSyncError: "error 59", consecutiveFailures: 60 });
    expect(record.syncHistory).toHaveLength(MAX_HISTORY);
    expect([record.syncHistory[0], record.syncHistory.at(-1)]).toEqual([
      { at: at(59), status: "failed", error: "error 59" },
      { at: at(10), status: "failed", error: "error 10" },
    ]);
    const running = synced(record, "running", undefined, at(70));
    expect(running).toMatchObject({ lastSyncStatus: "running", lastSyncAt: at(59), consecutiveFailures: 60 });
    expect(running.syncHistory).toEqual(record.syncHistory);
    const done = synced(running, "success", undefined, at(80));
    expect(done).toMatchObject({ lastSyncStatus: "success", lastSyncAt: at(80), consecutiveFailures: 0 });
    expect(done.lastSyncError).toBeUndefined();
  });
});
