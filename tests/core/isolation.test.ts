import { afterAll, beforeAll, describe, expect, it } from "vitest";
import type { Services } from "../../shared/container.ts";
import { entityOfKey, registry } from "../../shared/features/registry.ts";
import { keyOf } from "../../shared/kv/define.ts";
import type { StoredTenant } from "../../shared/features/tenants/service.ts";
import { codeOf } from "../support/store.ts";
import { hotel, openTestContext, userOf } from "../support/test-context.ts";

let context: Awaited<ReturnType<typeof openTestContext>>;
let own: StoredTenant;
let other: StoredTenant;
let bound: Services;
beforeAll(async () => {
  context = await openTestContext();
  own = await context.tenant({ subdomain: "own-house", customDomain: "stay.own.example" });
  other = await context.tenant({ subdomain: "other-house", customDomain: "stay.other.example" });
  bound = context.as(userOf(own.id));
});
afterAll(() => context.close());

describe("a caller bound to one tenant", () => {
  it("T14: finds its own tenant, and no other one by any name", async () => {
    expect((await bound.TenantService.get(own.id))?.id).toBe(own.id);
    for (const name of [own.id, "own-house", "stay.own.example"]) expect((await bound.TenantService.resolve(name))?.id, name).toBe(own.id);
    for (const name of [other.id, `tenant:${other.id}`, "other-house", "stay.other.example"]) {
      expect(await bound.TenantService.resolve(name), name).toBeNull();
      expect(await bound.TenantService.get(name), name).toBeNull();
    }
    expect((await bound.TenantService.list()).data.map(({ id }) => id)).toEqual([own.id]);
    expect((await bound.TenantService.list({ search: "other" })).pagination.total).toBe(0);
  });

  it("T14: gets the same result for another tenant as for one that does not exist", async () => {
    const calls = (id: string): [string, () => Promise<unknown>][] => [
      ["update", () => bound.TenantService.update(id, { name: "Mine now" })],
      ["suspend", () => bound.TenantService.suspend(id, "x")],
      ["cancel", () => bound.TenantService.cancel(id)],
      ["delete", () => bound.TenantService.delete(id)],
      ["dry run", () => bound.TenantService.remove(id, { dryRun: true })],
      ["subscription", () => bound.SubscriptionService.get(id)],
      ["upsert", () => bound.SubscriptionService.upsert(id, { planId: "Basic" })],
      ["cancel subscription", () => bound.SubscriptionService.cancel(id)],
      ["usage", () => bound.UsageService.get(id, "rooms")],
      ["all usage", () => bound.UsageService.getAll(id)],
      ["increment", () => bound.UsageService.increment(id, "rooms", 1)],
      ["increment with limit", () => bound.UsageService.increment(id, "rooms", 1, 5)],
      ["increment once", () => bound.UsageService.increment(id, "rooms", 1, undefined, undefined, { idempotencyKey: "x" })],
      ["record", () => bound.UsageService.record(id, "rooms", 1, 5)],
      ["check", () => bound.UsageService.check(id, "rooms", 1)],
    ];
    const before = await context.dump();
    const missing = calls("tn_1767225600000_aaaaaaaaaaaa");
    for (const [i, [name, call]] of calls(other.id).entries()) {
      const answer = await codeOf(call());
      expect(answer, name).toBe(await codeOf(missing[i]?.[1]() ?? Promise.resolve()));
    }
    expect(await context.dump()).toEqual(before);
  });

  it("T14: cannot create a tenant, a plan or an entry in another's chain", async () => {
    // The key of the user's personal data is stored before the commit that is refused.
    const dumped = async () => (await context.dump()).filter(({ key }) => !key.startsWith("personalkey:"));
    const before = await dumped();
    expect(await codeOf(bound.TenantService.create(hotel("stolen")))).not.toMatch(/^no error/);
    const limits = { users: 1, properties: 1, rooms: 1, bookings: 1, api_calls: 1, storage: 1, customDomains: 1 };
    expect(await codeOf(bound.PlanService.create({ name: "Free", price: 0, currency: "USD", interval: "monthly", limits }))).not.toMatch(
      /^no error/,
    );
    expect(await codeOf(bound.PlanService.update("Pro", { price: 0 }))).not.toMatch(/^no error/);
    expect(await codeOf(bound.AuditService.log("room.opened", "c", "d", { tenantId: other.id }))).not.toMatch(/^no error/);
    expect(await codeOf(bound.TenantService.delete(own.id))).not.toMatch(/^no error, but true/);
    expect(await dumped()).toEqual(before);
  });

  it("T14: reads the plans and changes its own tenant, and its audit entries and events belong to that tenant", async () => {
    expect((await bound.PlanService.list()).pagination.total).toBe(4);
    expect((await bound.TenantService.update(own.id, { name: "Own hand" }))?.name).toBe("Own hand");
    expect((await context.auditOf(own.id)).at(-1)).toMatchObject({
      action: "tenant.updated",
      actor: { type: "user", id: "user-1" },
      tenantId: own.id,
    });
    const events = (await context.dump("outbox")).filter(({ value }) => (value as { type: string }).type === "tenant.updated");
    expect(events).toMatchObject([{ tenantId: own.id, value: { tenantId: own.id, subject: own.id } }]);
  });

  it("T14: is refused a name that another tenant holds, like any caller, and can claim a free one", async () => {
    expect(await codeOf(bound.TenantService.update(own.id, { subdomain: "other-house" }))).toBe("subdomain_taken");
    expect(await codeOf(bound.TenantService.update(own.id, { customDomain: "stay.other.example" }))).toBe("forbidden");
    expect((await bound.TenantService.update(own.id, { subdomain: "own-home" }))?.subdomain).toBe("own-home");
    expect((await context.TenantService.resolve("own-home"))?.id).toBe(own.id);
  });
});

describe("the plain kv interface", () => {
  it("K28: refuses keys of no declared entity and values that do not match theirs, and stores nothing", async () => {
    const { kv } = context;
    const before = await context.dump();
    for (const key of ["unknown:1", "tenant", "tenant:a:b", "usage:tn_1:rooms", "plan", "kv:x"]) {
      for (
        const call of [
          () => kv.get(key),
          () => kv.set(key, {}),
          () => kv.del(key),
          () => kv.mget([key]),
          () => kv.mdel([key]),
          () => kv.mset([key], [{}]),
        ]
      ) {
        expect(await codeOf(call), key).toBe("undeclared_entity");
      }
    }
    for (const prefix of ["unknown:", "", "tenan"]) expect(await codeOf(() => kv.getByPrefix(prefix)), prefix).not.toMatch(/^no error/);
    for (const value of [{}, null, "text", { ...plain("Bad"), price: 1.5 }, { ...plain("Bad"), id: undefined }]) {
      expect(await codeOf(() => kv.set("plan:Bad", value as never)), JSON.stringify(value)).toBe("validation_failed");
    }
    expect(await context.dump()).toEqual(before);
  });

  it("K28: a value that names another key than its own is refused", async () => {
    expect(await codeOf(() => context.kv.set("plan:A", plain("B")))).not.toMatch(/^no error/);
    expect(await context.kv.get("plan:A")).toBeNull();
  });

  it("K28: the seven calls keep the order of keys, return null for missing ones, and list every entry", async () => {
    const { kv } = context;
    await kv.set("plan:Z1", plain("Z1"));
    await kv.mset(["plan:Z2", "plan:Z3"], [plain("Z2"), plain("Z3")]);
    expect(await kv.get("plan:Z1")).toMatchObject({ id: "Z1" });
    expect((await kv.mget(["plan:Z3", "plan:none", "plan:Z1"])).map((value) => (value as { id?: string } | null)?.id ?? null)).toEqual([
      "Z3",
      null,
      "Z1",
    ]);
    expect((await kv.getByPrefix("plan:")).map((value) => (value as { id: string }).id)).toEqual([
      "Basic",
      "Enterprise",
      "Pro",
      "Trial",
      "Z1",
      "Z2",
      "Z3",
    ]);
    expect(await codeOf(() => kv.mset(["plan:Z4"], []))).not.toMatch(/^no error/);
    await kv.mdel(["plan:Z1", "plan:Z2"]);
    await kv.del("plan:Z3");
    expect(await kv.mget(["plan:Z1", "plan:Z2", "plan:Z3"])).toEqual([null, null, null]);
  });

  it("K28: a tenant's caller reaches only its own keys", async () => {
    const key = `subscription:${other.id}`;
    expect(await bound.kv.get(key)).toBeNull();
    expect(await codeOf(() => bound.kv.set(key, { ...(example("subscription")), tenantId: other.id }))).not.toMatch(/^no error/);
    await bound.kv.del(key);
    expect(await context.kv.get(key)).not.toBeNull();
    expect(await bound.kv.getByPrefix("subscription:")).toHaveLength(1);
  });

  it("K28: a stored row that does not match its declaration is an error that names its key and field, and no value", async () => {
    const { id } = await context.tenant();
    const entry = await context.store.get(`tenant:${id}`);
    await context.store.set(`tenant:${id}`, { ...(entry?.value as object), owner: "s3cret-value" });
    const error = await context.TenantService.get(id).then(() => null, (thrown: unknown) => thrown as Error);
    expect(error).toMatchObject({ code: "internal" });
    expect(error?.message).toContain(`tenant:${id}`);
    expect(error?.message).toContain("/owner");
    expect(error?.message).not.toContain("s3cret-value");
    await context.store.set(`tenant:${id}`, entry?.value ?? {});
  });

  it("H24: every stored time is UTC RFC 3339 with milliseconds, every key of a declared shape", async () => {
    const INSTANT = /^\d{4}-\d{2}-\d{2}T\d{2}:\d{2}:\d{2}\.\d{3}Z$/;
    for (const { key, value } of await context.dump()) {
      for (const [field, at] of Object.entries(value as object)) {
        if (/(At|timestamp|currentPeriodStart|currentPeriodEnd)$/.test(field)) expect(at, `${key} ${field}`).toMatch(INSTANT);
      }
      expect(entityOfKey(key), key).not.toBeNull();
    }
  });
});

function example(name: string): Record<string, never> {
  return { ...registry.find((entity) => entity.name === name)?.example } as Record<string, never>;
}

function plain(id: string): Record<string, never> {
  const plan = { ...example("plan"), id: id as never };
  const entity = registry.find((candidate) => candidate.name === "plan");
  if (!entity || keyOf(entity, plan) !== `plan:${id}`) throw new Error("not the key of a plan");
  return plan;
}
