import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { createBackend } from "../../../shared/container.ts";
import { dataFault, schemaFault } from "../../../shared/features/audit-actions/data-schema.ts";
import { reportedBody } from "../../../shared/features/audit-actions/reported.ts";
import { isInnkeepError } from "../../../shared/kernel/errors.ts";
import { silentLogger } from "../../../shared/kernel/logger.ts";
import type { JsonObject } from "../../../shared/kernel/json.ts";
import { ADMIN, KEYS, openTestContext, userOf } from "../../support/test-context.ts";

let context: Awaited<ReturnType<typeof openTestContext>>;
beforeAll(async () => void (context = await openTestContext()));
afterAll(() => context.close());

const ROOM = {
  type: "object",
  properties: { room: { type: "string", maxLength: 4 }, at: { type: "string", format: "date-time" } },
  required: ["room"],
  additionalProperties: false,
};

/** The first field error of a call that fails. */
async function faultOf(call: Promise<unknown>): Promise<string> {
  const error = await call.then(() => null, (thrown: unknown) => thrown);
  if (!isInnkeepError(error, "validation_failed")) return String(error);
  return `${error.fields[0]?.path} ${error.fields[0]?.code}`;
}

describe("the catalogue of actions", () => {
  test("A16: has the actions of the features and those of every entity, each with a version, a meaning and the schema of its data", async () => {
    const { data } = await context.AuditActionService.declared();
    const of = (name: string) => data.find(({ action }) => action === name);
    expect(of("plan.deleted")).toMatchObject({ version: 1, resource: "plan", dataSchema: { properties: {} } });
    expect(of("usage.corrected")).toMatchObject({ resource: "usage-record" });
    expect(of("api-key.refused")?.dataSchema).toMatchObject({ required: ["asked"], additionalProperties: false });
    expect(data.map(({ action }) => action)).toEqual([...data.map(({ action }) => action)].sort());
    expect(data.filter(({ description, resource }) => description.length < 10 || resource === "")).toEqual([]);
  });

  test("A16: the unit of work writes nothing for an action that is not declared", async () => {
    const { store, clock } = context;
    const { bind } = createBackend({ store, clock, logger: silentLogger, ...KEYS });
    const work = bind({ actor: ADMIN, tenantId: null, requestId: "req_test", clock });
    const commit = (action: string) =>
      work.transact(() => ({
        commit: {
          mutations: [{ op: "set" as const, key: `toy:${action}`, value: {} }],
          audit: [{ action, resource: "room", resourceId: "7" }],
          result: {},
        },
        resultOf: null,
      }));
    await expect(commit("room.burned")).rejects.toThrow("The action room.burned is not declared");
    expect(await store.get("toy:room.burned")).toBe(null);
    for (const action of ["room.opened", "plan.updated"]) await commit(action);
    expect(await store.get("toy:plan.updated")).not.toBe(null);
  });

  test("A16: log refuses an undeclared action, and data that the schema of the action does not allow", async () => {
    const { AuditService } = context;
    expect(await faultOf(AuditService.log("room.burned", "room", "7"))).toBe("/action undeclared_action");
    expect(await faultOf(AuditService.log("app.room.burned", "room", "7"))).toBe("/action undeclared_action");
    expect(await faultOf(AuditService.log("app.a:b", "room", "7"))).toBe("/action undeclared_action");
    expect(await faultOf(AuditService.log("plan.updated", "plan", "Pro", { data: { secret: 1 } }))).toBe("/data/secret schema_mismatch");
  });
});

describe("custom actions", () => {
  test("A16: a record declares an action; each change of its schema is a version, which the entries name", async () => {
    const { AuditActionService, AuditService } = context;
    const id = "app.room.unlocked";
    const made = await AuditActionService.create({ id, description: "A door was opened.", dataSchema: ROOM });
    expect(made.actionVersion).toBe(1);
    expect(await faultOf(AuditService.log(id, "room", "7", { data: { room: "12345" } }))).toBe("/data/room schema_mismatch");
    expect(await faultOf(AuditService.log(id, "room", "7", { data: { room: "7", at: "yesterday" } }))).toBe("/data/at schema_mismatch");
    expect(await faultOf(AuditService.log(id, "room", "7"))).toMatch(/schema_mismatch$/);
    await AuditService.log(id, "room", "7", { data: { room: "7" } });
    expect(await AuditActionService.update(id, { description: "A door was unlocked." })).toMatchObject({ actionVersion: 1 });
    expect(await AuditActionService.update(id, { dataSchema: { properties: { by: { type: "string" } } } })).toMatchObject({
      actionVersion: 2,
      dataSchema: { properties: { room: { maxLength: 4 }, by: { type: "string" } } },
    });
    context.clock.advance(1_000);
    await AuditService.log(id, "room", "8", { data: { room: "8", by: "reception" } });
    const { data } = await AuditService.list(undefined, {}, { action: id });
    expect(data.map(({ actionVersion, resourceId }) => [actionVersion, resourceId])).toEqual([[2, "8"], [1, "7"]]);
    expect(await AuditActionService.delete(id)).toBe(true);
    expect(await faultOf(AuditService.log(id, "room", "9", { data: { room: "9" } }))).toBe("/action undeclared_action");
  });

  test("A16: has a name of its own, and no data without a schema", async () => {
    const { AuditActionService, AuditService } = context;
    expect(await faultOf(AuditActionService.create({ id: "tenant.created", description: "Not mine." }))).toMatch(/^\/id /);
    await AuditActionService.create({ id: "app.ticked", description: "A clock has ticked." });
    const { id: tenantId } = await context.tenant();
    const own = context.as(userOf(tenantId));
    expect((await own.AuditActionService.get("app.ticked"))?.description).toBe("A clock has ticked.");
    expect(await faultOf(AuditService.log("app.ticked", "clock", "1", { data: { at: 1 } }))).toBe("/data unrecognized_keys");
    await own.AuditService.log("app.ticked", "clock", "1");
    expect((await context.auditOf(tenantId)).at(-1)).toMatchObject({ action: "app.ticked", actionVersion: 1 });
  });

  test.each<[string, JsonObject]>([
    ["/s/type", { type: "string" }],
    ["/s/$ref", { type: "object", $ref: "#" }],
    ["/s/properties/a/pattern", { type: "object", properties: { a: { type: "string", pattern: "(a+)+$" } } }],
    ["/s/properties/a~1b/format", { type: "object", properties: { "a/b": { format: "regex" } } }],
    ["/s/anyOf/1/not/items/uniqueItems", { type: "object", anyOf: [true, { not: { items: { uniqueItems: true } } }] }],
    ["/s/properties/__proto", { type: "object", properties: { __proto: 1 } }],
    ["/s/constructor", { type: "object", constructor: {} }],
    ["/s/required", { type: "object", required: [1] }],
    ["/s/minProperties", { type: "object", minProperties: -1 }],
    ["/s/properties/a/type", { type: "object", properties: { a: { type: ["text"] } } }],
    ["/s/oneOf", { type: "object", oneOf: [] }],
    ["/s", { type: "object", description: "x".repeat(20_000) }],
  ])("A16: the schema that is wrong at %s is refused", (path, given) => {
    expect(schemaFault(given, "/s")).toMatchObject({ path });
  });

  test("A16: a schema of every supported kind is accepted, and checked against data", () => {
    const given: JsonObject = {
      type: "object",
      properties: {
        guests: { type: "array", items: { type: "object", properties: { age: { type: "integer", minimum: 0 } } }, maxItems: 2 },
        kind: { enum: ["day", "night"] },
        note: { type: ["string", "null"] },
      },
      anyOf: [{ required: ["kind"] }, { required: ["note"] }],
      additionalProperties: { type: "number", multipleOf: 0.5 },
    };
    expect(schemaFault(given, "/dataSchema")).toBe(null);
    expect(dataFault({ kind: "day", guests: [{ age: 3 }], tax: 1.5 }, given)).toBe(null);
    expect(dataFault({ kind: "day", guests: [{ age: -3 }] }, given)).toMatchObject({ path: "/data/guests/0/age" });
    expect(dataFault({ kind: "dusk" }, given)).toMatchObject({ path: "/data/kind" });
    expect(dataFault({}, given)).not.toBe(null);
    expect(dataFault({ note: null, tax: 1.2 }, given)).toMatchObject({ path: "/data/tax" });
  });
});

describe("entries that other services report", () => {
  const entry = (id: string, more: object = {}) => ({
    id,
    source: "door-service",
    action: "app.door.opened",
    resource: "door",
    resourceId: "7",
    time: "2026-02-28T23:00:00+01:00",
    actor: { type: "guest", id: "guest-9" },
    data: { room: "7" },
    ...more,
  });
  const report = (given: object | readonly object[], services = context) => services.AuditReportService.report(reportedBody.parse(given));
  const statusesOf = async (given: readonly object[]) =>
    (await report(given)).map((each) => "error" in each ? each.error.code : each.status);
  beforeAll(() => context.AuditActionService.create({ id: "app.door.opened", description: "A door was opened.", dataSchema: ROOM }));

  test("A18: are written once, in the tenant's chain, with the caller and, beside it, what the service says", async () => {
    const { id: tenantId } = await context.tenant();
    const sent = entry("e-1", { tenantId: `tenant:${tenantId}` });
    expect(await report(sent)).toEqual([{ id: "e-1", source: "door-service", status: "accepted" }]);
    expect(await report(sent)).toEqual([{ id: "e-1", source: "door-service", status: "duplicate" }]);
    const chain = await context.auditOf(tenantId);
    expect(chain).toHaveLength(2);
    expect(chain[1]).toMatchObject({
      action: "app.door.opened",
      actionVersion: 1,
      actor: { type: "admin", id: ADMIN.id },
      data: { room: "7" },
      reported: {
        id: "e-1",
        source: "door-service",
        time: "2026-02-28T22:00:00.000Z",
        actor: { type: "guest", id: "guest-9" },
      },
      timestamp: context.clock.iso(),
    });
    expect(await context.AuditService.verify(tenantId)).toEqual({ ok: true, checked: 2 });
    const error = await report({ ...sent, resourceId: "8" }).then(() => null, (thrown: unknown) => thrown);
    expect(isInnkeepError(error, "idempotency_mismatch")).toBe(true);
  });

  test("A18: of a batch have a result each, and those that are sent at the same time are written once", async () => {
    const { id: tenantId } = await context.tenant();
    const batch = [
      entry("b-1", { tenantId }),
      entry("b-1", { tenantId }),
      entry("b-1", { tenantId, resourceId: "8" }),
      entry("b-2", { tenantId, action: "app.door.burned" }),
      entry("b-3", { tenantId, action: "tenant.updated" }),
      entry("b-4", { tenantId, data: { room: "12345" } }),
      entry("b-5", { tenantId: "tn_none" }),
      entry("b-6", { tenantId, actor: { type: "guest", id: "9", email: "ada@innkeep.example" } }),
      { id: "b-7" },
    ];
    expect(await statusesOf(batch)).toEqual([
      "accepted",
      "duplicate",
      "idempotency_mismatch",
      "undeclared_action",
      "undeclared_action",
      "schema_mismatch",
      "not_found",
      "unknown_field",
      "invalid_type",
    ]);
    const many = Array.from({ length: 150 }, (_, i) => entry(`m-${i}`, { tenantId }));
    const results = (await Promise.all([statusesOf(many), statusesOf(many), statusesOf(many)])).flat();
    expect(results.filter((status) => status === "accepted")).toHaveLength(150);
    expect(results.filter((status) => status === "duplicate")).toHaveLength(300);
    expect(await context.AuditService.verify(tenantId)).toEqual({ ok: true, checked: 152 });
  });

  test("A18: of a tenant's own services are written in its chain, and never in another's", async () => {
    const [own, other] = [await context.tenant(), await context.tenant()];
    const services = context.as(userOf(own.id));
    expect(await services.AuditReportService.report(reportedBody.parse([entry("t-1"), entry("t-2", { tenantId: other.id })])))
      .toMatchObject([
        { status: "accepted" },
        { status: "rejected", error: { code: "not_found", path: "/tenantId" } },
      ]);
    expect((await context.auditOf(own.id)).at(-1)).toMatchObject({ reported: { id: "t-1" }, actor: { type: "user" } });
    expect(await context.auditOf(other.id)).toHaveLength(1);
    expect((await report(entry("t-1", { tenantId: other.id })))[0]?.status).toBe("accepted");
  });
});
