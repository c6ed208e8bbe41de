import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import ts from "typescript";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { readMigrations } from "../../functions/local/migrations.ts";
import { migrate } from "../../shared/adapters/migrator.ts";
import type { Migration } from "../../shared/adapters/migrator.ts";
import { cascadePlan } from "../../shared/core/cascade.ts";
import { retentionPlan } from "../../shared/core/retention.ts";
import { registry } from "../../shared/features/registry.ts";
import { Collection } from "../../shared/core/collection.ts";
import { declaredBy, NOTHING_DECLARED, schemaChanges } from "../../shared/kv/declared.ts";
import type { Declared } from "../../shared/kv/declared.ts";
import { matchKey } from "../../shared/kv/define.ts";
import type { AnyEntity } from "../../shared/kv/define.ts";
import type { Query } from "../../shared/kv/store.ts";
import { withClient } from "../support/client.ts";
import { emptyDatabase } from "../support/postgres.ts";
import { freshStore } from "../support/store.ts";
import type { OpenStore } from "../support/store.ts";
import { read, ROOT } from "./sources.ts";

const PAGE = "docs/adding-an-entity.md";

/** The page's blocks in one language. */
function blocks(language: string): string[] {
  return [...read(PAGE).matchAll(new RegExp(`^\`\`\`${language}\\n([\\s\\S]*?)^\`\`\`$`, "gm"))].map(([, text = ""]) => text);
}

/** The declarations of the page, by file name; a block's first line names its file. */
const files = blocks("ts").flatMap((text) => {
  const [, name] = /^\/\/ shared\/entities\/([a-z-]+\.ts)\n/.exec(text) ?? [];
  return name && name !== "registry.ts" ? [{ name, text: text.replace('"./values.ts"', '"../entities/values.ts"') }] : [];
});

/** Beside the real folder, so that imports resolve; hidden, so that nothing else takes it for the program's. */
let folder: string;
let door: AnyEntity;
let override: AnyEntity;
let declared: readonly AnyEntity[];
let migrations: readonly Migration[];
let opened: OpenStore;

beforeAll(async () => {
  folder = await mkdtemp(join(ROOT, "shared", ".adding-an-entity-"));
  const modules: Readonly<Record<string, AnyEntity>>[] = [];
  for (const { name, text } of files) {
    const path = join(folder, name);
    await writeFile(path, text);
    modules.push(await import(/* @vite-ignore */ path) as Readonly<Record<string, AnyEntity>>);
  }
  const added = modules.flatMap((module) => Object.values(module));
  [door, override] = added as [AnyEntity, AnyEntity];
  // Somebody who has followed the page has both already, in the registry and in a migration.
  declared = [...registry.filter(({ name }) => !added.some((entity) => entity.name === name)), ...added];
  const declaresThem = (sql: string) => added.some(({ name }) => sql.includes(`kv.add_entity('${name}'`));
  migrations = (await readMigrations()).filter(({ sql }) => !declaresThem(sql));
  const database = await emptyDatabase();
  await withClient(database.ownerUrl, (client) => migrate(client, migrations));
  opened = await freshStore({ driver: "postgres", database });
});

afterAll(async () => {
  await opened.close();
  await opened.database.drop();
  await rm(folder, { recursive: true, force: true });
});

const summaries = () => new Map(declared.map((entity) => [entity.name, entity.summary]));

async function declaredInDatabase(): Promise<Declared> {
  const { rows: [row] } = await withClient(
    opened.database.ownerUrl,
    (client) => client.query<{ declared: Declared }>("select kv.declared()"),
  );
  return row?.declared ?? NOTHING_DECLARED;
}

async function keysOf(entity: AnyEntity, query: Partial<Query> = {}): Promise<string[]> {
  return (await opened.store.query({ entity, limit: 100, ...query })).entries.map(({ key }) => key);
}

describe("docs/adding-an-entity.md, executed", () => {
  test("K28: its declarations compile, and it lists both in the registry", () => {
    expect(files.map(({ name }) => name)).toEqual(["door.ts", "door-override.ts"]);
    const { config } = ts.readConfigFile(join(ROOT, "tsconfig.json"), ts.sys.readFile) as { readonly config: unknown };
    const { options } = ts.parseJsonConfigFileContent(config, ts.sys, ROOT);
    const paths = files.map(({ name }) => join(folder, name));
    const program = ts.createProgram(paths, options);
    const found = paths.flatMap((path) => {
      const source = program.getSourceFile(path);
      return [...program.getSyntacticDiagnostics(source), ...program.getSemanticDiagnostics(source)];
    });
    expect(found.map(({ messageText }) => ts.flattenDiagnosticMessageText(messageText, "\n"))).toEqual([]);
    const list = blocks("ts").find((text) => text.startsWith("// shared/entities/registry.ts"));
    expect([...(list ?? "").matchAll(/^ {2}(\w+),$/gm)].map(([, name]) => name)).toEqual(["door", "doorOverride"]);
  });

  test("K26: the migration it shows is what `npm run schema` writes, and makes the database what is declared", async () => {
    const changes = schemaChanges(await declaredInDatabase(), declaredBy(declared), summaries());
    const [shown = ""] = blocks("sql");
    const [, version] = /values \('(\d{14})', 'doors'\);\n$/.exec(shown) ?? [];
    const record = `insert into kv.migrations (version, name) values ('${version}', 'doors');`;
    expect(shown).toBe(`-- Written by \`npm run schema\` from the declarations.\n\n${changes}\n\n${record}\n`);
    await opened.store.set("door:back", { ...door.example, id: "back" });
    await opened.store.set("door:tn_a:back", { ...override.example, id: "back", tenantId: "tn_a" });
    await withClient(opened.database.ownerUrl, (client) => client.query(`begin; ${shown} commit;`));
    expect(schemaChanges(await declaredInDatabase(), declaredBy(declared), summaries())).toBe("");
    const newest = [...migrations.map((each) => each.version), version].sort().at(-1);
    expect(await opened.store.ping()).toEqual({ migration: newest, pending: [], refusesWrites: null });
  });

  test("K28: counts, lists, searches and groups of the two never mix", async () => {
    const { store } = opened;
    const [doors, overrides] = [new Collection(door, store), new Collection(override, store)];
    await store.commit([], [
      { op: "delete", key: "door:back" },
      { op: "delete", key: "door:tn_a:back" },
      doors.set({ ...door.example }),
      ...["tn_a", "tn_b", "tn_c"].map((tenantId, i) =>
        overrides.set({ ...override.example, tenantId, state: i === 0 ? "open" : "locked" })
      ),
    ]);
    const all = ["door:tn_a:front", "door:tn_b:front", "door:tn_c:front"];
    expect(await store.count({ entity: door })).toBe(1);
    expect(await store.count({ entity: override })).toBe(3);
    expect(await store.count("door:")).toBe(4);
    expect(await keysOf(door)).toEqual(["door:front"]);
    expect(await keysOf(door, { orderBy: [{ field: "name", direction: "asc" }] })).toEqual(["door:front"]);
    expect(await keysOf(door, { where: [{ field: "kind", in: ["gate"] }], orderBy: [{ field: "createdAt", direction: "desc" }] }))
      .toEqual(["door:front"]);
    expect(await keysOf(door, { search: "front" })).toEqual(["door:front"]);
    expect(await keysOf(override)).toEqual(all);
    expect(await keysOf(override, { orderBy: [{ field: "updatedAt", direction: "asc" }] })).toEqual(all);
    expect(await keysOf(override, { scope: "tn_b", orderBy: [{ field: "updatedAt", direction: "asc" }] })).toEqual(["door:tn_b:front"]);
    expect(await store.aggregate({ entity: door, groupBy: ["kind"] })).toEqual([{ group: ["gate"], count: 1, sum: "0" }]);
    expect((await store.aggregate({ entity: override, groupBy: ["state"] })).sort((a, b) => a.count - b.count)).toEqual([
      { group: ["open"], count: 1, sum: "0" },
      { group: ["locked"], count: 2, sum: "0" },
    ]);
    expect((await overrides.list({ limit: 10, withTotal: true })).total).toBe(3);
  });

  test("K28: a tenant reads the platform's door and its own override, and no other tenant's", async () => {
    const bound = opened.store.forTenant("tn_a");
    expect((await bound.query({ entity: door, limit: 10 })).entries.map(({ key }) => key)).toEqual(["door:front"]);
    expect((await bound.query({ entity: override, limit: 10 })).entries.map(({ key }) => key)).toEqual(["door:tn_a:front"]);
    expect((await bound.list({ prefix: "door:" })).entries.map(({ key }) => key)).toEqual(["door:front", "door:tn_a:front"]);
    expect(await bound.get("door:tn_b:front")).toBeNull();
    expect(matchKey(door, "door:tn_a:front")).toBeNull();
    expect(await new Collection(door, opened.store).get("door:tn_a:front")).toBeNull();
  });

  test("K28: a key of neither shape is refused", async () => {
    await expect(opened.store.set("door:tn_a:front:left", {})).rejects.toMatchObject({ code: "key_owner_mismatch" });
  });

  test("K28: the retention plan and the cascade name the overrides only, and the cascade's report counts nothing else", async () => {
    const { store } = opened;
    const plan = retentionPlan(declared).filter(({ family }) => family === "door");
    expect(plan).toEqual([{ entity: "door-override", family: "door", days: 90, after: "updatedAt" }]);
    expect(cascadePlan(declared).filter(({ family }) => family === "door")).toEqual([
      { entity: "door", family: "door", rule: "platform" },
      { entity: "door-override", family: "door", rule: "goes" },
    ]);
    const result = await store.commit([], [{ op: "deleteOwner", tenantId: "tn_b" }]);
    expect(result).toMatchObject({ ok: true, deleted: { "door-override": 1 } });
    expect(await keysOf(override)).toEqual(["door:tn_a:front", "door:tn_c:front"]);
    expect(await keysOf(door)).toEqual(["door:front"]);
    const groups = await store.aggregate({ entity: override, groupBy: ["state"] });
    expect(groups.map(({ group: [state], count }) => `${state}: ${count}`).sort()).toEqual(["locked: 1", "open: 1"]);
  });
});
