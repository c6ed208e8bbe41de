import { expect, test } from "vitest";
import { admin as adminUser } from "../../../shared/features/admins/entity.ts";
import { movement } from "../../../shared/features/revenue/entity.ts";
import { subscription } from "../../../shared/features/subscriptions/entity.ts";
import { tenant } from "../../../shared/features/tenants/entity.ts";
import type { JsonObject } from "../../../shared/kernel/json.ts";
import type { AggregateRow } from "../../../shared/kv/store.ts";
import { seededRandom } from "../../support/random.ts";
import { codeOf } from "../../support/store.ts";
import type { Theme } from "./index.ts";
import { storeTenants, tenantRecord } from "./samples.ts";

const byGroup = (rows: readonly AggregateRow[]) => rows.map(({ group, count, sum }) => `${JSON.stringify(group)} ${count} ${sum}`).sort();

/** In cents, so that the expected sums are exact. */
function recount(records: Iterable<JsonObject>, groupBy: readonly string[]): string[] {
  const groups = new Map<string, { count: number; cents: number }>();
  for (const record of records) {
    const group = JSON.stringify(groupBy.map((field) => record[field] ?? null));
    const { count, cents } = groups.get(group) ?? { count: 0, cents: 0 };
    groups.set(group, { count: count + 1, cents: cents + Math.round(Number(record["mrr"]) * 100) });
  }
  return [...groups].map(([group, { count, cents }]) => `${group} ${count} ${String(cents / 100)}`).sort();
}

export const aggregateCases: Theme = (open, serverCase) => {
  serverCase("K24: after 2,000 random operations the rollup equals a recount, by every grouping and filter", async () => {
    const { store } = open();
    const random = seededRandom("K24 contract");
    const live = new Map<string, JsonObject>();
    const change = async (): Promise<void> => {
      const id = `tn_${random.below(150)}`;
      const roll = random.below(10);
      if (roll === 0) {
        live.delete(id);
        await store.del(`tenant:${id}`);
      } else if (roll === 1 && live.has(id)) {
        const record = live.get(id) ?? {};
        live.set(id, { ...record, mrr: Number(record["mrr"]) + 10 });
        await store.increment(`tenant:${id}`, [{ path: ["mrr"], by: 10 }]);
      } else {
        const record = tenantRecord(id, {
          status: random.pick(["trial", "active"]),
          plan: random.pick(["Pro", "Basic"]),
          mrr: random.below(100_000) / 100,
        });
        live.set(id, record);
        await store.set(`tenant:${id}`, record);
      }
    };
    for (let i = 0; i < 2_000; i++) await change();
    for (const groupBy of [[], ["status"], ["plan"], ["status", "plan"], ["plan", "status"]]) {
      expect(byGroup(await store.aggregate({ entity: tenant, groupBy, sum: "mrr" }))).toEqual(recount(live.values(), groupBy));
    }
    const where = [{ field: "status", in: ["active"] }];
    const active = [...live.values()].filter((record) => record["status"] === "active");
    expect(byGroup(await store.aggregate({ entity: tenant, groupBy: ["plan"], sum: "mrr", where }))).toEqual(recount(active, ["plan"]));
    expect(await store.count({ entity: tenant, where })).toBe(active.length);
    expect(await store.count({ entity: tenant })).toBe(live.size);
    await store.commit([], [{ op: "deletePrefix", prefix: "tenant" }]);
    expect(await store.aggregate({ entity: tenant, groupBy: [], sum: "mrr" })).toEqual([{ group: [], count: 0, sum: "0" }]);
    expect(await store.aggregate({ entity: tenant, groupBy: ["status"] })).toEqual([]);
  });

  serverCase("K24: the rollup equals a recount during and after concurrent writes", async () => {
    const { store, racers } = open();
    await storeTenants(store, Array.from({ length: 40 }, (_, i) => tenantRecord(`tn_r${i}`, { mrr: 10 })));
    const writers = await racers(8);
    await Promise.all(writers.map(async (writer, w) => {
      for (let i = 0; i < 40; i++) {
        const id = `tn_r${(i * 7 + w) % 40}`;
        await writer.set(`tenant:${id}`, tenantRecord(id, { mrr: 10, status: i % 2 ? "active" : "trial" }));
        const [row] = await writer.aggregate({ entity: tenant, groupBy: [], sum: "mrr" });
        expect(row).toEqual({ group: [], count: 40, sum: "400" });
      }
    }));
    const records = await store.getByPrefix("tenant") as JsonObject[];
    expect(byGroup(await store.aggregate({ entity: tenant, groupBy: ["status", "plan"], sum: "mrr" }))).toEqual(
      recount(records, ["status", "plan"]),
    );
  });

  test("K24: sums are exact decimals beyond what a double holds", async () => {
    const { store } = open();
    await store.commit([], [{ op: "deletePrefix", prefix: "tenant" }]);
    await storeTenants(store, [0.1, 0.2, 999_999_999_999.99, 999_999_999_999.99].map((mrr, i) => tenantRecord(`tn_d${i}`, { mrr })));
    expect(await store.aggregate({ entity: tenant, groupBy: [], sum: "mrr" })).toEqual([{ group: [], count: 4, sum: "2000000000000.28" }]);
  });

  test("K24: a rollup by month is summed from a month on, as a scan sums it", async () => {
    const { store } = open();
    const at = (month: string, kind: string, amount: number, i: number) =>
      [`movement:tn_m${i % 3}:${month}-01T00:00:00.000Z:${kind}${i}`, { tenantId: `tn_m${i % 3}`, month, kind, amount }] as const;
    const months = ["2024-12", "2025-01", "2025-01", "2025-02", "2026-01", "2026-01"];
    await store.mset(months.map((month, i) => at(month, i % 2 ? "new" : "churn", i + 0.25, i)));
    const sums = async (from: string, scope: "any" | string) =>
      byGroup(
        await store.aggregate({ entity: movement, groupBy: ["month", "kind"], sum: "amount", scope, where: [{ field: "month", from }] }),
      );
    const last = ['["2026-01","churn"] 1 4.25', '["2026-01","new"] 1 5.25'];
    expect(await sums("2026-01", "any")).toEqual(last);
    expect(await sums("2025-02", "any")).toEqual(['["2025-02","new"] 1 3.25', ...last]);
    expect(await sums("2026-02", "any")).toEqual([]);
    expect(await sums("2000-01", "any")).toHaveLength(6);
    for (const from of ["2000-01", "2025-01", "2025-02", "2026-01", "2026-02"]) {
      const scanned = (await Promise.all(["tn_m0", "tn_m1", "tn_m2"].map((scope) => sums(from, scope)))).flat();
      expect(scanned.sort()).toEqual(await sums(from, "any"));
    }
  });

  test("K24: reads in one statement return what each returns alone, also after the rollups were folded", async () => {
    const { store } = open();
    await storeTenants(
      store,
      [80, 90, null].map((usagePercent, i) =>
        tenantRecord(`tn_r${i}`, { mrr: i + 0.5, ...(usagePercent === null ? {} : { usagePercent }) })
      ),
    );
    const whole = { entity: tenant, groupBy: ["status", "plan"], sum: "mrr" } as const;
    const byPlan = { entity: tenant, groupBy: ["plan"], sum: "mrr" } as const;
    const byRegion = { entity: tenant, groupBy: ["region"] } as const;
    const some = { entity: movement, groupBy: ["month", "kind"], sum: "amount", where: [{ field: "month", from: "2025-02" }] } as const;
    const page = { entity: tenant, orderBy: [{ field: "usagePercent", direction: "desc" }], limit: 2 } as const;
    const near = { entity: tenant, where: [{ field: "usagePercent", from: 85 }], upTo: 100 } as const;
    const all = async () => {
      const [a, b, c, d, e, f] = await store.readAll([
        { aggregate: whole },
        { query: page },
        { aggregate: byPlan },
        { aggregate: byRegion },
        { count: near },
        { aggregate: some },
      ]);
      return { groups: [a, c, d, f].map(byGroup), page: e === undefined ? null : b, near: e };
    };
    const alone = {
      groups: (await Promise.all([whole, byPlan, byRegion, some].map((query) => store.aggregate(query)))).map(byGroup),
      page: await store.query(page),
      near: await store.count(near),
    };
    expect(alone.groups.map((groups) => groups.length > 0)).toEqual([true, true, true, true]);
    expect(await all()).toEqual(alone);
    expect(await store.foldRollups()).toBeGreaterThan(0);
    expect(await store.foldRollups()).toBe(0);
    expect(await all()).toEqual(alone);
    expect(await store.readAll([])).toEqual([]);
    expect(await codeOf(store.forTenant("tn_r1").readAll([{ count: near }]))).toBe("forbidden");
    expect(await codeOf(store.forTenant("tn_r1").foldRollups())).toBe("forbidden");
  });

  test("K26: an aggregate that no rollup covers is computed from the rows", async () => {
    const { store } = open();
    await store.commit([], [{ op: "deletePrefix", prefix: "tenant" }]);
    await storeTenants(
      store,
      ["eu-west-1", "eu-west-1", "us-east-1", null].map((region, i) =>
        tenantRecord(`tn_u${i}`, { mrr: i + 0.5, ...(region ? { region } : {}) })
      ),
    );
    const rows = await store.aggregate({ entity: tenant, groupBy: ["region"], sum: "mrr" });
    expect(byGroup(rows)).toEqual(['["eu-west-1"] 2 2', '["us-east-1"] 1 2.5', "[null] 1 3.5"]);
    const bounded = await store.aggregate({ entity: tenant, groupBy: ["status"], sum: "usagePercent", where: [{ field: "mrr", from: 1 }] });
    expect(bounded).toEqual([{ group: ["active"], count: 3, sum: "0" }]);
  });

  test("K26: groups keep the case of their values, and a scope restricts them", async () => {
    const { store } = open();
    for (const [i, status] of ["active", "Active", "active"].entries()) {
      await store.set(`subscription:tn_s${i}`, { id: `sub_${i}`, tenantId: `tn_s${i}`, planId: "Pro", status });
    }
    expect(byGroup(await store.aggregate({ entity: subscription, groupBy: ["status"] }))).toEqual(['["Active"] 1 0', '["active"] 2 0']);
    expect(await store.aggregate({ entity: subscription, groupBy: ["planId"], scope: "tn_s1" })).toEqual([{
      group: ["Pro"],
      count: 1,
      sum: "0",
    }]);
  });

  test("K32: an aggregate returns 1,500 groups, more than PostgREST's row limit", async () => {
    const { store } = open();
    const plans = Array.from({ length: 1_500 }, (_, i) => `Plan${i}`);
    for (let at = 0; at < plans.length; at += 500) {
      await store.mset(
        plans.slice(at, at + 500).map((planId) => [
          `subscription:tn_${planId}`,
          { id: `sub_${planId}`, tenantId: `tn_${planId}`, planId, status: "trialing" },
        ]),
      );
    }
    const groups = await store.aggregate({
      entity: subscription,
      groupBy: ["planId"],
      where: [{ field: "status", in: ["trialing"] }],
    });
    expect(groups.map(({ group }) => group[0]).sort()).toEqual(plans.sort());
  });

  test("K32: an aggregate over an undeclared or a text field is refused", async () => {
    const { store } = open();
    const calls = [
      store.aggregate({ entity: adminUser, groupBy: ["lastLoginAt"] }),
      store.aggregate({ entity: adminUser, groupBy: ["role) --"] }),
      store.aggregate({ entity: adminUser, groupBy: ["role"], sum: "name" }),
      store.aggregate({ entity: adminUser, groupBy: [], sum: "nothing" }),
    ];
    expect(await Promise.all(calls.map(codeOf))).toEqual(calls.map(() => "invalid_parameter"));
  });
};
