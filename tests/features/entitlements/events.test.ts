import { afterAll, beforeAll, expect, it } from "vitest";
import type { GrantCreate } from "../../../shared/features/entitlements/service.ts";
import { isInnkeepError } from "../../../shared/kernel/errors.ts";
import type { JsonObject } from "../../../shared/kernel/json.ts";
import { type Random, seededRandom } from "../../support/random.ts";
import { openTestContext } from "../../support/test-context.ts";

let context: Awaited<ReturnType<typeof openTestContext>>;
beforeAll(async () => void (context = await openTestContext()));
afterAll(() => context.close());

const TENANTS = 5;
const STEPS = 250;
const HOUR = 3_600_000;

function anyGrant(random: Random, iso: (offsetMs: number) => string): GrantCreate {
  const source = random.pick(["override", "grant", "trial"] as const);
  const expiry = random.below(2) === 0 ? {} : { expiresAt: iso((1 + random.below(20)) * HOUR) };
  return random.below(2) === 0
    ? {
      kind: "feature",
      key: random.pick(["sso", "api", "front-desk"]),
      value: source !== "override" || random.below(2) === 0,
      source,
      ...expiry,
    }
    : { kind: "limit", key: random.pick(["rooms", "customDomains"]), value: random.pick([null, 0, 5, 50]), source, ...expiry };
}

async function step(random: Random, id: string): Promise<unknown> {
  const { TenantService, SubscriptionService, GrantService, UsageService } = context;
  const grants = async () => (await GrantService.list(id, {}, undefined, { limit: 100 })).data;
  const plan = random.pick(["Basic", "Pro", "Enterprise"]);
  const steps = [
    () => TenantService.update(id, { plan }),
    () => SubscriptionService.upsert(id, { planId: plan }),
    () => SubscriptionService.upsert(id, { paymentMethod: random.pick(["card", "wire"] as const) }),
    () => SubscriptionService.cancel(id, random.below(2) === 0),
    () => SubscriptionService.reactivate(id),
    () => TenantService.suspend(id, "unpaid"),
    () => TenantService.unsuspend(id),
    () => TenantService.cancel(id),
    () => TenantService.reactivate(id),
    () => TenantService.update(id, { name: `Renamed ${random.below(1_000)}` }),
    () => UsageService.increment(id, "rooms", 1),
    () => GrantService.create(id, anyGrant(random, context.clock.iso)),
    () => GrantService.create(id, anyGrant(random, context.clock.iso)),
    async () => GrantService.update(id, random.pick(await grants()).id, { reason: "x", expiresAt: context.clock.iso(5 * HOUR) }),
    async () => GrantService.delete(id, random.pick(await grants()).id),
    () => context.JobService.run("entitlements"),
  ];
  return await random.pick(steps)();
}

function shuffled<T>(random: Random, items: readonly T[]): T[] {
  const left = [...items];
  return items.map(() => left.splice(random.below(left.length), 1)[0] as T);
}

it("CP17: a receiver that keeps the highest revision of the events, in any order, ends equal to the entitlements", async () => {
  const random = seededRandom("entitlements events");
  const tenants = await Promise.all(Array.from({ length: TENANTS }, () => context.tenant({ plan: "Basic" })));
  let refused = 0;
  for (let i = 0; i < STEPS; i++) {
    context.clock.advance(random.below(2 * HOUR));
    try {
      await step(random, random.pick(tenants).id);
    } catch (error) {
      // A step that the state does not allow, or a choice of no grants.
      if (!isInnkeepError(error) && !(error instanceof Error && error.message === "nothing to pick from")) throw error;
      refused++;
    }
  }
  await context.JobService.run("entitlements");
  const events = (await context.dump("outbox")).map(({ value }) => value as JsonObject);
  const carried = events.filter(({ data }) => "entitlements" in (data as JsonObject));
  expect(refused).toBeLessThan(STEPS / 2);
  expect(carried.length).toBeGreaterThan(TENANTS * 10);
  for (let round = 0; round < 5; round++) {
    const received = new Map<unknown, JsonObject>();
    for (const { tenantId, data } of shuffled(random, carried)) {
      const next = (data as JsonObject)["entitlements"] as JsonObject;
      const known = received.get(tenantId);
      if (known?.["revision"] === next["revision"]) expect(next).toEqual(known);
      if (!known || Number(next["revision"]) > Number(known["revision"])) received.set(tenantId, next);
    }
    for (const { id } of tenants) {
      const { revision, active, features, limits } = await context.EntitlementService.get(id) ?? {};
      expect(received.get(id), `${id}, SEED=${random.seed}`).toEqual({ revision, active, features, limits });
      const rooms = limits?.find(({ key }) => key === "rooms")?.limit;
      expect((await context.UsageService.get(id, "rooms"))?.limit, `${id}, SEED=${random.seed}`).toBe(rooms);
    }
  }
});

it("CP17: an event carries the entitlements whole, also with as many features and grants as there can be", async () => {
  const name = (i: number) => `${i}`.padEnd(100, "x");
  const features = Array.from({ length: 200 }, (_, i) => name(i));
  await context.PlanService.create({ name: "Wide", price: 1, currency: "USD", interval: "monthly", limits: {}, features });
  const { id } = await context.tenant({ plan: "Wide" });
  for (let i = 0; i < 100; i++) await context.GrantService.create(id, { kind: "feature", key: name(1_000 + i), value: true });
  context.clock.advance(1);
  await context.TenantService.suspend(id, "unpaid");
  const events = (await context.dump("outbox")).map(({ value }) => value as JsonObject);
  const carried = events.filter(({ tenantId }) => tenantId === id).at(-1)?.["data"] as JsonObject;
  const { revision, active, limits, features: all } = await context.EntitlementService.get(id) ?? {};
  expect(all).toHaveLength(300);
  expect(carried["entitlements"]).toEqual({ revision, active, features: all, limits });
});
