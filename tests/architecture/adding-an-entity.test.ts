import { join } from "node:path";
import { afterAll, describe, expect, test } from "vitest";
import { readMigrations } from "../../functions/local/migrations.ts";
import { migrate } from "../../shared/adapters/migrator.ts";
import { type Declared, declaredBy, NOTHING_DECLARED, schemaChanges } from "../../shared/kv/declared.ts";
import { withClient } from "../support/client.ts";
import { emptyDatabase } from "../support/postgres.ts";
import { followPage, lineCount, migration, migrationVersion, newFiles, PAGE } from "./page-copy.ts";
import { read } from "./sources.ts";

const copy = await followPage();
afterAll(() => copy.remove());

/** A module of the copy, typed as the same module of this program. */
const load = <M>(path: string): Promise<M> => import(/* @vite-ignore */ join(copy.root, path)) as Promise<M>;
const { registry } = await load<typeof import("../../shared/features/registry.ts")>("shared/features/registry.ts");
const { cascadePlan } = await load<typeof import("../../shared/core/cascade.ts")>("shared/core/cascade.ts");
const { retentionPlan } = await load<typeof import("../../shared/core/retention.ts")>("shared/core/retention.ts");
const { dataModelDocument } = await load<typeof import("../../shared/core/documents.ts")>("shared/core/documents.ts");
const { Collection } = await load<typeof import("../../shared/core/collection.ts")>("shared/core/collection.ts");
const { systemContext } = await load<typeof import("../../shared/kernel/context.ts")>("shared/kernel/context.ts");
const { entityContract } = await load<typeof import("../core/entity-contract.ts")>("tests/core/entity-contract.ts");
const { useApi } = await load<typeof import("../http/support/api.ts")>("tests/http/support/api.ts");
const { routeBattery } = await load<typeof import("../http/support/battery.ts")>("tests/http/support/battery.ts");

const declared = (name: string) => {
  const entity = registry.find((each) => each.name === name);
  if (!entity) throw new Error(`${PAGE} declares no ${name}`);
  return entity;
};
const [door, override] = [declared("door"), declared("door-override")];
const api = useApi();

/** The services of the page, as far as these tests use them. The copy checks their full types. */
interface Doors {
  create(data: object): Promise<{ readonly id: string; readonly version: string }>;
  update(id: string, updates: object): Promise<{ readonly name: string } | null>;
  delete(id: string): Promise<boolean>;
}
interface Overrides {
  put(tenantId: string, id: string, data: object): Promise<{ readonly created: boolean }>;
  list(tenantId: string): Promise<{ readonly data: readonly { readonly tenantId: string }[] }>;
}
const services = () =>
  api.container.services(systemContext(api.clock)) as unknown as { DoorService: Doors; DoorOverrideService: Overrides };

describe("docs/adding-an-entity.md, followed in a copy of the program", () => {
  test("K28: needs at most 150 hand-written lines, as many as it states, and one entry in the list of features", () => {
    const stat = [
      ...[...newFiles].map(([path, text]) => `${path} | ${lineCount(text)} +, new`),
      ...[...copy.added].map(([path, lines]) => `${path} | ${lines} +`),
      `supabase/migrations/${migrationVersion}_doors.sql | ${lineCount(migration)} +, generated`,
    ];
    console.info(stat.join("\n"));
    const byHand = [...newFiles.values()].map(lineCount).reduce((sum, lines) => sum + lines, 0);
    const inFiles = [...copy.added.values()].reduce((sum, lines) => sum + lines, 0);
    expect([...newFiles.keys()]).toEqual(["entity", "service", "routes"].map((name) => `shared/features/doors/${name}.ts`));
    expect([...copy.added.keys()]).toEqual(["shared/features/index.ts", "shared/adapters/migrator.ts"]);
    expect(byHand).toBeLessThanOrEqual(150);
    const [, ...figures] = /Both entities together take (\d+) lines of new files and (\d+) lines in existing files\./.exec(read(PAGE)) ??
      [];
    expect(figures.map(Number)).toEqual([byHand, inFiles]);
  });

  test("K26: shows the migration that `npm run schema` writes, after which the database matches the declarations", async () => {
    const database = await emptyDatabase();
    const before = (await readMigrations()).filter(({ version }) => version !== migrationVersion);
    const summaries = new Map(registry.map(({ name, summary }) => [name, summary]));
    try {
      await withClient(database.ownerUrl, async (client) => {
        const present = async () =>
          (await client.query<{ declared: Declared }>("select kv.declared()")).rows[0]?.declared ?? NOTHING_DECLARED;
        await migrate(client, before);
        const changes = schemaChanges(await present(), declaredBy(registry), summaries);
        const record = `insert into kv.migrations (version, name) values ('${migrationVersion}', 'doors');`;
        expect(migration).toBe(`-- Written by \`npm run schema\` from the declarations.\n\n${changes}\n\n${record}\n`);
        await client.query(`begin; ${migration} commit;`);
        expect(schemaChanges(await present(), declaredBy(registry), summaries)).toBe("");
      });
    } finally {
      await database.drop();
    }
  });
});

entityContract([door, override]);

describe("its routes", () => {
  test("H01: are eleven, each documented", () => {
    const paths = api.contract.document["paths"] as Record<string, object>;
    const operations = Object.entries(paths).filter(([path]) => path.includes("/door")).map((
      [path, methods],
    ) => [path, Object.keys(methods)]);
    expect(Object.fromEntries(operations)).toEqual({
      "/v1/doors": ["get", "post"],
      "/v1/doors/{doorId}": ["get", "patch", "delete"],
      "/v1/tenants/{tenantId}/door-overrides": ["get", "post"],
      "/v1/tenants/{tenantId}/door-overrides/{doorOverrideId}": ["get", "put", "patch", "delete"],
    });
  });

  routeBattery(api, ({ path }) => path.includes("/door"));

  test("K28: create, return, list, replace and delete a tenant's record", async () => {
    const [{ id: own }, { id: other }] = [await api.tenant(), await api.tenant()];
    const token = await api.user(own, "admin");
    const path = `/v1/tenants/${own}/door-overrides`;
    const made = await api.send("POST", path, { token, json: { id: "front", state: "open" } });
    expect(made.body).toMatchObject({ id: "front", tenantId: own, state: "open" });
    expect([made.status, made.headers.get("location")]).toEqual([201, `${path}/front`]);
    expect((await api.send("POST", path, { token, json: { id: "front", state: "open" } })).body.code).toBe("already_exists");
    expect((await api.send("PUT", `${path}/front`, { token, json: { state: "locked" } })).status).toBe(200);
    const put = await api.send("PUT", `${path}/back`, { token, json: { state: "open" } });
    expect([put.status, put.headers.get("location")]).toEqual([201, `${path}/back`]);
    await services().DoorOverrideService.put(other, "front", { state: "open" });
    const listed = await api.send("GET", `${path}?state=locked,open`, { token: api.admin("read_only") });
    expect(listed.body.data.map((record: { id: string; state: string }) => `${record.id} ${record.state}`).sort()).toEqual([
      "back open",
      "front locked",
    ]);
    expect((await api.send("GET", `${path}/door:${own}:front`, { token })).status).toBe(200);
    expect((await api.send("GET", `${path}/door:${other}:front`, { token })).status).toBe(404);
    expect((await api.send("DELETE", `${path}/front`, { token })).status).toBe(204);
    expect((await api.send("GET", `${path}/front`, { token })).status).toBe(404);
  });

  test("H06: refuse fields that the path names and fields that the program sets", async () => {
    const { id: tenantId } = await api.tenant();
    const token = api.admin("super_admin");
    const path = `/v1/tenants/${tenantId}/door-overrides`;
    const unknown = async (method: string, at: string, json: object) => {
      const { body } = await api.send(method, at, { token, json });
      return (body.errors as readonly { readonly path: string }[]).map((error) => error.path);
    };
    expect(await unknown("POST", path, { id: "a", state: "open", tenantId, updatedAt: "2026-01-01T00:00:00.000Z" })).toEqual([
      "/tenantId",
      "/updatedAt",
    ]);
    expect(await unknown("PUT", `${path}/a`, { id: "a", state: "open" })).toEqual(["/id"]);
    expect(await unknown("PATCH", `${path}/a`, { id: "b" })).toEqual(["/id"]);
  });
});

describe("its services", () => {
  test("A05: commit each change with its audit entry and its event", async () => {
    const { DoorService } = services();
    await DoorService.create({ id: "oak", name: "Oak door", kind: "room" });
    await DoorService.update("oak", { name: "Old oak door" });
    expect(await DoorService.delete("oak")).toBe(true);
    const audit = await api.send("GET", "/v1/audit?resource=door&resourceId=oak", { token: api.admin("super_admin") });
    const entries = audit.body.data as readonly { readonly action: string; readonly changes: object }[];
    expect(entries.map(({ action }) => action).sort()).toEqual(["door.created", "door.deleted", "door.updated"]);
    expect(entries.find(({ action }) => action === "door.updated")?.changes).toEqual({
      before: { name: "Oak door" },
      after: { name: "Old oak door" },
    });
    const events: string[] = [];
    for await (const { value } of api.open.store.entries({ prefix: "outbox" })) {
      const { type, subject } = value as { readonly type: string; readonly subject: string };
      if (subject === "oak") events.push(type);
    }
    expect(events.sort()).toEqual(["door.created", "door.deleted", "door.updated"]);
  });

  test("K28: never mix the two entities of the family, in lists, counts and groups", async () => {
    const { store } = api.open;
    const { DoorService, DoorOverrideService } = services();
    const before = { doors: await store.count({ entity: door }), overrides: await store.count({ entity: override }) };
    const { id: tenantId } = await api.tenant();
    await DoorService.create({ id: "twin", name: "Twin", kind: "gate" });
    await DoorOverrideService.put(tenantId, "twin", { state: "open" });
    expect(await store.count({ entity: door })).toBe(before.doors + 1);
    expect(await store.count({ entity: override })).toBe(before.overrides + 1);
    expect((await new Collection(door, store).list({ limit: 500, search: "Twin" })).records.map(({ id }) => id)).toEqual(["twin"]);
    expect((await DoorOverrideService.list(tenantId)).data.map((record) => record.tenantId)).toEqual([tenantId]);
    const groups = await store.aggregate({ entity: override, groupBy: ["state"], scope: tenantId });
    expect(groups).toEqual([{ group: ["open"], count: 1, sum: "0" }]);
    await expect(store.set("door:tn_a:front:left", {})).rejects.toMatchObject({ code: "key_owner_mismatch" });
  });

  test("T14: give a tenant's own users the platform's doors and their own overrides", async () => {
    const [{ id: own }, { id: other }] = [await api.tenant(), await api.tenant()];
    for (const tenantId of [own, other]) await services().DoorOverrideService.put(tenantId, "side", { state: "open" });
    const bound = api.open.store.forTenant(own);
    expect((await bound.query({ entity: override, limit: 10 })).entries.map(({ key }) => key)).toEqual([`door:${own}:side`]);
    expect((await bound.query({ entity: door, limit: 10 })).entries.length).toBeGreaterThan(0);
    expect(await bound.get(`door:${other}:side`)).toBeNull();
  });
});

describe("what is derived", () => {
  test("T10: the cascade deletes and reports a tenant's overrides, and retention and the documents contain them", async () => {
    const { id: tenantId } = await api.tenant();
    await services().DoorOverrideService.put(tenantId, "attic", { state: "open" });
    const removed = await api.send("DELETE", `/v1/tenants/${tenantId}`, { token: api.admin("super_admin") });
    expect(removed.body.removed).toMatchObject({ "door-override": 1, tenant: 1 });
    expect(await api.open.store.get(`door:${tenantId}:attic`)).toBeNull();
    const ofDoors = <R extends { readonly family: string }>(rows: readonly R[]) => rows.filter(({ family }) => family === "door");
    expect(ofDoors(retentionPlan(registry))).toEqual([{ entity: "door-override", family: "door", days: 90, after: "updatedAt" }]);
    expect(ofDoors(cascadePlan(registry)).map(({ entity, rule }) => `${entity} ${rule}`)).toEqual([
      "door platform",
      "door-override delete",
    ]);
    expect(dataModelDocument(registry)).toContain("## door-override\n");
  });
});
