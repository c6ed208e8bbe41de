import { expect } from "vitest";
import { outboxEvent } from "../../../shared/core/outbox-event.ts";
import type { JsonObject, JsonValue } from "../../../shared/kernel/json.ts";
import type { TestContext } from "../../support/test-context.ts";
import { writeChain } from "../retention/chain-of.ts";
import type { Killed } from "./killed.test.ts";

const DAY_MS = 24 * 3_600_000;
const OLD_MS = 800 * DAY_MS;
const [CHAIN, OLD_OF_CHAIN] = [600, 540];

type Put = (family: string, count: number, value: (id: string) => JsonValue, of?: string | null) => Promise<string[]>;

function putter({ store }: TestContext): Put {
  let made = 0;
  return async (family, count, value, tenantId = null) => {
    const keys = Array.from({ length: count }, () => family.replace("*", `k${++made}`));
    for (let at = 0; at < keys.length; at += 500) {
      const pairs = keys.slice(at, at + 500).map((key) => [key, value(key)] as const);
      await store.mset(pairs, family.startsWith("usage") ? {} : { tenantId, cascades: false });
    }
    return keys;
  };
}

/** Old and young records of each kind, expired entries, long audit chains, and a tenant under legal hold. */
export async function cleanup(context: TestContext): Promise<Killed> {
  const { clock, store } = context;
  const tenants = await Promise.all(Array.from({ length: 4 }, () => context.tenant()));
  const held = await context.tenant({ metadata: { legalHold: true } });
  const put = putter(context);
  const usage = (tenantId: string, ageMs: number) => () => ({
    tenantId,
    metric: "users",
    period: "2020-01",
    createdAt: clock.iso(-ageMs),
    updatedAt: clock.iso(-ageMs),
  });
  const event = (ageMs: number) => (key: string) => ({
    id: key.slice(7),
    type: "x.y",
    subject: "s",
    data: {},
    createdAt: clock.iso(-ageMs),
  });
  const letter = (ageMs: number) => (key: string) => ({
    id: key.slice(5),
    job: "none",
    item: "i",
    status: "dead",
    attempts: 8,
    error: { code: "internal", message: "x" },
    createdAt: clock.iso(-ageMs),
  });
  const gone: Record<string, string[]> = { "usage-record": [], "outbox-event": [], "dead-letter": [], expired: [] };
  const kept: string[] = [];
  for (const { id } of tenants) {
    gone["usage-record"]?.push(...await put(`usage:${id}:*:2020-01`, 300, usage(id, OLD_MS)));
    kept.push(...await put(`usage:${id}:*:2026-01`, 50, usage(id, 0)));
    await writeChain(context, id, CHAIN, OLD_OF_CHAIN);
  }
  kept.push(...await put(`usage:${held.id}:*:2020-01`, 150, usage(held.id, OLD_MS)));
  gone["outbox-event"]?.push(...await put("outbox:*", 1_500, event(OLD_MS)));
  kept.push(...await put("outbox:*", 200, event(0)), ...await put("outbox:*", 150, event(OLD_MS), held.id));
  gone["dead-letter"]?.push(...await put("dead:*", 400, letter(OLD_MS)));
  const expiring = Array.from({ length: 500 }, (_, i) => [`note:e${i}`, 1] as const);
  for (let at = 0; at < expiring.length; at += 500) await store.mset(expiring.slice(at, at + 500), { expiresAt: clock.iso(1) });
  kept.push(...await put("note:*", 100, () => 1));
  // Those of the context's beginning and of other jobs are old, too, and those on hold stay.
  const cutoff = clock.iso(-31 * DAY_MS);
  let oldEvents = 0;
  return {
    begin: async () => void (oldEvents = await store.count({ entity: outboxEvent, where: [{ field: "createdAt", to: cutoff }] }) - 150),
    check: async () => {
      for (const [type, keys] of Object.entries(gone)) {
        expect([type, (await store.mget(keys)).filter((entry) => entry !== null).length]).toEqual([type, 0]);
      }
      expect((await store.mget(kept)).filter((entry) => entry === null)).toEqual([]);
      // Each deletion is counted in the commit that deletes, so a record that was deleted twice would be counted twice.
      const applied = (await context.auditOf(null)).filter(({ action }) => action === "policy.applied").map(({ data }) =>
        data as JsonObject
      );
      const counts = { "usage-record": 4 * 300, "outbox-event": oldEvents, "dead-letter": 400, "audit-entry": 4 * OLD_OF_CHAIN };
      for (const [type, count] of Object.entries(counts)) {
        const sum = applied.filter((data) => data["type"] === type).reduce((total, data) => total + Number(data["deleted"]), 0);
        expect([type, sum]).toEqual([type, count]);
      }
      expect(await store.count("retentionrun")).toBe(0);
      for (const { id } of tenants) {
        // The other jobs write to the chain, too.
        expect(await context.as().AuditService.verify(id)).toMatchObject({ ok: true, deletedTo: OLD_OF_CHAIN });
      }
    },
  };
}
