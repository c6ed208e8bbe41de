import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { postgresDriver } from "../../shared/kv/drivers/postgres.ts";
import { createStore } from "../../shared/kv/sql-store.ts";
import type { Store } from "../../shared/kv/store.ts";
import { codeOf } from "../support/store.ts";
import { startTcpProxy } from "../support/tcp-proxy.ts";
import { hotel, openTestContext } from "../support/test-context.ts";

let context: Awaited<ReturnType<typeof openTestContext>>;

beforeAll(async () => {
  context = await openTestContext();
});

afterAll(() => context.close());

/** The store with some methods replaced. */
function around(store: Store, methods: { readonly [N in keyof Store]?: Store[N] }): Store {
  return new Proxy(store, {
    get(target, name) {
      const own = methods[name as keyof Store] ?? Reflect.get(target, name) as unknown;
      return typeof own === "function" ? own.bind(target) as unknown : own;
    },
  });
}

describe("a call with an idempotency key", () => {
  it("H03: returns its result again after the connection broke just after the commit", async () => {
    const proxy = await startTcpProxy(context.database.appUrl);
    const direct = createStore(postgresDriver({ connectionString: proxy.url, max: 1 }), { clock: context.clock });
    const losing = around(direct, {
      commit: (...given) => {
        proxy.loseNextAnswer();
        return direct.commit(...given);
      },
    });
    const calls: ((services: typeof context) => Promise<unknown>)[] = [
      ({ TenantService }) => TenantService.create(hotel("lost"), { idempotencyKey: "lost-1" }),
      ({ PlanService }) => PlanService.update("Pro", { description: "Lost" }, { idempotencyKey: "lost-2" }),
    ];
    for (const call of calls) {
      const before = (await context.dump("audit")).length;
      expect(await codeOf(call(context.over(losing) as typeof context))).toBe("commit_unknown");
      const again = await call(context) as { version: string; id: string };
      expect(again).toEqual(await (again.id.startsWith("tn_") ? context.TenantService.get(again.id) : context.PlanService.get("Pro")));
      expect((await context.dump("audit")).length).toBe(before + 1);
    }
    await direct.close();
    await proxy.close();
  });

  it("H03: costs one round trip more than without, and without a key nothing more", async () => {
    const { id } = await context.tenant();
    const names: string[] = [];
    const counting = new Proxy(context.store, {
      get(target, name) {
        const value = Reflect.get(target, name) as unknown;
        if (typeof value !== "function") return value;
        return (...given: unknown[]) => {
          names.push(String(name));
          return value.apply(target, given) as unknown;
        };
      },
    });
    const { TenantService } = context.over(counting);
    const callsOf = async (call: () => Promise<unknown>) => {
      names.length = 0;
      await call();
      return names.join();
    };
    const plain = await callsOf(() => TenantService.update(id, { name: "One" }));
    expect(plain).toBe("get,commit");
    expect(await callsOf(() => TenantService.update(id, { name: "Two" }, { idempotencyKey: "cost" }))).toBe("mget,get,commit");
    expect(await callsOf(() => TenantService.update(id, { name: "Two" }, { idempotencyKey: "cost" }))).toBe("mget");
  });

  it("H03: returns its whole result again, also one as long as a record can be, in any script", async () => {
    const settings = { latin: "x".repeat(120_000), accents: 'é\u0001"\\'.repeat(5_000), houses: "🏨".repeat(10_000) };
    const first = await context.TenantService.create({ ...hotel("long"), settings }, { idempotencyKey: "long" });
    await context.TenantService.update(first.id, { settings: { latin: null, accents: null, houses: null } });
    const again = await context.TenantService.create({ ...hotel("long"), settings }, { idempotencyKey: "long" });
    expect(JSON.stringify(again)).toBe(JSON.stringify(first));
  });

  it("H03: returns the result of another process that made the same call during its decision", async () => {
    const { id, version } = await context.tenant();
    const late = (call: (services: typeof context) => Promise<unknown>) => {
      let looks = 0;
      const store = around(context.store, {
        mget: async (keys) => {
          const found = await context.store.mget(keys);
          if (keys[0]?.startsWith("idem:") && ++looks === 1) await call(context);
          return found;
        },
      });
      return call(context.over(store) as typeof context);
    };
    const renamed = await late(({ TenantService }) =>
      TenantService.update(id, { name: "Once" }, { idempotencyKey: "late-1", ifMatch: [version] })
    );
    expect(renamed).toMatchObject({ name: "Once", version: (await context.TenantService.get(id))?.version });
    const report = await late(({ TenantService }) => TenantService.remove(id, { idempotencyKey: "late-2" }));
    expect(report).toMatchObject({ tenantId: id, dryRun: false, removed: { tenant: 1, subscription: 1 } });
  });

  it("H03: is refused if its key was used with another request", async () => {
    const { AdminUserService, UsageService } = context;
    const { id } = await context.tenant();
    const admin = (userId: string) => ({ userId, email: `${userId}@innkeep.example`, name: "Ada", role: "admin" as const });
    const count = (limit?: null) => UsageService.increment(id, "api_calls", 1, limit, undefined, { idempotencyKey: "same-2" });
    const calls: [first: () => Promise<unknown>, other: () => Promise<unknown>][] = [
      [
        () => AdminUserService.create(admin("adm-one"), { idempotencyKey: "same-1" }),
        () => AdminUserService.create(admin("adm-two"), { idempotencyKey: "same-1" }),
      ],
      // An omitted limit is unchanged; null removes it.
      [() => count(), () => count(null)],
    ];
    for (const [first, other] of calls) {
      const made = await first();
      expect(await codeOf(other())).toBe("idempotency_mismatch");
      expect(await first()).toEqual(made);
    }
  });

  it("H03: of a refused deletion is not kept, and its repeat deletes once nothing uses the record", async () => {
    const { id } = await context.PlanService.create({ name: "Fragile", price: 100, currency: "USD", interval: "monthly", limits: {} });
    const { id: tenantId } = await context.tenant({ plan: id });
    const remove = () => context.PlanService.delete(id, { idempotencyKey: "fragile" });
    expect(await codeOf(remove())).toBe("plan_in_use");
    expect((await context.PlanService.get(id))?.name).toBe("Fragile");
    await context.TenantService.update(tenantId, { plan: "Pro" });
    expect(await remove()).toBe(true);
    expect(await context.PlanService.get(id)).toBeNull();
    expect(await remove()).toBe(true);
  });

  it("H03: is kept and answered again beside usage records as large as a record can be", async () => {
    const { id } = await context.tenant();
    const padded = async (metric: string, bytes: number) => {
      const usage = await context.UsageService.record(id, metric, 3);
      const entry = await context.store.get(usage.id);
      await context.store.set(usage.id, { ...entry?.value as object, written: "x".repeat(bytes) });
    };
    // A version of the program to come may have written members that this one does not know.
    for (const metric of ["users", "rooms", "storage"]) await padded(metric, 261_000);
    const count = () => context.UsageService.increment(id, "users", 2, undefined, undefined, { idempotencyKey: "large-1" });
    const first = await count();
    expect(first).toMatchObject({ current: 5 });
    expect(await count()).toEqual(first);
    const settings = { long: '"\\'.repeat(50_000) };
    const change = () => context.TenantService.update(id, { plan: "Basic", settings }, { idempotencyKey: "large-2" });
    const changed = await change();
    expect(changed).toMatchObject({ plan: "Basic", settings });
    expect(await change()).toEqual(changed);
    const sizes = (await context.dump("idem")).map(({ value }) => JSON.stringify(value).length);
    // Beside the record it shows, a receipt has the record of the key itself.
    expect(Math.max(...sizes)).toBeLessThan(262_144 + 1_024);
  });

  it("T10: keeps nothing of a deleted tenant, and its repeat says that the tenant is gone", async () => {
    const { TenantService, SubscriptionService, UsageService } = context;
    const secret = "Hotel of the Deleted Guests";
    const made = await TenantService.create({ ...hotel("deleted-guests"), name: secret }, { idempotencyKey: "gone-1" });
    const calls: (() => Promise<unknown>)[] = [
      () => TenantService.create({ ...hotel("deleted-guests"), name: secret }, { idempotencyKey: "gone-1" }),
      () => TenantService.update(made.id, { settings: { long: secret.repeat(8_000) } }, { idempotencyKey: "gone-2" }),
      () => TenantService.update(made.id, { name: secret }, { idempotencyKey: "gone-3" }),
      () => SubscriptionService.upsert(made.id, { planId: "Basic" }, { idempotencyKey: "gone-4" }),
      () => UsageService.increment(made.id, "rooms", 5, undefined, undefined, { idempotencyKey: "gone-5" }),
      () => UsageService.consume(made.id, "rooms", 1e6, undefined, { idempotencyKey: "gone-6" }),
      () => TenantService.remove(made.id, { dryRun: true, idempotencyKey: "gone-7" }),
    ];
    for (const call of calls) expect(await call()).toEqual(await call());
    const remove = () => TenantService.remove(made.id, { idempotencyKey: "gone-8" });
    const report = await remove();
    expect(report?.removed["idempotency-record"]).toBeGreaterThanOrEqual(calls.length);
    const kept = await context.dump("idem");
    expect(kept.filter(({ tenantId }) => tenantId === made.id)).toEqual([]);
    expect(JSON.stringify(kept)).not.toMatch(/Deleted Guests|deleted-guests/);
    for (const call of calls) expect(await codeOf(call())).toBe("not_found");
    expect(await context.TenantService.list({ search: secret })).toMatchObject({ data: [] });
    expect(await remove()).toEqual(report);
  });

  it("H03: runs again if its 24 hours end while the parts of its long result are read", async () => {
    const { id } = await context.tenant();
    const update = (store: Store) =>
      context.over(store).TenantService.update(id, { settings: { long: "x".repeat(200_000) } }, { idempotencyKey: "ending" });
    const first = await update(context.store);
    await context.TenantService.update(id, { settings: { long: null } });
    context.clock.advance(24 * 3_600_000 - 1);
    let looks = 0;
    const late = around(context.store, {
      mget: async (keys) => {
        if (keys[0]?.startsWith("idem:") && ++looks === 2) context.clock.advance(1);
        return await context.store.mget(keys);
      },
    });
    const again = await update(late);
    expect(looks).toBeGreaterThan(1);
    expect(again?.settings).toEqual(first?.settings);
    expect(again?.version).not.toBe(first?.version);
  });

  it("H03: is made although the clock jumps by a day while it runs", async () => {
    const { id } = await context.tenant();
    const jumping = around(context.store, {
      get: async (key) => {
        const found = await context.store.get(key);
        context.clock.advance(25 * 3_600_000);
        return found;
      },
    });
    const update = (store: Store) => context.over(store).TenantService.update(id, { name: "Jumped" }, { idempotencyKey: "jump" });
    const first = await update(jumping);
    expect(first?.name).toBe("Jumped");
    expect(await update(context.store)).toEqual(first);
  });

  it("H03: leaves nothing once its day is over and the sweep has run", async () => {
    await context.tenant();
    await context.TenantService.create({ ...hotel("swept"), settings: { long: "x".repeat(200_000) } }, { idempotencyKey: "swept" });
    expect((await context.dump("idem")).length).toBeGreaterThan(1);
    context.clock.advance(24 * 3_600_000);
    expect(await context.dump("idem")).toEqual([]);
    expect(await context.store.sweep(1_000)).toBeGreaterThan(1);
    expect(await context.store.sweep(1_000)).toBe(0);
  });
});
