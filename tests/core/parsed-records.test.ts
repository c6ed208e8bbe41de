import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { Collection } from "../../shared/core/collection.ts";
import { plan } from "../../shared/features/plans/entity.ts";
import { tenant } from "../../shared/features/tenants/entity.ts";
import { systemClock } from "../../shared/kernel/clock.ts";
import type { JsonObject } from "../../shared/kernel/json.ts";
import type { SqlArguments, SqlDriver } from "../../shared/kv/driver.ts";
import { ParsedRecords } from "../../shared/kv/parsed-records.ts";
import { createStore } from "../../shared/kv/sql-store.ts";
import type { Entry } from "../../shared/kv/store.ts";
import { freshStore } from "../support/store.ts";
import type { OpenStore } from "../support/store.ts";

let opened: OpenStore;
beforeAll(async () => void (opened = await freshStore({ driver: "postgres" })));
afterAll(() => opened.close());

const tenantOf = (id: string, name: string) => ({ ...tenant.example, id, name, tags: ["a"], version: undefined }) as unknown as JsonObject;

describe("a record that was read before", () => {
  test("K33: is read as it is now, whoever changed it and however often", async () => {
    const elsewhere = opened.another();
    const tenants = new Collection(tenant, opened.store);
    for (let round = 0; round < 20; round++) {
      await (round % 2 ? opened.store : elsewhere).set("tenant:tn_1", tenantOf("tn_1", `Name ${round}`));
      const [one, again] = [await tenants.get("tn_1"), await tenants.get("tn_1")];
      expect([one?.name, again?.name]).toEqual([`Name ${round}`, `Name ${round}`]);
      expect(again).toEqual(one);
    }
    await elsewhere.del("tenant:tn_1");
    expect(await tenants.get("tn_1")).toBeNull();
    await elsewhere.set("tenant:tn_1", tenantOf("tn_1", "Made again"));
    expect((await tenants.get("tn_1"))?.name).toBe("Made again");
  });

  test("K33: is its caller's own: what one does to it no other sees", async () => {
    await opened.store.set("plan:Own", { ...plan.example, id: "Own", name: "Own" } as JsonObject);
    const plans = new Collection(plan, opened.store);
    const untouched = structuredClone(await plans.get("Own"));
    for (let read = 0; read < 3; read++) {
      const mine = await plans.get("Own") as Record<string, unknown>;
      expect(mine).toEqual(untouched);
      mine["name"] = "Changed";
      mine["added"] = true;
      for (const member of Object.values(mine)) {
        if (typeof member === "object" && member !== null) expect(() => Object.assign(member, { added: true })).toThrow(TypeError);
      }
    }
  });

  test("K33: is no way past row-level security: a tenant does not see another's, nor the platform's", async () => {
    const { store } = opened;
    for (const id of ["tn_a", "tn_b"]) await store.set(`tenant:${id}`, tenantOf(id, id));
    const names = async (bound: typeof store) => {
      const tenants = new Collection(tenant, bound);
      return (await tenants.getMany(["tenant:tn_a", "tenant:tn_b"])).map((record) => record?.name ?? null);
    };
    for (let round = 0; round < 3; round++) {
      expect(await names(store)).toEqual(["tn_a", "tn_b"]);
      expect(await names(store.forTenant("tn_a"))).toEqual(["tn_a", null]);
      expect(await names(store.forTenant("tn_b"))).toEqual([null, "tn_b"]);
    }
  });
});

const ENTRY: Entry = {
  key: "plan:Pro",
  value: null,
  version: "7",
  createdAt: "2026-01-01T00:00:00.000Z",
  updatedAt: "2026-01-02T00:00:00.000Z",
  expiresAt: null,
  tenantId: null,
};

describe("what is kept of an entry", () => {
  const schema = {};

  test.each<[string, Entry, object]>([
    ["another key", { ...ENTRY, key: "plan:Basic" }, schema],
    ["another version", { ...ENTRY, version: "8" }, schema],
    ["another creation", { ...ENTRY, createdAt: "2026-01-01T00:00:00.001Z" }, schema],
    ["another change, as after a restored backup", { ...ENTRY, updatedAt: "2026-01-02T00:00:00.001Z" }, schema],
    ["another schema", ENTRY, {}],
  ])("is not the record of an entry with %s", (_, other, by) => {
    const parsed = new ParsedRecords();
    parsed.keep(ENTRY, schema, { name: "Pro" });
    expect(parsed.find(ENTRY, schema)).toEqual({ name: "Pro" });
    expect(parsed.find(other, by)).toBeUndefined();
  });

  test("is bounded, and nothing of an entry that expires or is large", () => {
    const parsed = new ParsedRecords();
    const keys = Array.from({ length: 5_001 }, (_, i) => `plan:p${i}`);
    for (const key of keys) parsed.keep({ ...ENTRY, key }, schema, { key });
    const found = () => keys.filter((key) => parsed.find({ ...ENTRY, key }, schema));
    expect(found()).toEqual(keys.slice(1));
    // 1,100 records of 8,000 characters exceed the limit of all together, which is 8 Mi characters.
    for (const key of keys.slice(0, 1_100)) parsed.keep({ ...ENTRY, key }, schema, { text: "x".repeat(8_000) });
    expect(found().length).toBeLessThan(8_388_608 / 8_000);
    expect(found()).toEqual(keys.slice(1_100 - found().length, 1_100));
    for (const key of keys) parsed.keep({ ...ENTRY, key }, schema, { key });
    expect(found()).toEqual(keys.slice(1));
    const large = { texts: Array.from({ length: 80 }, () => "x".repeat(100)) };
    expect(parsed.keep(ENTRY, schema, large)).toEqual(large);
    expect(parsed.find(ENTRY, schema)).toBeUndefined();
    expect(Object.isFrozen(large.texts)).toBe(true);
    const passing = { ...ENTRY, expiresAt: "2027-01-01T00:00:00.000Z" };
    expect(parsed.keep(passing, schema, { name: "x" })).toEqual({ name: "x" });
    expect(parsed.find(passing, schema)).toBeUndefined();
  });
});

describe("reads of one turn", () => {
  /** Every entry is there, its key its value. */
  function driverOf(calls: SqlArguments[]): SqlDriver {
    return {
      timeoutMs: 1_000,
      call: (_, args) => {
        calls.push(args);
        const rows = (args["keys"] as string[]).map((key) => ({
          key,
          value: key,
          version: "1",
          owner: null,
          created_at: 0,
          updated_at: 0,
          expires_at: null,
        }));
        return Promise.resolve(rows);
      },
      ping: () => Promise.resolve({}),
      close: () => Promise.resolve(),
    };
  }

  test("H25: are one call to the database, which is asked once for what several callers want", async () => {
    const calls: SqlArguments[] = [];
    const store = createStore(driverOf(calls), { clock: systemClock });
    const keys = ["admin:u1", "tenant:a", "admin:u1", "tenant:b", "admin:u1"];
    const found = await Promise.all(keys.map((key) => store.get(key)));
    expect(found.map((entry) => entry?.key)).toEqual(keys);
    expect(calls.map((args) => args["keys"])).toEqual([["admin:u1", "tenant:a", "tenant:b"]]);
  });

  test("H25: give each caller an entry of its own", async () => {
    const { store } = opened;
    await store.set("note:own", { list: [1], "": { deep: null } });
    const found = [
      ...await Promise.all(["note:own", "note:own"].map((key) => store.get(key))),
      ...await store.mget(["note:own", "note:own"]),
    ];
    for (const entry of found) {
      expect(entry?.value).toEqual({ list: [1], "": { deep: null } });
      (entry?.value as { list: number[] }).list.push(2);
    }
  });

  test("H25: are another database's own", async () => {
    const [one, other]: [SqlArguments[], SqlArguments[]] = [[], []];
    const stores = [createStore(driverOf(one), { clock: systemClock }), createStore(driverOf(other), { clock: systemClock })] as const;
    expect(stores[0].parsed).not.toBe(stores[1].parsed);
    expect(stores[0].forTenant("tn_a").parsed).toBe(stores[0].parsed);
    await Promise.all(stores.flatMap((store) => [store.get("a:1"), store.get("a:2")]));
    expect([one.length, other.length]).toEqual([1, 1]);
  });
});
