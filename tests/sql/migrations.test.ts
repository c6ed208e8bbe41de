import { expect, test } from "vitest";
import { registry } from "../../shared/features/registry.ts";
import { familyOf } from "../../shared/kv/define.ts";
import { fieldTypeOf } from "../../shared/kv/fields.ts";
import type { FieldType } from "../../shared/kv/fields.ts";
import { indexNameOf } from "../../shared/kv/query-plan.ts";
import { withClient } from "../support/client.ts";
import { emptyDatabase, freshDatabase, migrate, MIGRATIONS_DIR, SCHEMAS_DIR, sqlFiles } from "../support/postgres.ts";
import { freshStore } from "../support/store.ts";
import { catalogueOf } from "./catalogue.ts";

async function versions(): Promise<string[]> {
  return (await sqlFiles(MIGRATIONS_DIR)).map(({ name }) => name.split("_")[0] ?? "");
}

test("O19: a second migration run applies nothing and changes nothing", async () => {
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

test("O01: the migrations run on an empty project, also on a server with an already migrated database", async () => {
  const [first, second] = [await emptyDatabase(), await emptyDatabase()];
  await migrate(first.ownerUrl);
  await migrate(second.ownerUrl);
  expect(await catalogueOf(second.superUrl)).toEqual(await catalogueOf(first.superUrl));
  await first.drop();
  await second.drop();
});

test("O19: supabase/schemas and the migrations give the same catalogue", async () => {
  // Not the tests' template, which has a function of its own.
  const migrated = await emptyDatabase();
  await migrate(migrated.ownerUrl);
  const described = await emptyDatabase();
  await withClient(described.ownerUrl, async (client) => {
    for (const { sql } of await sqlFiles(SCHEMAS_DIR)) await client.query(sql);
  });
  const [fromMigrations, fromSchemas] = [await catalogueOf(migrated.superUrl), await catalogueOf(described.superUrl)];
  for (const part of Object.keys(fromMigrations)) expect({ [part]: fromSchemas[part] }).toEqual({ [part]: fromMigrations[part] });
  await migrated.drop();
  await described.drop();
});

test("O19: each migration is recorded in kv.migrations, separately from other migrations of the project", async () => {
  const database = await freshDatabase();
  const { rows } = await withClient(
    database.superUrl,
    (client) => client.query<{ version: string }>("select version from kv.migrations order by version"),
  );
  expect(rows.map(({ version }) => version)).toEqual(await versions());
  await database.drop();
});

const EXPRESSION: Readonly<Record<FieldType, string>> = {
  text: "kv.text_field(value, 'FIELD'::text)",
  time: "kv.time_field(value, 'FIELD'::text)",
  number: "kv.number_field(value, 'FIELD'::text)",
  boolean: "kv.boolean_field(value, 'FIELD'::text)",
};

test("K26: every declared index is built on its family's own partition, over its fields by their types and then the key, texts in byte order", async () => {
  const database = await freshDatabase();
  const { rows } = await withClient(
    database.superUrl,
    (client) =>
      client.query<{ name: string; partition: string; definition: string; valid: boolean; collations: string[] }>(
        `select c.relname as name, i.indrelid::regclass::text as partition, pg_get_indexdef(c.oid) as definition, i.indisvalid as valid,
           array(select a.attcollation::regcollation::text from pg_attribute a where a.attrelid = c.oid order by a.attnum) as collations
         from pg_index i join pg_class c on c.oid = i.indexrelid where c.relnamespace = 'kv'::regnamespace`,
      ),
  );
  const indexes = new Map(rows.map((row) => [row.name, row]));
  for (const entity of registry) {
    for (const fields of (entity.indexes ?? []) as readonly (readonly string[])[]) {
      const name = indexNameOf(entity, fields);
      const index = indexes.get(name);
      expect(index, name).toMatchObject({ partition: `kv.entries_${familyOf(entity)}`, valid: true });
      const expressions = fields.map((field) =>
        field === "@tenantId" ? "owner" : EXPRESSION[fieldTypeOf(entity, field)].replace("FIELD", field)
      );
      let at = 0;
      for (const expression of [...expressions, "key)"]) {
        at = index?.definition.indexOf(expression, at) ?? -1;
        expect(at, `${expression} in ${index?.definition}`).toBeGreaterThan(0);
      }
      expect(index?.collations.filter((collation) => collation !== "-" && collation !== '"C"'), name).toEqual([]);
    }
    if (entity.searchable?.length) {
      expect(indexes.get(`${entity.name.replaceAll("-", "_")}_search`)?.definition).toMatch(/USING gin/);
    }
  }
  await database.drop();
});

test("U01: an update of a counter is a HOT update: no index contains a changed field, and its pages have free space", async () => {
  const opened = await freshStore({ driver: "postgres" });
  const key = "usage:tn_hot:api_calls:2026-03";
  await opened.store.set(key, { current: 0 });
  const updates = { all: 0, inPlace: 0 };
  await withClient(opened.database.superUrl, async (client) => {
    const { rows } = await client.query<{ definition: string }>(
      "select pg_get_indexdef(indexrelid) as definition from pg_index where indrelid = 'kv.entries_usage'::regclass",
    );
    expect(rows.filter(({ definition }) => /\b(value|version|updated_at)\b/.test(definition))).toEqual([]);
    await client.query("begin");
    for (let i = 0; i < 20; i++) {
      await client.query(`select public.kv_write_many($1, now())`, [
        JSON.stringify([{ op: "increment", key, add: [{ path: '{"current"}', by: 1 }] }]),
      ]);
    }
    const { rows: [counted] } = await client.query<{ updated: string; hot: string }>(
      `select pg_stat_get_xact_tuples_updated('kv.entries_usage'::regclass) as updated,
         pg_stat_get_xact_tuples_hot_updated('kv.entries_usage'::regclass) as hot`,
    );
    updates.all = Number(counted?.updated);
    updates.inPlace = Number(counted?.hot);
    await client.query("commit");
  });
  expect(await opened.store.get(key)).toMatchObject({ value: { current: 20 } });
  expect(updates).toEqual({ all: 20, inPlace: 20 });
  await opened.close();
});
