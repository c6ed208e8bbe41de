import { afterAll, beforeAll, expect, test } from "vitest";
import { isInnkeepError } from "../../shared/kernel/errors.ts";
import type { Mutation, Store } from "../../shared/kv/store.ts";
import { withClient } from "../support/client.ts";
import { seededRandom } from "../support/random.ts";
import { codeOf, freshStore } from "../support/store.ts";
import type { OpenStore } from "../support/store.ts";
import { auditKey, auditRecord, tenantRecord } from "./contract/samples.ts";

const ROUNDS = 80;
const WRITERS = 11;
const add = [{ path: ["n"], by: 1 }];
let opened: OpenStore;
let racers: Store[];

beforeAll(async () => {
  opened = await freshStore({ driver: "postgres" });
  racers = await opened.racers(WRITERS + 1);
});
afterAll(() => opened.close());

/** The kinds of writes that can be the first one of a tenant. */
const FIRST_WRITES: readonly ((writer: Store, id: string) => Promise<unknown>)[] = [
  (writer, id) => writer.set(`first:${id}:set`, 1, { tenantId: id }),
  (writer, id) => writer.forTenant(id).set(`first:${id}:own`, 1),
  (writer, id) => writer.set(`tenant:${id}`, tenantRecord(id)),
  (writer, id) => writer.increment(`usage:${id}:rooms:2026-03`, add, { initial: { value: {} } }),
  (writer, id) => writer.forTenant(id).increment(`usage:${id}:users:2026-03`, add, { initial: { value: {} } }),
  (writer, id) => writer.increment(`first:${id}:count`, add, { initial: { value: {}, tenantId: id } }),
  (writer, id) => writer.mset([[`subscription:${id}`, {}], [`usage:${id}:api_calls:2026-03`, { n: 1 }]]),
  (writer, id) => writer.forTenant(id).mset(Array.from({ length: 20 }, (_, i) => [`first:${id}:many:${i}`, i])),
  (writer, id) => must(writer, [{ key: `first:${id}:checked`, version: null }], `first:${id}:checked`, id),
  (writer, id) => must(writer.forTenant(id), [{ key: `first:${id}:mine`, version: null }], `first:${id}:mine`, id),
  (writer, id) =>
    writer.commit([], [{ op: "append", key: `first:${id}:log`, path: ["l"], items: [1], initial: { value: {}, tenantId: id } }]),
];

async function must(writer: Store, checks: Parameters<Store["commit"]>[0], key: string, tenantId: string): Promise<void> {
  const result = await writer.commit(checks, [{ op: "set", key, value: 1, tenantId }]);
  if (!result.ok) throw new Error(`conflict on ${result.conflict}`);
}

async function rowsOf(pattern: string): Promise<unknown[]> {
  return await withClient(
    opened.database.superUrl,
    async (client) =>
      (await client.query("select key from kv.entries where owner like $1 or key like $2", [pattern, `%:${pattern}%`])).rows,
  );
}

test(
  "R01: in 80 rounds, a cascade racing the first 11 writers of a tenant leaves no row, and each write precedes it or is refused",
  async () => {
    const random = seededRandom("R01 first writers");
    const outcomes = { before: 0, refused: 0 };
    for (let round = 0; round < ROUNDS; round++) {
      const id = `tn_new${round}`;
      const deleter = racers[WRITERS] as Store;
      const writes = FIRST_WRITES.map((write, i) => async () => {
        for (let turn = random.below(3); turn > 0; turn--) await null;
        await write(racers[i] as Store, id).then(() => outcomes.before++, (error: unknown) => {
          if (!isInnkeepError(error, "tenant_deleted")) throw error;
          outcomes.refused++;
        });
      });
      const cascade = async () => {
        // The cascade starts before the writers or among them.
        if (round % 3) await racers[0]?.get("warm:up");
        expect(await deleter.commit([], [{ op: "deleteOwner", tenantId: id }])).toMatchObject({ ok: true });
      };
      await Promise.all([...writes.slice(0, 5).map((write) => write()), cascade(), ...writes.slice(5).map((write) => write())]);
    }
    expect(await rowsOf("tn\\_new%")).toEqual([]);
    expect(outcomes.before + outcomes.refused).toBe(ROUNDS * WRITERS);
    expect(Math.min(outcomes.before, outcomes.refused)).toBeGreaterThan(0);
  },
  120_000,
);

test("R01: every tenant id deleted in those rounds is refused by every kind of write", async () => {
  for (const round of [0, 1, 39, ROUNDS - 1]) {
    const id = `tn_new${round}`;
    const codes = await Promise.all(FIRST_WRITES.map((write, i) => codeOf(write(racers[i] as Store, id))));
    expect(codes).toEqual(FIRST_WRITES.map(() => "tenant_deleted"));
  }
  expect(await rowsOf("tn\\_new%")).toEqual([]);
});

test("R01: in 25 rounds, a write to a row that a cascade is deleting precedes the cascade or is refused", async () => {
  for (let round = 0; round < 25; round++) {
    const id = `tn_over${round}`;
    const own = opened.store.forTenant(id);
    await own.mset(Array.from({ length: 8 }, (_, i) => [`over:${round}:${i}`, { n: 0 }]));
    const deleter = racers[WRITERS] as Store;
    const calls = racers.slice(0, 8).map((writer, i) =>
      i % 2
        ? writer.forTenant(id).set(`over:${round}:${i}`, { n: 1 })
        : writer.increment(`over:${round}:${i}`, add, { initial: { value: {}, tenantId: id } })
    );
    const [, ...codes] = await Promise.all([
      deleter.commit([], [{ op: "deleteOwner", tenantId: id }]),
      ...calls.map((call) => codeOf(call)),
    ]);
    for (const code of codes) expect(code).toMatch(/^(no error.*|tenant_deleted)$/);
  }
  expect(await rowsOf("tn\\_over%")).toEqual([]);
});

test("R01: append-only rows written with cascades remain, and do not prevent the deletion of the tenant", async () => {
  const { store } = opened;
  const id = "tn_kept";
  const set = (nonce: string, cascades: boolean): Mutation => {
    const key = auditKey(id, nonce);
    return { op: "set", key, value: auditRecord(key, { tenantId: id }), cascades };
  };
  await store.commit([], [{ op: "set", key: `tenant:${id}`, value: tenantRecord(id) }, set("a", true), set("b", false)]);
  const { op: _, key, value, ...options } = set("c", true) as Extract<Mutation, { op: "set" }>;
  await store.forTenant(id).set(key, value, options);
  expect(await store.commit([], [{ op: "deleteOwner", tenantId: id }, set("last", true)])).toMatchObject({
    ok: true,
    deleted: { tenant: 1 },
  });
  const { entries } = await store.list({ prefix: `audit:${id}` });
  expect(entries.map((entry) => entry.key)).toEqual(["a", "b", "c", "last"].map((nonce) => auditKey(id, nonce)));
  expect(await codeOf(store.commit([], [set("later", false)]))).toBe("tenant_deleted");
});

test("R01: a commit that deletes a tenant leaves none of its rows, whatever else it writes", async () => {
  const { store } = opened;
  const id = "tn_mixed";
  await store.set("mixed:row", { n: 1 }, { tenantId: id });
  const deletion = { op: "deleteOwner", tenantId: id } as const;
  const others: readonly Mutation[] = [
    { op: "increment", key: "mixed:row", add },
    { op: "append", key: "mixed:row", path: ["l"], items: [1] },
    { op: "set", key: "mixed:new", value: 1, tenantId: id },
    { op: "increment", key: "mixed:new", add, initial: { value: {}, tenantId: id } },
  ];
  for (const other of others) expect(await codeOf(store.commit([], [deletion, other]))).toBe("validation_failed");
  expect(await store.get("mixed:row")).toMatchObject({ value: { n: 1 } });
  expect(await store.commit([], [deletion, { op: "delete", key: "mixed:row" }])).toMatchObject({ ok: true });
  expect(await rowsOf(id)).toEqual([]);
});

test("R01: a row that remains after the deletion of its tenant is refused for writes by every store", async () => {
  const { store } = opened;
  const id = "tn_paper";
  await store.set("paper:kept", { n: 1 }, { tenantId: id, cascades: false });
  await store.commit([], [{ op: "deleteOwner", tenantId: id }]);
  const calls = [
    store.set("paper:kept", { n: 2 }, { tenantId: id }),
    store.increment("paper:kept", add),
    store.commit([], [{ op: "increment", key: "paper:kept", add }]),
    store.commit([], [{ op: "append", key: "paper:kept", path: ["l"], items: [1] }]),
    store.forTenant(id).increment("paper:kept", add),
  ];
  expect(await Promise.all(calls.map(codeOf))).toEqual(calls.map(() => "tenant_deleted"));
  expect((await store.get("paper:kept"))?.value).toEqual({ n: 1 });
  // Retention may delete it.
  expect(await store.del("paper:kept")).toBe(true);
});

test("R01: the counts of a cascade separate entities that share a family, and contain only live rows", async () => {
  const { store, clock, database } = opened;
  await withClient(
    database.superUrl,
    (client) =>
      client.query(`insert into kv.families (family, colons, entity, owner_rule, cascades, append_only, tenant_readable)
      values ('usage', 1, 'usage-note', 'segment', true, false, false)`),
  );
  const id = "tn_report";
  await store.mset([[`usage:${id}`, { note: 1 }], [`usage:${id}:rooms:2026-03`, { n: 1 }], [`usage:${id}:users:2026-03`, { n: 1 }]]);
  await store.set(`usage:${id}:beds:2026-03`, { n: 1 }, { expiresAt: clock.iso(10) });
  clock.advance(10);
  const result = await store.commit([], [{ op: "deleteOwner", tenantId: id }]);
  expect(result).toMatchObject({ ok: true, deleted: { "usage-note": 1, "usage-record": 2 } });
  expect(await rowsOf(id)).toEqual([]);
});
