import { expect, test } from "vitest";
import type { JsonObject } from "../../../shared/kernel/json.ts";
import { plan } from "../../../shared/features/plans/entity.ts";
import { withClient } from "../../support/client.ts";
import { codeOf } from "../../support/store.ts";
import type { Theme } from "./index.ts";
import { auditKey, auditRecord, tenantRecord } from "./samples.ts";

const add = [{ path: ["n"], by: 1 }];

export const expiryCases: Theme = (open) => {
  /** An entry whose expiry is the current instant after `expire`. */
  const shortLived = async (key: string, value: JsonObject = { n: 7 }) => {
    const { store, clock } = open();
    const version = await store.set(key, value, { expiresAt: clock.iso(1_000) });
    return { store, clock, version, expire: () => clock.advance(1_000) };
  };

  test("K18: an entry exists one millisecond before its expiry, and from that instant on no read returns it", async () => {
    const { store, clock, expire } = await shortLived("brief:read");
    await store.set("brief:stays", 1, { expiresAt: clock.iso(1_001) });
    clock.advance(999);
    expect(await store.get("brief:read")).toMatchObject({ value: { n: 7 }, expiresAt: clock.iso(1) });
    clock.advance(-999);
    expire();
    expect(await store.get("brief:read")).toBeNull();
    expect((await store.mget(["brief:read", "brief:stays"])).map((entry) => entry?.value ?? null)).toEqual([null, 1]);
    expect((await store.list({ prefix: "brief" })).entries.map((entry) => entry.key)).toEqual(["brief:stays"]);
    expect((await store.list({ prefix: "brief", keysOnly: true, reverse: true })).entries).toHaveLength(1);
    expect(await store.getByPrefix("brief")).toEqual([1]);
    expect(await store.count("brief")).toBe(1);
  });

  test("K18: an expired record is in no query, total, count or aggregate", async () => {
    const { store, clock } = open();
    const value = (name: string) => ({ id: name, name, active: true, interval: "monthly", price: 5, createdAt: clock.iso() });
    await store.set("plan:brief", value("brief"), { expiresAt: clock.iso(500) });
    await store.set("plan:steady", value("steady"));
    clock.advance(500);
    const page = await store.query({ entity: plan, orderBy: [{ field: "name", direction: "asc" }], limit: 10, withTotal: true });
    expect(page.entries.map((entry) => entry.key)).toEqual(["plan:steady"]);
    expect(page.total).toBe(1);
    expect(await store.count({ entity: plan })).toBe(1);
    expect(await store.aggregate({ entity: plan, groupBy: ["interval"], sum: "price" })).toEqual([{
      group: ["monthly"],
      count: 1,
      sum: "5",
    }]);
  });

  test("K18: a check treats an expired entry as absent", async () => {
    const { store, version, expire } = await shortLived("brief:check");
    expect(await store.commit([{ key: "brief:check", version: null }], [])).toMatchObject({ ok: false });
    expire();
    expect(await store.commit([{ key: "brief:check", version }], [])).toEqual({ ok: false, conflict: "brief:check", reason: "version" });
    expect(await store.commit([{ key: "brief:check", version: null }], [{ op: "set", key: "brief:check", value: 2 }])).toMatchObject({
      ok: true,
    });
  });

  test("K18: an entry written over an expired one has a new createdAt and no old expiry", async () => {
    const { store, clock, version, expire } = await shortLived("brief:anew");
    expire();
    const again = await store.set("brief:anew", { n: 1 });
    expect(BigInt(again)).toBeGreaterThan(BigInt(version));
    expect(await store.get("brief:anew")).toMatchObject({ createdAt: clock.iso(), expiresAt: null });
  });

  test.each(["brief:count", "usage:tn_brief:users:2026-03"])(
    "K18: increment of the expired %s starts from its initial value, not from the old count",
    async (key) => {
      const { store, clock, expire } = await shortLived(key);
      expect((await store.increment(key, add))?.value).toEqual({ n: 8 });
      expect((await store.get(key))?.expiresAt).toBe(clock.iso(1_000));
      expire();
      expect(await store.increment(key, add)).toBeNull();
      expect(await store.get(key)).toBeNull();
      const initial = { value: { n: 0 }, expiresAt: clock.iso(1_000) };
      expect((await store.increment(key, add, { initial }))?.value).toEqual({ n: 1 });
      expect(await store.get(key)).toMatchObject({ createdAt: clock.iso(), expiresAt: clock.iso(1_000) });
    },
  );

  test("K18: concurrent increments of an expired counter all start from the initial value", async () => {
    const { store, racers } = open();
    const { expire } = await shortLived("brief:raced");
    expire();
    const clients = await racers(16);
    await Promise.all(clients.map((client) => client.increment("brief:raced", add, { initial: { value: { n: 0 } } })));
    expect((await store.get("brief:raced"))?.value).toEqual({ n: 16 });
  });

  test("K18: append and merge treat an expired entry as absent", async () => {
    const { store, expire } = await shortLived("brief:append", { n: 1, items: ["old"], old: true });
    expire();
    const append = { op: "append", key: "brief:append", path: ["items"], items: ["new"], merge: { merged: true } } as const;
    expect(await store.commit([], [append])).toMatchObject({ ok: true, values: { "brief:append": null } });
    expect(await store.get("brief:append")).toBeNull();
    await store.commit([], [{ ...append, initial: { value: {} } }]);
    expect((await store.get("brief:append"))?.value).toEqual({ items: ["new"], merged: true });
  });

  test("K18: deleting expired entries counts none of them", async () => {
    const { store, expire } = await shortLived("fleeting:a");
    await store.set("fleeting:b", 1);
    expire();
    expect(await store.del("fleeting:a")).toBe(false);
    await shortLived("fleeting:c");
    expire();
    expect(await store.commit([], [{ op: "deletePrefix", prefix: "fleeting" }])).toMatchObject({ ok: true, deleted: { fleeting: 1 } });
  });

  test("K18: a page of a list contains only live entries up to its limit, and cursors skip expired ones", async () => {
    const { store, clock } = open();
    const keys = Array.from({ length: 30 }, (_, i) => `patchy:${String(i).padStart(2, "0")}`);
    for (const [i, key] of keys.entries()) await store.set(key, i, i % 3 ? { expiresAt: clock.iso(10) } : {});
    clock.advance(10);
    const first = await store.list({ prefix: "patchy", limit: 5 });
    const second = await store.list({ prefix: "patchy", limit: 5, cursor: first.cursor ?? "" });
    expect([...first.entries, ...second.entries].map((entry) => entry.value)).toEqual([0, 3, 6, 9, 12, 15, 18, 21, 24, 27]);
    expect(second.cursor).toBeNull();
  });

  test("K18: sweep deletes expired rows in bounded steps, and no live ones", async () => {
    const { store, clock, database } = open();
    while (await store.sweep(1_000)) { /* what earlier cases left */ }
    for (let i = 0; i < 25; i++) await store.set(`sweep:${i}`, i, { expiresAt: clock.iso(10) });
    await store.set("usage:tn_sweep:users:2026-03", { current: 1 }, { expiresAt: clock.iso(10) });
    await store.set("sweep:alive", 1, { expiresAt: clock.iso(11) });
    expect(await store.sweep(100)).toBe(0);
    clock.advance(10);
    const steps = [await store.sweep(10), await store.sweep(10), await store.sweep(10), await store.sweep(10)];
    expect(steps).toEqual([10, 10, 6, 0]);
    expect(await store.count("sweep")).toBe(1);
    const left = await withClient(
      database.superUrl,
      async (client) => (await client.query("select key from kv.entries where key like 'sweep:%' or key like 'usage:tn_sweep:%'")).rows,
    );
    expect(left).toEqual([{ key: "sweep:alive" }]);
  });

  test("K18: entries with a rollup or an audit chain cannot have an expiry, in either store", async () => {
    const { store, clock } = open();
    const expiresAt = clock.iso(1_000);
    const record = tenantRecord("tn_counted");
    const calls = [
      store.set("tenant:tn_counted", record, { expiresAt }),
      store.commit([], [{ op: "set", key: "tenant:tn_counted", value: record, expiresAt }]),
      store.increment("tenant:tn_counted", add, { initial: { value: record, expiresAt } }),
      store.forTenant("tn_counted").set("tenant:tn_counted", record, { expiresAt }),
      store.set(auditKey("tn_counted", "one"), auditRecord(auditKey("tn_counted", "one")), { expiresAt }),
    ];
    expect(await Promise.all(calls.map(codeOf))).toEqual(calls.map(() => "validation_failed"));
    expect(await store.mget(["tenant:tn_counted", auditKey("tn_counted", "one")])).toEqual([null, null]);
  });

  test("K19: an expiry at or before now is refused and stores nothing", async () => {
    const { store, clock } = open();
    await store.set("ttl:kept", 1);
    for (const expiresAt of [clock.iso(), clock.iso(-1), "1999-01-01T00:00:00.000Z"]) {
      const calls = [
        store.set("ttl:a", 1, { expiresAt }),
        store.mset([["ttl:b", 1], ["ttl:kept", 2]], { expiresAt }),
        store.increment("ttl:c", add, { initial: { value: {}, expiresAt } }),
        store.commit([], [{ op: "set", key: "ttl:d", value: 1 }, {
          op: "append",
          key: "ttl:e",
          path: ["x"],
          items: [1],
          initial: { value: {}, expiresAt },
        }]),
      ];
      expect(await Promise.all(calls.map(codeOf))).toEqual(calls.map(() => "invalid_ttl"));
    }
    expect(await store.getByPrefix("ttl")).toEqual([1]);
  });

  test.each(["tomorrow", "", "2026-13-01T00:00:00.000Z", "2026-02-30T00:00:00.000Z", "2099-01-01", "2099-01-01T00:00:00Z", "infinity"])(
    "K19: the expiry %j is not an instant and is refused",
    async (expiresAt) => {
      expect(await codeOf(open().store.set("ttl:malformed", 1, { expiresAt }))).toBe("validation_failed");
      expect(await open().store.get("ttl:malformed")).toBeNull();
    },
  );
};
