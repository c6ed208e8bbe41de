import pg from "pg";
import { afterAll, beforeAll, expect, test } from "vitest";
import { withClient } from "../support/client.ts";
import { codeOf, freshStore } from "../support/store.ts";
import type { OpenStore } from "../support/store.ts";

let opened: OpenStore;
beforeAll(async () => void (opened = await freshStore({ driver: "postgres" })));
afterAll(() => opened.close());

const rowsOf = (key: string) =>
  withClient(
    opened.database.superUrl,
    async (client) => (await client.query("select key, cascades from kv.entries where key = $1", [key])).rows,
  );

/** Changes the cascade rule of outgoing events in a migration, and runs `during` before it commits. */
async function declare(cascades: boolean, during: () => readonly Promise<unknown>[] = () => []): Promise<void> {
  const owner = new pg.Client({ connectionString: opened.database.ownerUrl });
  await owner.connect();
  await owner.query("begin");
  await owner.query(`select kv.add_entity('outbox-event', 'outbox', 1, owner_rule => 'given', cascades => ${cascades})`);
  const writes = during();
  await new Promise((resolve) => setTimeout(resolve, 100));
  await owner.query("commit");
  await owner.end();
  await Promise.all(writes);
}

test("K28: writes during a migration that changes a family's cascade rule follow the new rule", async () => {
  const { store } = opened;
  const tenantId = "tn_race";
  await store.set("outbox:old", { n: 0 }, { tenantId });
  await declare(true, () => [
    store.set("outbox:old", { n: 1 }, { tenantId }),
    store.set("outbox:new", { n: 1 }, { tenantId }),
    store.commit([], [{ op: "set", key: "outbox:commit", value: 1, tenantId }]),
    store.forTenant(tenantId).set("outbox:own", 1),
    store.increment("outbox:count", [{ path: ["n"], by: 1 }], { initial: { value: {}, tenantId } }),
  ]);
  await store.commit([], [{ op: "deleteOwner", tenantId }]);
  expect((await store.list({ prefix: "outbox" })).entries.map(({ key }) => key)).toEqual([]);
});

test("K28: rows of a deleted tenant are unchanged, and writes for it are refused", async () => {
  const { store } = opened;
  const tenantId = "tn_dead";
  await declare(false);
  await store.set("outbox:dead", { n: 0 }, { tenantId });
  await store.commit([], [{ op: "deleteOwner", tenantId }]);
  await declare(true);
  expect(await rowsOf("outbox:dead")).toEqual([{ key: "outbox:dead", cascades: false }]);
  expect(await codeOf(store.set("outbox:dead", { n: 1 }, { tenantId }))).toBe("tenant_deleted");
  expect(await codeOf(store.increment("outbox:dead", [{ path: ["n"], by: 1 }]))).toBe("tenant_deleted");
});
