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
    const metadata = { latin: "x".repeat(120_000), accents: 'é\u0001"\\'.repeat(5_000), houses: "🏨".repeat(10_000) };
    const first = await context.TenantService.create({ ...hotel("long"), metadata }, { idempotencyKey: "long" });
    await context.TenantService.update(first.id, { metadata: { latin: null, accents: null, houses: null } });
    const again = await context.TenantService.create({ ...hotel("long"), metadata }, { idempotencyKey: "long" });
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

  it("H03: runs again after its change was reverted", async () => {
    const { id } = await context.PlanService.create({ name: "Fragile", price: 100, currency: "USD", interval: "monthly", limits: {} });
    const { id: tenantId } = await context.tenant();
    const row = await context.store.get(`tenant:${tenantId}`);
    let subscribed = false;
    const racing = around(context.store, {
      commit: async (...given) => {
        const result = await context.store.commit(...given);
        // A tenant subscribed before the deletion, after the check for uses.
        if (!subscribed) await context.store.set(`tenant:${tenantId}`, { ...row?.value as object, plan: id });
        subscribed = true;
        return result;
      },
    });
    const remove = (store: Store) => context.over(store).PlanService.delete(id, { idempotencyKey: "fragile" });
    expect(await codeOf(remove(racing))).toBe("plan_in_use");
    expect((await context.PlanService.get(id))?.name).toBe("Fragile");
    expect(await codeOf(remove(context.store))).toBe("plan_in_use");
    await context.store.set(`tenant:${tenantId}`, row?.value ?? {});
    expect(await remove(context.store)).toBe(true);
    expect(await context.PlanService.get(id)).toBeNull();
    expect(await remove(context.store)).toBe(true);
  });

  it("H03: runs again if its 24 hours end while the parts of its long result are read", async () => {
    const { id } = await context.tenant();
    const update = (store: Store) =>
      context.over(store).TenantService.update(id, { metadata: { long: "x".repeat(200_000) } }, { idempotencyKey: "ending" });
    const first = await update(context.store);
    await context.TenantService.update(id, { metadata: { long: null } });
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
    expect(again?.metadata).toEqual(first?.metadata);
    expect(again?.version).not.toBe(first?.version);
  });

  it("H03: leaves no record after its 24 hours and a sweep", async () => {
    await context.tenant();
    await context.TenantService.create({ ...hotel("swept"), metadata: { long: "x".repeat(200_000) } }, { idempotencyKey: "swept" });
    expect((await context.dump("idem")).length).toBeGreaterThan(1);
    context.clock.advance(24 * 3_600_000);
    expect(await context.dump("idem")).toEqual([]);
    expect(await context.store.sweep(1_000)).toBeGreaterThan(1);
    expect(await context.store.sweep(1_000)).toBe(0);
  });
});
