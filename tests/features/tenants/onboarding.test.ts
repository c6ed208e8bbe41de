import { afterAll, beforeAll, describe, expect, it } from "vitest";
import type { Store } from "../../../shared/kv/store.ts";
import { codeOf } from "../../support/store.ts";
import { hotel, openTestContext } from "../../support/test-context.ts";

let context: Awaited<ReturnType<typeof openTestContext>>;
beforeAll(async () => void (context = await openTestContext()));
afterAll(() => context.close());

/** The number of calls by outcome: "done" or an error code. */
async function outcomesOf(calls: readonly Promise<unknown>[]): Promise<Record<string, number>> {
  const codes = await Promise.all(calls.map(async (call) => {
    const code = await codeOf(call);
    return code.startsWith("no error") ? "done" : code;
  }));
  return codes.reduce<Record<string, number>>((counts, code) => ({ ...counts, [code]: (counts[code] ?? 0) + 1 }), {});
}

describe("onboarding", () => {
  it("T21: one call creates tenant, claims, subscription, usage with the plan's limits, audit entry and event", async () => {
    const created = await context.tenant({ subdomain: "complete", customDomain: "stay.complete.example" });
    const own = (await context.dump()).filter(({ tenantId }) => tenantId === created.id);
    const counts = own.reduce<Record<string, number>>(
      (sum, { key }) => ({ ...sum, [key.split(":")[0] ?? ""]: (sum[key.split(":")[0] ?? ""] ?? 0) + 1 }),
      {},
    );
    const records = { tenant: 1, subdomain: 1, domain: 1, subscription: 1, entitlements: 1, movement: 1, usage: 6, audit: 1, outbox: 1 };
    expect(counts).toEqual(records);
    expect(await context.SubscriptionService.get(created.id)).toMatchObject({
      planId: "Pro",
      status: "active",
      currentPeriodStart: created.createdAt,
      currentPeriodEnd: "2026-04-01T12:00:00.000Z",
      cancelAtPeriodEnd: false,
    });
    const pro = await context.PlanService.get("Pro");
    for (const usage of await context.UsageService.getAll(created.id)) {
      expect(usage).toMatchObject({ current: 0, limit: pro?.limits[usage.metric], period: "2026-03", percentage: 0 });
    }
    const event = own.find(({ key }) => key.startsWith("outbox:"))?.value;
    expect(event).toMatchObject({ type: "tenant.created", tenantId: created.id, subject: created.id });
  });

  it("T21: a trial's subscription runs until the trial ends", async () => {
    const created = await context.TenantService.create({ ...hotel("trying"), plan: "Trial", status: "trial" });
    expect(await context.SubscriptionService.get(created.id)).toMatchObject({ status: "trialing", currentPeriodEnd: created.trialEndsAt });
  });

  it("T21: a name that is taken leaves nothing behind", async () => {
    await context.tenant({ subdomain: "first", customDomain: "stay.first.example" });
    const before = await context.dump();
    expect(await codeOf(context.tenant({ subdomain: "first" }))).toBe("subdomain_taken");
    expect(await codeOf(context.tenant({ subdomain: "second", customDomain: "stay.first.example" }))).toBe("domain_taken");
    expect(await context.dump()).toEqual(before);
  });

  it("T21: the same idempotency key returns the same tenant, and another request with it is refused", async () => {
    const first = await context.TenantService.create(hotel("once"), { idempotencyKey: "k-1" });
    const second = await context.TenantService.create(hotel("once"), { idempotencyKey: "k-1" });
    expect(second).toEqual(first);
    expect(await codeOf(context.TenantService.create(hotel("twice"), { idempotencyKey: "k-1" }))).toBe("idempotency_mismatch");
    expect(await codeOf(context.TenantService.create(hotel("twice"), { idempotencyKey: "" }))).toBe("validation_failed");
    expect(await context.auditOf(first.id)).toHaveLength(1);
  });

  it("T21: the same idempotency key of another caller is another key", async () => {
    await context.TenantService.create(hotel("mine"), { idempotencyKey: "shared" });
    const other = context.as({ actor: { type: "admin", id: "admin-2" } });
    expect((await other.TenantService.create(hotel("theirs"), { idempotencyKey: "shared" })).subdomain).toBe("theirs");
  });

  it("T21: 20 racing sends of one onboarding create one tenant and all return it", async () => {
    const stores = await context.racers(20);
    for (let round = 0; round < 10; round++) {
      const answers = await Promise.all(
        stores.map((store) => context.over(store).TenantService.create(hotel(`racing-${round}`), { idempotencyKey: `race-${round}` })),
      );
      expect(new Set(answers.map(({ id }) => id)).size).toBe(1);
    }
  });

  it("T21: the key is forgotten after 24 hours, to the millisecond", async () => {
    const { id } = await context.TenantService.create(hotel("expiring"), { idempotencyKey: "day" });
    context.clock.advance(24 * 3_600_000 - 1);
    expect((await context.TenantService.create(hotel("expiring"), { idempotencyKey: "day" })).id).toBe(id);
    context.clock.advance(1);
    expect(await codeOf(context.TenantService.create(hotel("expiring"), { idempotencyKey: "day" }))).toBe("subdomain_taken");
  });

  it("K25: of 50 racing creations of one subdomain exactly one wins, in each of 10 rounds", async () => {
    const stores: Store[] = await context.racers(25);
    for (let round = 0; round < 10; round++) {
      const calls = [...stores, ...stores].map((store) => context.over(store).TenantService.create(hotel(`wanted-${round}`)));
      expect(await outcomesOf(calls)).toEqual({ done: 1, subdomain_taken: 49 });
    }
    const wanted = await context.TenantService.list({ search: "wanted-" }, undefined, { limit: 100 });
    expect(wanted.pagination.total).toBe(10);
    expect((await context.dump("subdomain")).filter(({ key }) => key.startsWith("subdomain:wanted-"))).toHaveLength(10);
  });

  it("W16: an outgoing event is stored if and only if its change is", async () => {
    const before = new Set((await context.dump("outbox")).map(({ key }) => key));
    const { id, version } = await context.tenant({ subdomain: "eventful" });
    await context.TenantService.update(id, { name: "Changed" });
    expect(await codeOf(context.tenant({ subdomain: "eventful" }))).toBe("subdomain_taken");
    expect(await codeOf(context.TenantService.update(id, { name: "Stale" }, { ifMatch: [version] }))).toBe("precondition_failed");
    await context.TenantService.update(id, { name: "Changed" });
    const events = (await context.dump("outbox")).filter(({ key }) => !before.has(key)).map(({ value }) =>
      (value as { type: string }).type
    );
    expect(events.sort()).toEqual(["tenant.created", "tenant.updated"]);
  });

  it("K34: racing updates leave one event and one audit entry for every change", async () => {
    const { id } = await context.tenant({ subdomain: "contended" });
    const outcome = await outcomesOf(Array.from({ length: 12 }, (_, i) => context.TenantService.update(id, { name: `Name ${i}` })));
    const events = (await context.dump("outbox")).filter(({ value }) => (value as { subject: string }).subject === id);
    expect(Object.keys(outcome).filter((code) => !["done", "write_conflict"].includes(code))).toEqual([]);
    expect(events).toHaveLength(1 + (outcome["done"] ?? 0));
    expect((await context.auditOf(id)).map(({ seq }) => seq)).toEqual(events.map((_, i) => i + 1));
  });
});
