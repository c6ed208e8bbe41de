import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { z } from "zod";
import { registry } from "../../shared/features/registry.ts";
import { instant, segment } from "../../shared/core/values.ts";
import { declaredBy, NOTHING_DECLARED, schemaChanges } from "../../shared/kv/declared.ts";
import type { Declared } from "../../shared/kv/declared.ts";
import { defineEntity, familyOf } from "../../shared/kv/define.ts";
import type { AnyEntity } from "../../shared/kv/define.ts";
import { withClient } from "../support/client.ts";
import { freshDatabase, MIGRATIONS_DIR, SCHEMAS_DIR, sqlFiles } from "../support/postgres.ts";
import type { TestDatabase } from "../support/postgres.ts";
import { freshStore } from "../support/store.ts";
import { catalogueAfter, catalogueOf } from "./catalogue.ts";

const HEADER = "-- Written by `npm run schema` from the declarations.";
const schema = z.looseObject({
  id: segment,
  tenantId: segment,
  name: z.string(),
  kind: z.enum(["single", "double"]),
  beds: z.int(),
  createdAt: instant,
});
const example = { id: "r1", tenantId: "tn_a", name: "One", kind: "single", beds: 1, createdAt: "2026-01-01T00:00:00.000Z" } as const;

const room = defineEntity({
  name: "room",
  summary: "A room of a hotel.",
  key: "room:{tenantId}:{id}",
  schema,
  owner: "tenant",
  filterable: ["kind"],
  sortable: ["name", "beds", "createdAt"],
  searchable: ["name"],
  indexes: [["@tenantId", "name"], ["kind", "createdAt"]],
  rollup: { groupBy: ["kind"], sum: "beds" },
  example,
});
const roomPlan = defineEntity({
  name: "room-plan",
  summary: "What a hotel can have rooms of.",
  key: "room:{id}",
  schema,
  owner: "platform",
  sortable: ["name"],
  indexes: [["name"]],
  example,
});

const anySchema = schema.extend({ smoking: z.boolean().optional() });

function changed(entity: AnyEntity, changes: { readonly [M in keyof AnyEntity]?: AnyEntity[M] | undefined }): AnyEntity {
  return { ...entity, ...changes } as AnyEntity;
}
const withoutRollup = changed(room, { rollup: undefined });
const summaries = new Map([...registry, room, roomPlan].map((entity) => [entity.name, entity.summary]));

function changes(from: readonly AnyEntity[], to: readonly AnyEntity[]): string {
  return schemaChanges(declaredBy([...registry, ...from]), declaredBy([...registry, ...to]), summaries);
}

/** The declarations of the database in the form of declaredBy, sorted. */
async function declaredIn(database: TestDatabase): Promise<Declared> {
  const { rows: [row] } = await withClient(database.superUrl, (client) => client.query<{ declared: Declared }>("select kv.declared()"));
  return row?.declared ?? NOTHING_DECLARED;
}

function inOrder({ families, entities, indexes, rollups }: Declared) {
  const sorted = <T>(rows: readonly T[]) => rows.map((row) => JSON.stringify(row)).sort();
  return {
    families: sorted(families.map(({ family, fillfactor }) => ({ family, fillfactor }))),
    entities: sorted(entities.map(({ entity, family, colons, owner_rule, cascades, append_only, tenant_readable }) => (
      { entity, family, colons, owner_rule, cascades, append_only, tenant_readable }
    ))),
    indexes: sorted(indexes.map(({ entity, fields, colons }) => ({ entity, fields, colons }))),
    rollups: sorted(rollups.map(({ rollup, group_by, sum }) => ({ rollup, group_by, sum }))),
  };
}

async function declare(database: TestDatabase, to: readonly AnyEntity[]): Promise<void> {
  const sql = schemaChanges(await declaredIn(database), declaredBy([...registry, ...to]), summaries);
  await withClient(database.ownerUrl, (client) => client.query(`begin; ${sql} commit;`));
}

describe("the project's own declarations", () => {
  test("K26, K28: the migrations create what is declared: `npm run schema` writes nothing", async () => {
    const database = await freshDatabase();
    const state = await declaredIn(database);
    await database.drop();
    expect([schemaChanges(state, declaredBy(registry), summaries), inOrder(state)]).toEqual(["", inOrder(declaredBy(registry))]);
  });

  test("K26: supabase/schemas/95_declared.sql is what `npm run schema` writes", async () => {
    const file = (await sqlFiles(SCHEMAS_DIR)).find(({ name }) => name === "95_declared.sql");
    expect(file?.sql).toBe(`${HEADER}\n\n${schemaChanges(NOTHING_DECLARED, declaredBy(registry), summaries)}\n`);
  });

  test("O19: the first migration is the text of the schemas and its own record", async () => {
    const [first, ...later] = await sqlFiles(MIGRATIONS_DIR);
    if (later.length > 0) return;
    const [, version, name] = /^(\d+)_(.+)\.sql$/.exec(first?.name ?? "") ?? [];
    const record = `insert into kv.migrations (version, name) values ('${version}', '${name}');\n`;
    expect(first?.sql).toBe([...(await sqlFiles(SCHEMAS_DIR)).map(({ sql }) => sql), record].join("\n"));
  });
});

/** Declarations before and after a change, in addition to those of the project. */
const STEPS: readonly (readonly [what: string, from: readonly AnyEntity[], to: readonly AnyEntity[]])[] = [
  ["an entity is added", [], [room]],
  ["an entity is removed", [room], []],
  ["an entity gets another name", [room], [changed(room, { name: "chamber" })]],
  ["an index is added", [room], [changed(room, { indexes: [...room.indexes ?? [], ["beds"]] })]],
  ["an index is dropped", [room], [changed(room, { indexes: [["kind", "createdAt"]] })]],
  ["other fields are searched", [room], [changed(room, { searchable: ["name", "kind"] })]],
  ["the search is removed", [room], [changed(room, { searchable: [] })]],
  ["its records remain when their tenant is deleted", [room], [changed(room, { onTenantDelete: "retain" })]],
  ["tenants may read the platform's", [roomPlan], [changed(roomPlan, { readableByTenants: true })]],
  ["it is updated often", [room], [changed(room, { frequentUpdates: true })]],
  ["a rollup is added", [withoutRollup], [room]],
  ["a rollup is dropped", [room], [withoutRollup]],
  ["a rollup counts by other fields", [room], [changed(room, { rollup: { groupBy: ["kind", "name"] } })]],
  ["another entity joins the family", [room], [room, roomPlan]],
  ["another entity leaves the family", [room, roomPlan], [room]],
  ["two entities of a family have a rollup", [room], [room, changed(roomPlan, { rollup: { groupBy: ["kind"] } })]],
  ["its records become append-only", [withoutRollup], [changed(withoutRollup, { appendOnly: true })]],
  ["its records are no longer append-only", [changed(withoutRollup, { appendOnly: true })], [withoutRollup]],
  ["its keys get another segment", [room], [changed(room, { key: "room:{tenantId}:{kind}:{id}" })]],
  ["its keys get another family", [room], [changed(room, { key: "chamber:{tenantId}:{id}" })]],
  ["the platform's records become the tenants'", [roomPlan], [changed(roomPlan, { owner: "tenant" })]],
];

describe("a change of declarations", () => {
  let untouched: TestDatabase;
  beforeAll(async () => void (untouched = await freshDatabase()));
  afterAll(() => untouched.drop());
  test.each(STEPS)(
    "K28: %s: the database then equals the declarations, a second run writes nothing, and no row is deleted",
    async (_, from, to) => {
      const opened = await freshStore({ driver: "postgres" });
      const { database, store } = opened;
      await declare(database, from);
      const keys = ["room:tn_a:1", "room:tn_b:1", "room:p1", "chamber:tn_a:1", "room:tn_a:single:1"];
      for (const key of keys) await store.set(key, { ...example }).catch(() => undefined);
      const stored = async () => (await store.mget(keys)).map((entry) => entry && [entry.key, entry.value, entry.version]);
      const before = await stored();
      await declare(database, to);
      const state = await declaredIn(database);
      const wanted = declaredBy([...registry, ...to]);
      expect(schemaChanges(state, wanted, summaries)).toBe("");
      // The partition of a family that is no longer declared remains with its rows.
      const families = state.families.filter(({ family }) => wanted.families.some((row) => row.family === family));
      expect(inOrder({ ...state, families })).toEqual(inOrder(wanted));
      expect(await stored()).toEqual(before);
      // Functions, indexes, triggers and policies equal those of a new database with the same declarations.
      const kept = new Set(to.map(familyOf));
      const gone = [...new Set(from.map(familyOf))].filter((family) => !kept.has(family));
      const [grown, made] = [await catalogueOf(database.superUrl), await catalogueAfter(untouched.superUrl, changes([], to))];
      for (const part of Object.keys(made)) {
        const left = (grown[part] ?? []).filter((line) => !gone.some((family) => line.includes(`entries_${family}`)));
        expect({ [part]: left }).toEqual({ [part]: made[part] });
      }
      await opened.close();
    },
  );

  test.each([["delete", "retain", []], ["retain", "delete", ["room:tn_a:1", "room:tn_a:2"]]] as const)(
    "K26: existing records follow the new rule when onTenantDelete becomes %s instead of %s",
    async (becomes, was, left) => {
      const opened = await freshStore({ driver: "postgres" });
      await declare(opened.database, [changed(room, { onTenantDelete: was })]);
      await opened.store.mset([["room:tn_a:1", { ...example }], ["room:tn_a:2", { ...example }]]);
      await declare(opened.database, [changed(room, { onTenantDelete: becomes })]);
      await opened.store.commit([], [{ op: "deleteOwner", tenantId: "tn_a" }]);
      expect((await opened.store.list({ prefix: "room:" })).entries.map(({ key }) => key)).toEqual(left);
      await opened.close();
    },
  );

  test("K28: an entity takes at most a dozen lines, and unchanged parts are not repeated", () => {
    const added = changes([], [room]).split("\n");
    expect(added.length).toBeLessThanOrEqual(12);
    expect(added).toEqual([
      "-- room: A room of a hotel.",
      "select kv.add_family('room');",
      "select kv.add_entity('room', 'room', 2, owner_rule => 'segment');",
      "select kv.add_index('room', fields) from unnest(array[",
      "  'owner, name text', 'kind text, createdAt time', 'search(name)'",
      "]) fields;",
      "select kv.add_rollup('room', '{kind}', sum => 'beds');",
      "",
      "select kv.attach_families();",
    ]);
    expect(changes([room], [changed(room, { indexes: [...room.indexes ?? [], ["beds"]] })])).toBe(
      "-- room: A room of a hotel.\nselect kv.add_index('room', 'beds number');",
    );
    expect(changes([room], [changed(room, { onTenantDelete: "retain" })])).toBe(
      "-- room: A room of a hotel.\nselect kv.add_entity('room', 'room', 2, owner_rule => 'segment', cascades => false);",
    );
    expect(changes([room], [changed(room, { summary: "Another text.", exported: true, filterable: [] })])).toBe("");
  });

  test("K28: no statement of a change removes a row, a partition or a table", () => {
    for (const [what, from, to] of STEPS) {
      const verbs = changes(from, to).split("\n").flatMap((line) =>
        /^select kv\.(\w+)/.exec(line)?.[1] ?? (/^(--| {2}'|\])/.test(line) || !line ? [] : line)
      );
      const known = ["add_family", "attach_families", "add_entity", "add_index", "add_rollup", "drop_entity", "drop_index", "drop_rollup"];
      expect(verbs.filter((verb) => !known.includes(verb)), what).toEqual([]);
    }
  });
});

describe("rows that were written before their family was declared", () => {
  test("K28: are moved into its partition by the same migration, with the tenant of their key, and are counted", async () => {
    const opened = await freshStore({ driver: "postgres" });
    const { store, database } = opened;
    const [a, b] = [store.forTenant("tn_a"), store.forTenant("tn_b")];
    const version = await store.set("room:tn_a:1", { ...example });
    await a.set("room:tn_a:2", { ...example, kind: "double", beds: 2 });
    await store.set("room:global:3", { ...example });
    await store.set("room:odd", { ...example });
    await store.set("roof:tn_a:1", { n: 1 });
    await declare(database, [room]);
    const { rows } = await withClient(database.superUrl, (client) =>
      client.query<{ key: string; partition: string; owner: string | null }>(
        "select key, tableoid::regclass::text as partition, owner from kv.entries where key ~ '^roo' order by key",
      ));
    expect(rows).toEqual([
      { key: "roof:tn_a:1", partition: "kv.entries_default", owner: null },
      { key: "room:global:3", partition: "kv.entries_room", owner: null },
      { key: "room:odd", partition: "kv.entries_room", owner: null },
      { key: "room:tn_a:1", partition: "kv.entries_room", owner: "tn_a" },
      { key: "room:tn_a:2", partition: "kv.entries_room", owner: "tn_a" },
    ]);
    expect(await a.get("room:tn_a:1")).toMatchObject({ version, tenantId: "tn_a" });
    expect(await b.get("room:tn_a:1")).toBeNull();
    expect(await store.count({ entity: room })).toBe(3);
    expect(await store.aggregate({ entity: room, groupBy: ["kind"], sum: "beds" })).toEqual(
      expect.arrayContaining([{ group: ["single"], count: 2, sum: "2" }, { group: ["double"], count: 1, sum: "2" }]),
    );
    expect(await store.commit([], [{ op: "deleteOwner", tenantId: "tn_a" }])).toMatchObject({ deleted: { room: 2 } });
    await opened.close();
  });

  test("K28: a row whose key contains another tenant than its owner is assigned to the tenant in the key", async () => {
    const opened = await freshStore({ driver: "postgres" });
    const { store, database } = opened;
    await store.forTenant("tn_b").set("room:tn_a:1", { ...example });
    await declare(database, [room]);
    expect(await store.forTenant("tn_b").get("room:tn_a:1")).toBeNull();
    expect(await store.forTenant("tn_a").get("room:tn_a:1")).toMatchObject({ tenantId: "tn_a" });
    await opened.close();
  });

  test("K28: a tenant's row of a family that is declared as the platform's is assigned to the platform", async () => {
    const opened = await freshStore({ driver: "postgres" });
    const { store, database } = opened;
    await store.forTenant("tn_b").set("room:p1", { ...example });
    await declare(database, [roomPlan]);
    expect(await store.get("room:p1")).toMatchObject({ tenantId: null });
    expect(await store.count({ entity: roomPlan })).toBe(1);
    await opened.close();
  });

  test("K28: an entity that is declared again has its remaining rows and those written meanwhile", async () => {
    const opened = await freshStore({ driver: "postgres" });
    const { store, database } = opened;
    await declare(database, [room]);
    await store.set("room:tn_a:1", { ...example });
    await declare(database, []);
    await store.set("room:tn_a:2", { ...example });
    await declare(database, [room]);
    expect(await store.count({ entity: room })).toBe(2);
    expect(
      (await store.query({ entity: room, scope: "tn_a", orderBy: [{ field: "name", direction: "asc" }], limit: 10 })).entries.map((
        { key },
      ) => key),
    )
      .toEqual(["room:tn_a:1", "room:tn_a:2"]);
    await opened.close();
  });
});

describe("entities that share a family", () => {
  test("K28: can differ in whether their records are append-only", async () => {
    const opened = await freshStore({ driver: "postgres" });
    const { store, database } = opened;
    await declare(database, [changed(withoutRollup, { appendOnly: true, onTenantDelete: "retain" }), roomPlan]);
    await store.set("room:p1", { ...example });
    await store.set("room:p1", { ...example, name: "Two" });
    expect(await store.get("room:p1")).toMatchObject({ value: { name: "Two" } });
    expect(await store.del("room:p1")).toBe(true);
    await opened.close();
  });

  test("K28: can differ in whether tenants read the platform's records", async () => {
    const opened = await freshStore({ driver: "postgres" });
    const { store, database } = opened;
    const secret = changed(roomPlan, { name: "room-secret", key: "room:{kind}:{name}:{id}" });
    await declare(database, [changed(roomPlan, { readableByTenants: true }), secret]);
    await store.set("room:p1", { ...example });
    await store.set("room:single:one:1", { ...example });
    const bound = store.forTenant("tn_a");
    expect(await bound.get("room:p1")).not.toBeNull();
    expect(await bound.get("room:single:one:1")).toBeNull();
    expect((await bound.list({ prefix: "room:" })).entries.map(({ key }) => key)).toEqual(["room:p1"]);
    expect(await bound.count("room:")).toBe(1);
    // An entity with two readable key shapes occurs once.
    await declare(database, [changed(room, { key: "room:{tenantId?}:{id}", readableByTenants: true })]);
    expect((await bound.list({ prefix: "room:" })).entries.map(({ key }) => key)).toEqual(["room:p1"]);
    expect(await bound.count("room:")).toBe(1);
    await opened.close();
  });
});

describe("a rollup", () => {
  test("K24: returns the same groups as a scan, for text, numbers, booleans and missing members", async () => {
    const opened = await freshStore({ driver: "postgres" });
    const { store, database } = opened;
    const entity = changed(roomPlan, {
      filterable: ["kind", "beds", "smoking"],
      rollup: { groupBy: ["kind", "beds", "smoking"] },
      schema: anySchema,
    });
    await declare(database, [entity]);
    await store.set("room:p1", { ...example, smoking: true });
    await store.set("room:p2", { ...example, beds: 2 });
    const wanted = [["single", "1", "true"], ["single", "2", null]];
    const sorted = (rows: readonly { readonly group: readonly unknown[] }[]) => rows.map(({ group }) => group).sort();
    expect(sorted(await store.aggregate({ entity: changed(entity, { rollup: undefined }), groupBy: ["kind", "beds", "smoking"] }))).toEqual(
      wanted,
    );
    expect(sorted(await store.aggregate({ entity, groupBy: ["kind", "beds", "smoking"] }))).toEqual(wanted);
    await opened.close();
  });
});

describe("a mistake in a declaration", () => {
  test("K28: two entities with the same family and number of colons are refused with their names", () => {
    expect(() => declaredBy([room, changed(room, { name: "chamber", key: "room:{tenantId}:{name}" })])).toThrow(
      /chamber and room both have keys/,
    );
    expect(() => declaredBy([room, roomPlan])).not.toThrow();
  });

  test("K28: an entity whose keys have two forms cannot share its family", () => {
    expect(() => declaredBy([changed(room, { key: "room:{tenantId?}:{id}" }), changed(roomPlan, { key: "room:{kind}:{name}:{id}" })]))
      .toThrow(
        TypeError,
      );
  });

  test.each(["Room", "9room", "ro om", "ro'om", "a".repeat(41), "default", "{tenantId}"])("K28: the family %s is refused", (family) => {
    expect(() => declaredBy([changed(room, { key: `${family}:{tenantId}:{id}` })])).toThrow(TypeError);
  });

  test.each(["owner", "expiry", "pkey"])(
    "K28: the family %s has its own partition, although an index of the store has a similar name",
    async (family) => {
      const entity = changed(roomPlan, { key: `${family}:{id}` });
      const opened = await freshStore({ driver: "postgres" });
      await declare(opened.database, [entity]);
      await opened.store.set(`${family}:p1`, { ...example });
      expect(await opened.store.count({ entity })).toBe(1);
      await opened.close();
    },
  );

  test("K26: an index whose name PostgreSQL would truncate is refused", () => {
    const entity = changed(roomPlan, {
      name: "room-plan-of-a-hotel-chain-in-one-country",
      indexes: [["kind", "createdAt", "beds", "name"]],
    });
    expect(() => declaredBy([entity])).toThrow(/index name .* is longer than 47 characters/);
  });

  test("K28: a rollup of records that expire, or by an unknown field, is a compile error", () => {
    // @ts-expect-error -- expired records would stay in its counts
    expect(defineEntity({ ...room, rollup: { groupBy: ["kind"] }, expires: true }).expires).toBe(true);
    // @ts-expect-error -- the schema has no status
    expect(defineEntity({ ...room, rollup: { groupBy: ["status"] } }).rollup).toEqual({ groupBy: ["status"] });
    // @ts-expect-error -- nor a floor
    expect(defineEntity({ ...room, key: "room:{tenantId}:{floor}" }).key).toBe("room:{tenantId}:{floor}");
  });
});
