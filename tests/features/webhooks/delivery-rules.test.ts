import { Webhook as StandardWebhook } from "standardwebhooks";
import { describe, expect, test } from "vitest";
import { bodyText, withoutValues } from "../../../shared/features/webhooks/attempt.ts";
import { webhook as webhookEntity } from "../../../shared/features/webhooks/entity.ts";
import type { Webhook } from "../../../shared/features/webhooks/entity.ts";
import { FAILING_MS, NO_ATTEMPTS, settled, type Tally, withAttempt } from "../../../shared/features/webhooks/health.ts";
import {
  afterAttempt,
  type Attempted,
  MAX_ATTEMPTS,
  type Outcome,
  outcomeOf,
  retryAfterMs,
  retryDelayMs,
} from "../../../shared/features/webhooks/schedule.ts";
import { signatureHeaders } from "../../../shared/features/webhooks/signature.ts";
import { seededRandom } from "../../support/random.ts";

const NOW = Date.parse("2026-03-01T12:00:00.000Z");
const iso = (offsetMs = 0) => new Date(NOW + offsetMs).toISOString();
const attempted = (outcome: Outcome, more: Partial<Attempted> = {}): Attempted => ({ outcome, at: iso(), durationMs: 5, ...more });
const secretOf = (bytes: number) => `whsec_${btoa(String.fromCharCode(...crypto.getRandomValues(new Uint8Array(bytes))))}`;

describe("the signature", () => {
  test("W02: the official package verifies it for any body, id and length of secret, and refuses every changed part", async () => {
    const { seed, below } = seededRandom("W02 signatures");
    for (let n = 0; n < 40; n++) {
      const secret = secretOf(24 + below(41));
      const text = JSON.stringify({ type: "tenant.created", data: { name: String.fromCodePoint(32 + below(50_000)) } });
      const body = new TextEncoder().encode(text);
      // The package compares with the system clock.
      const headers = { ...await signatureHeaders({ id: `evt_${n}`, timestampMs: Date.now(), body }, [secret]) };
      const receiver = new StandardWebhook(secret);
      expect(receiver.verify(new TextDecoder().decode(body), headers), `seed ${seed}`).toEqual(JSON.parse(text));
      const earlier = String(Number(headers["webhook-timestamp"]) - 1);
      for (const changed of [{ "webhook-id": "evt_x" }, { "webhook-timestamp": earlier }]) {
        expect(() => receiver.verify(text, { ...headers, ...changed }), `seed ${seed}`).toThrow("No matching signature");
      }
      expect(() => receiver.verify(`${text} `, headers), `seed ${seed}`).toThrow("No matching signature");
      expect(() => new StandardWebhook(secretOf(32)).verify(text, headers), `seed ${seed}`).toThrow("No matching signature");
    }
  });

  test("W04: one message has a signature for each valid secret, and a receiver verifies with any of them", async () => {
    const secrets = [secretOf(32), secretOf(32)];
    const body = new TextEncoder().encode("{}");
    const headers = { ...await signatureHeaders({ id: "evt_1", timestampMs: Date.now(), body }, secrets) };
    expect(headers["webhook-signature"]).toMatch(/^v1,\S{44} v1,\S{44}$/);
    for (const secret of secrets) expect(new StandardWebhook(secret).verify("{}", headers)).toEqual({});
  });

  test("W02: a secret that is not whsec_ and base64 is refused before anything is sent", async () => {
    for (const secret of ["", "whsec_", "whsec_%%%", "secret"]) {
      await expect(signatureHeaders({ id: "evt_1", timestampMs: NOW, body: new Uint8Array() }, [secret])).rejects.toMatchObject({
        code: "internal",
      });
    }
  });
});

describe("the schedule", () => {
  test("W05: the attempts follow 0, 5 s, 5 min, 30 min, 2, 5, 10, 14, 20 and 24 h, each delay within 10 %", () => {
    const seconds = [0, 5, 300, 1_800, 7_200, 18_000, 36_000, 50_400, 72_000, 86_400];
    for (const [failed, delay] of seconds.entries()) {
      expect([0, 0.5, 1].map((random) => retryDelayMs(failed, random))).toEqual([900, 1_000, 1_100].map((part) => delay * part));
    }
    expect(retryDelayMs(seconds.length, 0.5)).toBeNull();
    expect(MAX_ATTEMPTS).toBe(10);
  });

  test.each([
    ["120", 120_000],
    [" 0 ", 0],
    ["999999999", 86_400_000],
    ["Sun, 01 Mar 2026 12:05:00 GMT", 300_000],
    ["Sun, 01 Mar 2026 11:00:00 GMT", 0],
    ["Fri, 31 Dec 2027 23:59:59 GMT", 86_400_000],
    ["-5", undefined],
    ["1.5", undefined],
    ["2026-03-01T12:05:00Z", undefined],
    ["soon", undefined],
    ["", undefined],
  ])("W06: Retry-After: %s is a wait of %s ms", (header, ms) => {
    expect(retryAfterMs(header, NOW)).toBe(ms);
  });

  test("W06: the status decides: 2xx is a success, a redirect a failure, 410 the end, 429 and 503 a request to wait", () => {
    const outcomes = [200, 204, 299, 199, 301, 308, 400, 401, 404, 410, 429, 500, 503].map(outcomeOf);
    expect(outcomes).toEqual([
      ...["success", "success", "success", "rejected", "rejected", "rejected", "rejected", "rejected", "rejected"],
      ...["gone", "busy", "rejected", "busy"],
    ]);
  });

  test("W05, W06: a delivery is due after the delay, later if the receiver asks for it, and failed after the tenth attempt or 410", () => {
    const after = (outcome: Outcome, counts: { readonly attemptCount: number; readonly round: number }, more: Partial<Attempted> = {}) =>
      afterAttempt(counts, attempted(outcome, more), 0.5, NOW);
    const first = { attemptCount: 0, round: 0 };
    expect(after("success", first, { responseBody: "ok" })).toEqual(
      { attemptCount: 1, round: 1, status: "success", nextRetryAt: null, deliveredAt: iso(), responseBody: "ok" },
    );
    expect(after("rejected", first)).toMatchObject({ status: "pending", nextRetryAt: iso(5_000) });
    expect(after("busy", first, { retryAfterMs: 60_000 })).toMatchObject({ nextRetryAt: iso(60_000) });
    expect(after("rejected", first, { retryAfterMs: 60_000 })).toMatchObject({ nextRetryAt: iso(60_000) });
    expect(after("busy", { attemptCount: 1, round: 1 }, { retryAfterMs: 1_000 })).toMatchObject({ nextRetryAt: iso(300_000) });
    expect(after("gone", first)).toMatchObject({ status: "failed", nextRetryAt: null });
    expect(after("unreachable", { attemptCount: 9, round: 9 })).toMatchObject({ status: "failed", attemptCount: 10 });
    // A replay begins the schedule again and goes on counting.
    const replayed = after("rejected", { attemptCount: 10, round: 0 });
    expect(replayed).toMatchObject({ status: "pending", attemptCount: 11, round: 1, nextRetryAt: iso(5_000) });
  });
});

describe("an endpoint", () => {
  const endpoint = (more: Partial<Webhook> = {}): Webhook => ({ ...webhookEntity.schema.parse(webhookEntity.example), ...more });
  const tallyOf = (...all: readonly Attempted[]): Tally => all.reduce((tally, each) => withAttempt(tally, each, NOW), NO_ATTEMPTS);
  const lost = attempted("unreachable");

  test("W13: without a response it is paused for 5 s, then 10 s, doubling up to 5 min, however many requests failed together", () => {
    let current = endpoint();
    const pauses: number[] = [];
    for (let round = 0; round < 8; round++) {
      const { after } = settled(current, tallyOf(lost, lost, lost), iso(), NOW);
      pauses.push((Date.parse(after.pausedUntil ?? "") - NOW) / 1_000);
      expect(after.dueAt).toBe(after.pausedUntil);
      current = after;
    }
    expect(pauses).toEqual([5, 10, 20, 40, 80, 160, 300, 300]);
    expect(current.failureCount).toBe(24);
    const { after } = settled(current, tallyOf(attempted("success")), iso(-1_000), NOW);
    expect(after).toMatchObject({ failureCount: 0, failingSince: null, dueAt: iso(-1_000), lastDeliveryStatus: "success" });
    expect(after).not.toHaveProperty("pausedUntil");
    expect(after).not.toHaveProperty("pauseSeconds");
  });

  test("W06: Retry-After of 429 and 503 holds back all its deliveries, and that of another failure does not", () => {
    const dueAfter = (outcome: Outcome) =>
      settled(endpoint(), tallyOf(attempted(outcome, { retryAfterMs: 60_000 })), iso(), NOW).after.dueAt;
    expect(dueAfter("busy")).toBe(iso(60_000));
    expect(dueAfter("rejected")).toBe(iso());
  });

  test("W12: it is disabled at the first failure 5 days after the first one without a success between them", () => {
    const since = (ms: number, more: Partial<Webhook> = {}) =>
      endpoint({ failingSince: iso(-ms), lastDeliveryAt: iso(-3_600_000), ...more });
    const fails = tallyOf(attempted("rejected"));
    expect(settled(since(FAILING_MS - 1), fails, iso(), NOW).turn).toBeNull();
    const { after, turn } = settled(since(FAILING_MS), fails, iso(), NOW);
    expect(turn).toBe("failing");
    expect(after).toMatchObject({ enabled: false, status: "failed", disabledReason: "failing", disabledAt: iso(), dueAt: iso() });
    expect(settled(since(FAILING_MS), tallyOf(attempted("success"), attempted("rejected")), iso(), NOW).turn).not.toBe("failing");
    // Nobody tried it for two days, in which it may have worked.
    const quiet = settled(since(FAILING_MS, { lastDeliveryAt: iso(-48 * 3_600_000 - 1) }), fails, iso(), NOW);
    expect(quiet).toMatchObject({ turn: null, after: { failingSince: iso() } });
  });

  test("W06: 410 disables it, whatever came with it", () => {
    for (const tally of [tallyOf(attempted("gone")), tallyOf(attempted("gone"), attempted("success")), tallyOf(lost, attempted("gone"))]) {
      const { after, turn } = settled(endpoint(), tally, null, NOW);
      expect(turn).toBe("gone");
      expect(after).toMatchObject({ enabled: false, status: "disabled", disabledReason: "gone", dueAt: null });
    }
  });

  test.each(
    [
      ["after 61 s of failures", { failingSince: iso(-61_000), lastDeliveryStatus: "failed" }, "recovered"],
      ["after 60 s of failures", { failingSince: iso(-60_000), lastDeliveryStatus: "failed" }, null],
      ["after it was enabled again", { failingSince: null, lastDeliveryStatus: "failed" }, "recovered"],
      ["while it works", { failingSince: null, lastDeliveryStatus: "success" }, null],
    ] as const,
  )("W20: a success %s makes it: %s", (_, before, turn) => {
    expect(settled(endpoint(before), tallyOf(attempted("success")), null, NOW).turn).toBe(turn);
  });

  test("W12: a disabled one stays as it is when requests end that were in flight", () => {
    const stopped = endpoint({ enabled: false, status: "disabled", disabledReason: "by_request" });
    for (const outcome of ["success", "gone", "rejected"] as const) {
      const after = settled(stopped, tallyOf(attempted(outcome)), null, NOW);
      expect(after).toMatchObject({ turn: null, after: { enabled: false, disabledReason: "by_request" } });
    }
  });
});

test("W08: a response is shown as text without control characters, and binary as its size", () => {
  const bytes = (text: string) => new TextEncoder().encode(text);
  expect(bodyText(bytes("fine\n\ttoo"))).toBe("fine\n\ttoo");
  expect(bodyText(bytes("a\u0000b\u001b[31m"))).toBe("a\ufffdb\ufffd[31m");
  expect(bodyText(bytes("paid \u202eon\u2069"))).toBe("paid \ufffdon\ufffd");
  expect(bodyText(Uint8Array.from([0xff, 0xfe, 0x00]))).toBe("(binary, 3 bytes)");
  expect(bodyText(bytes("grün").slice(0, 3))).toBe("gr");
});

test.each([
  ["sent back once or more", "a hunter2-hunter2 b hunter2-hunter2", "a [redacted] b [redacted]"],
  ["in JSON", String.raw`{"x": "with \"quotes\" in it"}`, '{"x": "[redacted]"}'],
  ["cut at the end of the text", "the header was hunter2-hun", "the header was [redacted]"],
  ["that begins with another value", "hunter2-hunter2-and-more", "[redacted]"],
  ["of which only five characters are left", "the header was hunte", "the header was hunte"],
  ["that is an ordinary word", "it is on", "it is on"],
])("I04: a header's value %s is not kept with the response", (_, text, kept) => {
  expect(withoutValues(text, ["hunter2-hunter2", "hunter2-hunter2-and-more", 'with "quotes" in it', "on"])).toBe(kept);
});
