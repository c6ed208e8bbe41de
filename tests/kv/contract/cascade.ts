import { createHash } from "node:crypto";
import { expect, test } from "vitest";
import { auditEntry } from "../../../shared/core/audit-entry.ts";
import { tenant } from "../../../shared/features/tenants/entity.ts";
import { isInnkeepError } from "../../../shared/kernel/errors.ts";
import type { Mutation, Store } from "../../../shared/kv/store.ts";
import { withClient } from "../../support/client.ts";
import { codeOf } from "../../support/store.ts";
import type { Theme } from "./index.ts";
import { auditKey, auditRecord, tenantRecord } from "./samples.ts";

const auditSet = (tenantId: string | null, nonce: string, at?: string): Mutation => {
  const key = auditKey(tenantId, nonce, at);
  return { op: "set", key, value: auditRecord(key, tenantId ? { tenantId } : {}) };
};

async function storeTenant(store: Store, id: string): Promise<void> {
  const owned = { tenantId: id };
  await store.commit([], [
    { op: "set", key: `tenant:${id}`, value: tenantRecord(id) },
    { op: "set", key: `subdomain:${id.replaceAll("_", "-")}`, value: { tenantId: id }, ...owned },
    { op: "set", key: `subscription:${id}`, value: { tenantId: id, status: "active", planId: "Pro" } },
    { op: "set", key: `usage:${id}:api_calls:2026-02`, value: { current: 1 } },
    { op: "set", key: `usage:${id}:api_calls:2026-03`, value: { current: 2 } },
    { op: "set", key: `sample:${id}`, value: { tenantId: id }, ...owned },
    { op: "set", key: `paper:${id}`, value: { kept: true }, ...owned, cascades: false },
    auditSet(id, "created"),
  ]);
}

export const cascadeCases: Theme = (open, serverCase) => {
  test("R01: deleteOwner deletes the tenant's cascading rows in one commit and counts them by entity", async () => {
    const { store } = open();
    await storeTenant(store, "tn_gone");
    await storeTenant(store, "tn_gone2");
    const result = await store.commit([], [{ op: "deleteOwner", tenantId: "tn_gone" }]);
    expect(result).toMatchObject({ ok: true, deleted: { tenant: 1, "subdomain-claim": 1, subscription: 1, "usage-record": 2, sample: 1 } });
    const left = (await store.list({ prefix: "" })).entries.filter((entry) => entry.tenantId === "tn_gone").map((entry) => entry.key);
    expect(left).toEqual([auditKey("tn_gone", "created"), "paper:tn_gone"]);
    expect((await store.list({ prefix: "" })).entries.filter((entry) => entry.tenantId === "tn_gone2")).toHaveLength(8);
    expect(await store.count({ entity: tenant })).toBe(1);
  });

  test("R01: the id of a deleted tenant is refused for every kind of write", async () => {
    const { store } = open();
    await storeTenant(store, "tn_dead");
    await store.commit([], [{ op: "deleteOwner", tenantId: "tn_dead" }]);
    const own = store.forTenant("tn_dead");
    const add = [{ path: ["n"], by: 1 }];
    const calls = [
      store.set("tenant:tn_dead", tenantRecord("tn_dead")),
      store.set("sample:again", {}, { tenantId: "tn_dead" }),
      own.set("note:again", {}),
      store.mset([["note:beside", 1], ["subscription:tn_dead", {}]]),
      own.increment("usage:tn_dead:users:2026-03", add, { initial: { value: {} } }),
      store.increment("usage:tn_dead:users:2026-03", add, { initial: { value: {} } }),
      own.commit([{ key: "note:again", version: null }], [{ op: "set", key: "note:again", value: 1 }]),
    ];
    expect(await Promise.all(calls.map(codeOf))).toEqual(calls.map(() => "tenant_deleted"));
    expect(await store.mget(["note:beside", "note:again", "sample:again", "tenant:tn_dead"])).toEqual([null, null, null, null]);
    expect(await store.commit([], [{ op: "deleteOwner", tenantId: "tn_dead" }])).toMatchObject({ ok: true, deleted: {} });
  });

  test("R01: the certificate and the last audit entries of a tenant are written in the commit that deletes it", async () => {
    const { store } = open();
    await storeTenant(store, "tn_last");
    const result = await store.commit([], [
      { op: "deleteOwner", tenantId: "tn_last" },
      auditSet("tn_last", "zdeleted"),
      auditSet(null, "zdeleted"),
      { op: "set", key: "outbox:evt_last", value: { id: "evt_last", type: "tenant.deleted" } },
    ]);
    expect(result).toMatchObject({ ok: true, deleted: { tenant: 1 } });
    const entry = await store.get(auditKey("tn_last", "zdeleted"));
    expect(entry).toMatchObject({ tenantId: "tn_last", value: { seq: 2 } });
    expect(await store.get("outbox:evt_last")).not.toBeNull();
  });

  serverCase(
    "R01: 40 concurrent writers leave no row after a cascade: each is refused with tenant_deleted or deleted, in 50 rounds",
    async () => {
      const { store, racers, database } = open();
      const writers = await racers(40);
      const deleter = writers[0] ?? store;
      let refused = 0;
      for (let round = 0; round < 50; round++) {
        const id = `tn_race${round}`;
        await store.set(`tenant:${id}`, tenantRecord(id));
        const write = (writer: Store, i: number): Promise<unknown> =>
          i % 3 === 0
            ? writer.forTenant(id).set(`orphan:${round}:${i}`, 1)
            : i % 3 === 1
            ? writer.commit([{ key: `orphan:${round}:${i}`, version: null }], [{
              op: "set",
              key: `orphan:${round}:${i}`,
              value: 1,
              tenantId: id,
            }])
            : writer.increment(`usage:${id}:rooms:2026-${String(i + 1).padStart(2, "0")}`, [{ path: ["n"], by: 1 }], {
              initial: { value: {} },
            });
        await Promise.all(writers.map(async (writer, i) => {
          if (i === 0) return await deleter.commit([], [{ op: "deleteOwner", tenantId: id }]);
          return await write(writer, i).catch((error: unknown) => {
            if (!isInnkeepError(error, "tenant_deleted")) throw error;
            refused++;
          });
        }));
      }
      const { rows } = await withClient(
        database.superUrl,
        (client) =>
          client.query(
            "select key from kv.entries where owner like 'tn_race%'",
          ),
      );
      expect(rows).toEqual([]);
      expect(refused).toBeGreaterThan(0);
    },
  );

  test("A07: an audit entry cannot have an expiry, and a refused one does not start a chain", async () => {
    const { store, clock } = open();
    const key = auditKey("tn_expiring", "one");
    const set = { op: "set", key, value: auditRecord(key), expiresAt: clock.iso(1_000) } as const;
    expect(await codeOf(store.commit([], [set]))).toBe("validation_failed");
    await store.set("sweep:x", { x: 1 }, { expiresAt: clock.iso(1_000) });
    clock.advance(2_000);
    expect(await store.sweep(100)).toBeGreaterThan(0);
    expect(await store.chainHead("tn_expiring")).toBeNull();
  });

  test("A07: an audit entry can be neither changed nor deleted, in either store, nor by deletePrefix", async () => {
    const { store } = open();
    await store.commit([], [auditSet("tn_audit", "one"), auditSet(null, "one")]);
    const keys = [auditKey("tn_audit", "one"), auditKey(null, "one")];
    const before = await store.mget(keys);
    for (const key of keys) {
      const calls = [
        store.set(key, { ...auditRecord(key), contentHash: "0".repeat(64) }),
        store.del(key),
        store.mdel([key]),
        store.commit([], [{ op: "deletePrefix", prefix: "audit" }]),
      ];
      expect(await Promise.all(calls.map(codeOf))).toEqual(calls.map(() => "append_only"));
      const changes = [
        store.increment(key, [{ path: ["seq"], by: 1 }]),
        store.commit([], [{ op: "append", key, path: ["x"], items: [1] }]),
      ];
      for (const code of await Promise.all(changes.map(codeOf))) expect(["append_only", "validation_failed"]).toContain(code);
    }
    const own = store.forTenant("tn_audit");
    expect(await codeOf(own.del(keys[0] ?? ""))).toBe("append_only");
    expect(await codeOf(own.set(keys[0] ?? "", auditRecord("x")))).toBe("append_only");
    expect(await store.mget(keys)).toEqual(before);
  });

  serverCase(
    "A03: the audit chain of a scope has no gap and no wrong hash after 8 concurrent writers, some with refused commits",
    async () => {
      const { store, racers } = open();
      const writers = await racers(8);
      await store.set("chain:n", { n: 0 });
      await Promise.all(writers.map(async (writer, w) => {
        for (let i = 0; i < 25; i++) {
          const at = `2026-03-01T12:00:${String(i).padStart(2, "0")}.${String(w).padStart(3, "0")}Z`;
          await writer.commit([], [
            auditSet("tn_chain", `n${w}`, at),
            auditSet(null, `chain${w}`, at),
            { op: "increment", key: "chain:n", add: [{ path: ["n"], by: 1, max: 120 }] },
          ]);
        }
      }));
      for (const scope of ["tn_chain", null]) {
        const { entries } = await store.query({ entity: auditEntry, scope, orderBy: [{ field: "seq", direction: "asc" }], limit: 500 });
        const chain = entries.map((entry) => entry.value as { seq: number; prevHash: string; hash: string });
        expect(chain.map(({ seq }) => seq)).toEqual(chain.map((_, i) => i + 1));
        chain.forEach(({ seq, prevHash, hash }, i) => {
          expect(prevHash).toBe(chain[i - 1]?.hash ?? "0".repeat(64));
          expect(hash).toBe(createHash("sha256").update(`${prevHash}:${seq}:${"c".repeat(64)}`).digest("hex"));
        });
        expect(chain.length).toBeGreaterThanOrEqual(120);
      }
    },
  );
};
