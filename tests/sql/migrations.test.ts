import { expect, test } from "vitest";
import { fieldColumn, FIELDS } from "../../shared/kv/fields.ts";
import type { FieldName, FieldType } from "../../shared/kv/fields.ts";
import { registry } from "../../shared/entities/registry.ts";
import { withClient } from "../support/client.ts";
import { emptyDatabase, freshDatabase, migrate, MIGRATIONS_DIR, SCHEMAS_DIR, sqlFiles } from "../support/postgres.ts";
import { catalogueOf } from "./catalogue.ts";

async function versions(): Promise<string[]> {
  return (await sqlFiles(MIGRATIONS_DIR)).map(({ name }) => name.split("_")[0] ?? "");
}

test("O19: migrating twice is migrating once: the second run applies nothing and changes nothing", async () => {
  const database = await emptyDatabase();
  expect(await migrate(database.ownerUrl)).toEqual(await versions());
  const before = await catalogueOf(database.superUrl);
  expect(await migrate(database.ownerUrl)).toEqual([]);
  expect(await catalogueOf(database.superUrl)).toEqual(before);
  await database.drop();
});

test("O19: of four migrations started at once, each file is applied exactly once", async () => {
  const database = await emptyDatabase();
  const applied = await Promise.all(Array.from({ length: 4 }, () => migrate(database.ownerUrl)));
  expect(applied.flat().toSorted()).toEqual(await versions());
  await database.drop();
});

test("O01: the migrations run on an empty project, and beside a project that has them already on the same server", async () => {
  const [first, second] = [await emptyDatabase(), await emptyDatabase()];
  await migrate(first.ownerUrl);
  await migrate(second.ownerUrl);
  expect(await catalogueOf(second.superUrl)).toEqual(await catalogueOf(first.superUrl));
  await first.drop();
  await second.drop();
});

test("O19: supabase/schemas says what the migrations make: both give the same catalogue", async () => {
  const migrated = await freshDatabase();
  const described = await emptyDatabase();
  await withClient(described.ownerUrl, async (client) => {
    // The table of the Supabase CLI, which exists before the first migration runs.
    await client.query(`create schema supabase_migrations;
      create table supabase_migrations.schema_migrations (version text primary key, statements text[], name text)`);
    for (const { sql } of await sqlFiles(SCHEMAS_DIR)) await client.query(sql);
  });
  const [fromMigrations, fromSchemas] = [await catalogueOf(migrated.superUrl), await catalogueOf(described.superUrl)];
  for (const part of Object.keys(fromMigrations)) expect({ [part]: fromSchemas[part] }).toEqual({ [part]: fromMigrations[part] });
  await migrated.drop();
  await described.drop();
});

const COLUMN_TYPE: Readonly<Record<FieldType, string>> = { text: "text", time: "text", number: "numeric", boolean: "boolean" };

test("K26: every filterable or sortable field has its column of the right type, in collation C where it is text", async () => {
  const database = await freshDatabase();
  const { rows } = await withClient(
    database.superUrl,
    (client) =>
      client.query<{ name: string; type: string; collation: string }>(
        `select attname as name, format_type(atttypid, atttypmod) as type, attcollation::regcollation::text as collation
       from pg_attribute where attrelid = 'kv.entries'::regclass and attname like 'f\\_%' and not attisdropped`,
      ),
  );
  const columns = new Map(rows.map((row) => [row.name, row]));
  for (const field of Object.keys(FIELDS) as FieldName[]) {
    const type = COLUMN_TYPE[FIELDS[field]];
    const collation = type === "text" ? '"C"' : "-";
    expect(columns.get(fieldColumn(field))).toEqual({ name: fieldColumn(field), type, collation });
  }
  const declared = new Set(registry.flatMap((entity) => [...entity.filterable ?? [], ...entity.sortable ?? []]));
  expect([...declared].filter((field) => !(field in FIELDS))).toEqual([]);
  await database.drop();
});

test("K26: no index hangs on the value itself: every update of an entry's other members could stay in its page", async () => {
  const database = await freshDatabase();
  const { rows } = await withClient(database.superUrl, (client) =>
    client.query<{ definition: string }>(
      `select pg_get_indexdef(indexrelid) as definition from pg_index where indrelid in ('kv.entries'::regclass, 'kv.counters'::regclass)`,
    ));
  expect(rows.filter(({ definition }) => /\bvalue\b|f_updated_at|\bversion\b|\bupdated_at\b/.test(definition))).toEqual([]);
  // Hot counters have the key's index alone; the sweep's partial one holds only what has an expiry.
  const counters = rows.filter(({ definition }) =>
    definition.includes("kv.counters") && !definition.endsWith("(expires_at) WHERE (expires_at IS NOT NULL)")
  );
  expect(counters.map(({ definition }) => definition)).toEqual([expect.stringMatching(/^CREATE UNIQUE INDEX counters_pkey/)]);
  await database.drop();
});
