import { afterAll, beforeAll, expect, inject, test } from "vitest";
import pg from "pg";
import { PGBOUNCER, startPgBouncer } from "../support/pgbouncer.ts";
import type { PgBouncer } from "../support/pgbouncer.ts";
import { freshDatabase } from "../support/postgres.ts";
import { freshStore } from "../support/store.ts";
import { storeContract } from "./contract/index.ts";

const { superUrl } = inject("postgres");
const reason = PGBOUNCER ? null : "PgBouncer is not installed (apt-get install pgbouncer)";
if (reason) console.info(`the store through PgBouncer is not tested here: ${reason}`);

let pooler: PgBouncer | undefined;

beforeAll(async () => {
  if (!reason && PGBOUNCER) pooler = await startPgBouncer(PGBOUNCER, superUrl);
});

afterAll(() => pooler?.close());

function running(): PgBouncer {
  if (!pooler) throw new Error("PgBouncer is started before the tests");
  return pooler;
}

test.skipIf(reason !== null)(
  "K12: the tested PgBouncer has its default settings: it refuses unknown startup parameters, and uses one server connection",
  async () => {
    const database = await freshDatabase();
    const connectionString = running().urlOf(database.appUrl);
    const refused = new pg.Client({ connectionString, statement_timeout: 1_000 });
    refused.on("error", () => undefined);
    await expect(refused.connect()).rejects.toThrow(/unsupported startup parameter/);
    const clients = [new pg.Client({ connectionString }), new pg.Client({ connectionString })];
    const backends = new Set<unknown>();
    for (const client of clients) {
      await client.connect();
      backends.add((await client.query<{ pid: number }>("select pg_backend_pid() as pid")).rows[0]?.pid);
    }
    expect(backends.size).toBe(1);
    for (const client of clients) await client.end();
    await database.drop();
  },
);

if (!reason) {
  storeContract("postgres through PgBouncer", () => freshStore({ driver: "postgres", pooler: running() }), {
    serverCases: false,
    // The themes whose calls depend on a session: statements, settings of a transaction, batches.
    themes: ["keys", "lists", "commits", "increments", "tenants", "cascade", "takes"],
  });
}
