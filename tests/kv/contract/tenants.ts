import { beforeAll, expect, test } from "vitest";
import { auditEntry } from "../../../shared/core/audit-entry.ts";
import { plan } from "../../../shared/features/plans/entity.ts";
import { subscription } from "../../../shared/features/subscriptions/entity.ts";
import { tenant } from "../../../shared/features/tenants/entity.ts";
import type { Mutation, Store } from "../../../shared/kv/store.ts";
import { codeOf } from "../../support/store.ts";
import type { Theme } from "./index.ts";
import { tenantRecord } from "./samples.ts";

const TENANTS = ["tn_a", "tn_b"] as const;

export const tenantCases: Theme = (open) => {
  const bound = (tenantId: string): Store => open().store.forTenant(tenantId);
  beforeAll(async () => {
    const { store } = open();
    for (const id of TENANTS) {
      await store.mset([
        [`tenant:${id}`, tenantRecord(id)],
        [`subscription:${id}`, { tenantId: id, planId: "Pro", status: "active" }],
        [`usage:${id}:api_calls:2026-03`, { tenantId: id, current: 5 }],
      ]);
      await store.set(`note:${id}`, { of: id }, { tenantId: id });
    }
    await store.mset([["plan:Pro", { id: "Pro", name: "Pro", active: true }], ["admin:u1", { userId: "u1" }], ["note:platform", {
      of: "platform",
    }]]);
  });

  test("R10: a tenant-bound store reads its tenant's rows, and every other row is missing", async () => {
    const store = bound("tn_a");
    expect(store.tenantId).toBe("tn_a");
    const keys = TENANTS.flatMap((id) => [`tenant:${id}`, `subscription:${id}`, `usage:${id}:api_calls:2026-03`, `note:${id}`]);
    const expected = keys.map((key) => (key.includes("tn_a") ? key : null));
    expect((await store.mget(keys)).map((entry) => entry?.key ?? null)).toEqual(expected);
    expect((await Promise.all(keys.map((key) => store.get(key)))).map((entry) => entry?.key ?? null)).toEqual(expected);
    expect(await store.get("note:platform")).toBeNull();
    expect(await store.get("admin:u1")).toBeNull();
  });

  test("R10: lists, counts, queries and aggregates of a tenant-bound store contain only its tenant's rows", async () => {
    const store = bound("tn_b");
    expect((await store.list({ prefix: "tenant" })).entries.map((entry) => entry.key)).toEqual(["tenant:tn_b"]);
    expect((await store.list({ prefix: "usage", reverse: true, keysOnly: true })).entries).toHaveLength(1);
    expect(await store.getByPrefix("note")).toEqual([{ of: "tn_b" }]);
    expect(await store.getByPrefix("usage:tn_a")).toEqual([]);
    expect([await store.count("subscription"), await store.count("usage"), await store.count("admin")]).toEqual([1, 1, 0]);
    for (const scope of [undefined, "any", null, "tn_a", "tn_b"] as const) {
      const page = await store.query({ entity: subscription, ...(scope === undefined ? {} : { scope }), limit: 5, withTotal: true });
      expect(page.entries.filter((entry) => entry.tenantId !== "tn_b")).toEqual([]);
      expect(page.total).toBe(page.entries.length);
      const rows = await store.aggregate({ entity: tenant, groupBy: ["status"], sum: "mrr", ...(scope === undefined ? {} : { scope }) });
      expect(rows.every((row) => row.count === 1 && row.sum === "299")).toBe(true);
    }
    expect(await store.count({ entity: tenant })).toBe(1);
    expect(await store.count({ entity: auditEntry })).toBe(0);
  });

  test("R10: a tenant-bound store reads the platform's records of entities declared readableByTenants and cannot write them", async () => {
    const store = bound("tn_a");
    expect(await store.get("plan:Pro")).toMatchObject({ value: { name: "Pro" }, tenantId: null });
    expect((await store.query({ entity: plan, limit: 5 })).entries).toHaveLength(1);
    expect((await store.list({ prefix: "plan" })).entries).toHaveLength(1);
    const version = (await store.get("plan:Pro"))?.version ?? "";
    const attempts: Mutation[] = [
      { op: "set", key: "plan:Pro", value: { id: "Pro", price: 0 } },
      { op: "set", key: "plan:Mine", value: { id: "Mine" } },
      { op: "set", key: "admin:me", value: { role: "super_admin" } },
      { op: "increment", key: "plan:Pro", add: [{ path: ["price"], by: -1 }], initial: { value: {} } },
    ];
    for (const attempt of attempts) expect(await outcome(store, [attempt])).toMatch(/key_owner_mismatch|write_conflict|conflict/);
    expect(await store.commit([], [{ op: "delete", key: "plan:Pro" }])).toMatchObject({ ok: true, deleted: {} });
    expect(await store.commit([], [{ op: "deletePrefix", prefix: "plan" }])).toMatchObject({ ok: true, deleted: {} });
    expect((await open().store.get("plan:Pro"))?.version).toBe(version);
    expect(await open().store.mget(["plan:Mine", "admin:me"])).toEqual([null, null]);
  });

  test.each([
    "subscription:tn_b",
    "tenant:tn_b",
    "usage:tn_b:users:2026-03",
    "tenant:tn_new",
    "audit:tn_b:2026-03-01T12:00:00.000Z:x",
    "subscription:tn_aa",
  ])("R10: tenant a cannot create %s: the key names another tenant", async (key) => {
    const store = bound("tn_a");
    const before = await open().store.get(key);
    const calls = [
      store.set(key, { tenantId: "tn_a" }),
      store.mset([["note:tn_a:x", 1], [key, { tenantId: "tn_a" }]]),
      store.set(key, { tenantId: "tn_b" }, { tenantId: "tn_b" }),
      store.increment(key, [{ path: ["n"], by: 1 }], { initial: { value: {} } }),
    ];
    for (const code of await Promise.all(calls.map(codeOf))) {
      expect(["key_owner_mismatch", "write_conflict", "append_only"]).toContain(code);
    }
    expect(await open().store.get(key)).toEqual(before);
    expect(await open().store.get("note:tn_a:x")).toBeNull();
  });

  test("R10: the service-level store refuses a key whose tenant segment is another tenant, and an undeclared key shape", async () => {
    const { store } = open();
    const calls = [
      store.set("subscription:tn_a", {}, { tenantId: "tn_b" }),
      store.set("plan:Odd", {}, { tenantId: "tn_a" }),
      store.set("usage:tn_a", { n: 1 }),
      store.set("subscription:tn_a:extra", {}),
      store.set("tenant", {}),
    ];
    expect(await Promise.all(calls.map(codeOf))).toEqual(calls.map(() => "key_owner_mismatch"));
  });

  test("R10: a write to an invisible row is the same conflict as a taken key, so that it does not reveal the row", async () => {
    const store = bound("tn_a");
    await open().store.set("note:taken", { of: "tn_b" }, { tenantId: "tn_b" });
    await store.set("note:mine", { of: "tn_a" });
    const create = (key: string) => store.commit([{ key, version: null }], [{ op: "set", key, value: { of: "tn_a" } }]);
    expect(await create("note:mine")).toEqual({ ok: false, conflict: "note:mine", reason: "version" });
    expect(await create("note:taken")).toEqual({ ok: false, conflict: "note:taken", reason: "version" });
    expect(await outcome(store, [{ op: "set", key: "note:taken", value: 1 }])).toBe("conflict");
    expect(await codeOf(store.set("note:taken", 1))).toBe("write_conflict");
    expect(await codeOf(store.increment("note:taken", [{ path: ["n"], by: 1 }], { initial: { value: {} } }))).toBe("write_conflict");
    expect(await open().store.get("note:taken")).toMatchObject({ value: { of: "tn_b" }, tenantId: "tn_b" });
  });

  test("R10: deleting or incrementing an invisible row has the result of a missing one", async () => {
    const store = bound("tn_a");
    expect([await store.del("note:tn_b"), await store.del("note:never")]).toEqual([false, false]);
    const add = (key: string) => codeOf(store.increment(key, [{ path: ["current"], by: 1 }]));
    expect([await add("note:tn_b"), await add("note:never")]).toEqual(["no error, but null", "no error, but null"]);
    expect(await add("usage:tn_b:api_calls:2026-03")).toBe(await add("usage:tn_b:users:2031-01"));
    await store.commit([], [{ op: "deletePrefix", prefix: "note:tn_b" }, { op: "deletePrefix", prefix: "usage:tn_b" }]);
    expect(await open().store.get("note:tn_b")).toMatchObject({ value: { of: "tn_b" } });
    expect((await open().store.get("usage:tn_b:api_calls:2026-03"))?.value).toEqual({ tenantId: "tn_b", current: 5 });
  });

  test("R10: a check on an invisible row has the result of a missing one", async () => {
    const store = bound("tn_a");
    const { version = "" } = await open().store.get("note:tn_b") ?? {};
    expect(await store.commit([{ key: "note:tn_b", version }], [])).toMatchObject({ ok: false });
    expect(await store.commit([{ key: "note:never", version: null }], [])).toMatchObject({ ok: true });
  });

  test("R10: a tenant-bound check on a readable platform record passes with its version and is a conflict otherwise", async () => {
    const store = bound("tn_a");
    const { version = "" } = await store.get("plan:Pro") ?? {};
    const write = (key: string): Mutation => ({ op: "set", key, value: { n: 1 } });
    expect(await store.commit([{ key: "plan:Pro", version }], [write("note:checked")])).toMatchObject({ ok: true });
    const stale = [{ key: "plan:Pro", version: String(Number(version) - 1) }];
    expect(await store.commit(stale, [write("note:unchecked")])).toEqual({ ok: false, conflict: "plan:Pro", reason: "version" });
    expect((await store.mget(["note:checked", "note:unchecked"])).map((entry) => entry?.value ?? null)).toEqual([{ n: 1 }, null]);
    await store.del("note:checked");
  });

  test("R10: a tenant-bound store creates rows of its tenant only, and no option moves a row to another tenant or the platform", async () => {
    const store = bound("tn_a");
    await store.set("note:owned", { n: 1 });
    expect(await open().store.get("note:owned")).toMatchObject({ tenantId: "tn_a" });
    for (const tenantId of ["tn_b", null]) {
      expect(await codeOf(store.set("note:owned", { n: 2 }, { tenantId }))).toMatch(/key_owner_mismatch|write_conflict|forbidden/);
      expect(await codeOf(store.set(`note:give-${tenantId}`, { n: 2 }, { tenantId }))).toMatch(
        /key_owner_mismatch|write_conflict|forbidden/,
      );
    }
    expect(await open().store.get("note:owned")).toMatchObject({ tenantId: "tn_a", value: { n: 1 } });
    expect(await open().store.count("note")).toBe((await open().store.list({ prefix: "note" })).entries.length);
  });

  test("R10: a tenant-bound store cannot sweep, delete a tenant or be bound to another tenant", async () => {
    const store = bound("tn_a");
    expect(await codeOf(store.sweep(10))).toBe("forbidden");
    expect(await codeOf(store.commit([], [{ op: "deleteOwner", tenantId: "tn_b" }]))).toBe("forbidden");
    expect(await codeOf(store.commit([], [{ op: "deleteOwner", tenantId: "tn_a" }]))).toBe("forbidden");
    expect(await codeOf(() => store.forTenant("tn_b").get("note:tn_b"))).toBe("forbidden");
  });

  test("R07: reads and writes of 20 tenants in one batch never return or change rows of another tenant", async () => {
    const { store } = open();
    const ids = Array.from({ length: 20 }, (_, i) => `tn_mix${i}`);
    const stores = ids.map((id) => store.forTenant(id));
    await Promise.all(stores.map((own, i) => own.set(`mix:${i}`, { of: ids[i] ?? "" })));
    for (let round = 0; round < 10; round++) {
      const seen = await Promise.all(
        stores.flatMap((own, i) => ids.map(async (_, j) => ((await own.get(`mix:${j}`)) !== null) === (i === j))),
      );
      expect(seen.every(Boolean)).toBe(true);
      await Promise.all(stores.map((own, i) => own.increment(`mix:${i}`, [{ path: ["n"], by: 1 }], { initial: { value: {} } })));
      const stolen = await Promise.all(stores.map((own, i) => own.increment(`mix:${(i + 1) % 20}`, [{ path: ["n"], by: 100 }])));
      expect(stolen.every((entry) => entry === null)).toBe(true);
    }
    expect((await store.getByPrefix("mix") as { n: number }[]).map(({ n }) => n)).toEqual(ids.map(() => 10));
    expect((await store.list({ prefix: "mix" })).entries.map((entry) => entry.tenantId).toSorted()).toEqual([...ids].sort());
  });

  test("R07: a refused write of one tenant in a batch does not affect the others", async () => {
    const { store } = open();
    const results = await Promise.all(Array.from({ length: 20 }, (_, i) => {
      const own = store.forTenant(`tn_batch${i}`);
      return i % 5 === 0 ? codeOf(own.set("subscription:tn_b", {})) : own.set(`batch:${i}`, { i }).then(() => "written");
    }));
    expect(results.filter((result) => result === "written")).toHaveLength(16);
    expect(results.filter((result) => ["key_owner_mismatch", "write_conflict"].includes(String(result)))).toHaveLength(4);
    expect(await store.count("batch")).toBe(16);
  });
};

/** "ok", "conflict", or the code of the error. */
async function outcome(store: Store, mutations: readonly Mutation[]): Promise<string> {
  const code = await codeOf(store.commit([], mutations));
  if (code.startsWith("no error")) return code.includes('"ok":true') ? "ok" : "conflict";
  return code;
}
