import { describe, expect, test } from "vitest";
import { z } from "zod";
import {
  byServer,
  changedInstant,
  createdInstant,
  createOnly,
  forbiddenFields,
  generated,
  generatedId,
  given,
  inputsOf,
  keptFields,
  ownerOnly,
  platformOnly,
  stampsOf,
  traitsOf,
} from "../../shared/core/fields.ts";
import { instant } from "../../shared/core/values.ts";
import { defineEntity } from "../../shared/kv/define.ts";

const text = z.string();
const yard = z.object({ name: text, trees: z.number().default(3), owner: z.object({ email: text }).optional() });

/** An entity with every kind of field. */
const house = defineEntity({
  name: "house",
  summary: "Declared for this test.",
  key: "house:{tenantId}:{id}",
  schema: z.looseObject({
    id: generated("ff", text),
    tenantId: createOnly(text),
    street: text,
    kind: createOnly(text),
    note: text.max(9).meta({ description: "For the guest." }).optional(),
    colour: text.optional(),
    floors: z.number().default(2).meta({ description: "Above the ground." }),
    price: platformOnly(z.number().default(0)),
    plan: platformOnly(given(text, z.enum(["Basic", "Pro"]).default("Basic"))),
    keeper: ownerOnly(text.optional()),
    size: given(z.number(), z.number().max(5)),
    yard,
    tags: z.record(text, z.number()).optional().meta({ description: "As the guests vote." }),
    hash: byServer(text),
    createdAt: createdInstant(instant),
    updatedAt: changedInstant(instant.optional()),
  }),
  owner: "tenant",
  example: {
    id: "a",
    tenantId: "tn_1",
    street: "Elm",
    kind: "villa",
    floors: 2,
    price: 0,
    plan: "Basic",
    size: 1,
    yard: { name: "North", trees: 3 },
    hash: "h",
    createdAt: "2026-01-01T00:00:00.000Z",
  },
});
const least = { tenantId: "tn_1", street: "Elm", kind: "villa", size: 1, yard: { name: "North" } };
const { tenantId: _, ...replaced } = least;

/** The fields at which a body is refused. */
function places(schema: z.ZodType, body: unknown): string[] {
  const { error } = schema.safeParse(body);
  return (error?.issues ?? []).flatMap((issue) => issue.code === "unrecognized_keys" ? issue.keys : [issue.path.join("/")]).sort();
}

describe("the body that creates a record", () => {
  const { create } = inputsOf(house);

  test("K28: requires the fields without a default, and gets the defaults of fields that every caller may set", () => {
    expect(create.parse(least)).toEqual({ ...least, floors: 2, yard: { name: "North", trees: 3 } });
    for (const field of Object.keys(least)) expect(places(create, { ...least, [field]: undefined })).toEqual([field]);
  });

  test("K28: may contain an id, and fields that only the platform or the owner may set", () => {
    const whole = { ...least, id: "ff_1", floors: 1, price: 5, plan: "Pro", keeper: "Ada", note: "quiet", colour: "red", tags: { a: 1 } };
    expect(create.parse(whole)).toEqual({ ...whole, yard: { name: "North", trees: 3 } });
  });

  test.each([
    ["what the server sets", { hash: "x" }, ["hash"]],
    ["the time of creation", { createdAt: "2026-01-01T00:00:00.000Z" }, ["createdAt"]],
    ["the time of change", { updatedAt: "2026-01-01T00:00:00.000Z" }, ["updatedAt"]],
    ["an unknown field", { garage: 1 }, ["garage"]],
    ["a value that breaks the input rule", { size: 6, plan: "Trial" }, ["plan", "size"]],
    ["null for an optional field", { note: null }, ["note"]],
  ])("K28: is refused with %s", (_what, more, where) => {
    expect(places(create, { ...least, ...more })).toEqual(where);
  });
});

describe("the body that replaces a record", () => {
  test("K28: is the body of create without the fields that the path names", () => {
    const { put } = inputsOf(house);
    expect(put.parse(replaced)).toEqual({ ...replaced, floors: 2, yard: { name: "North", trees: 3 } });
    expect(places(put, { ...least, id: "ff_1", hash: "x" })).toEqual(["hash", "id", "tenantId"]);
  });

  test("K28: is the same as that of create if the caller sends no field of the key", () => {
    const half = { ...house, schema: house.schema.extend({ id: byServer(text) }) };
    expect(places(inputsOf(half).put, least)).toEqual(["tenantId"]);
    const keyed = { ...house, schema: house.schema.extend({ id: byServer(text), tenantId: byServer(text) }) };
    expect(inputsOf(keyed).put).toBe(inputsOf(keyed).create);
  });

  test("K28: has a schema that is computed once, like the others", () => {
    expect(inputsOf(house)).toBe(inputsOf(house));
    expect(inputsOf(house).put).not.toBe(inputsOf(house).create);
  });
});

describe("the body that changes a record", () => {
  const { update } = inputsOf(house);

  test.each<[string, Record<string, unknown>]>([
    ["nothing", {}],
    ["one field, and no default in place of the others", { street: "Oak" }],
    ["null for an optional field", { note: null, colour: null, keeper: null, tags: null }],
    ["a part of an object, without the defaults of its other members", { yard: { name: "South" } }],
    ["a part of an object in an object", { yard: { owner: { email: "a" } } }],
    ["null for a member of an object", { yard: { trees: null, owner: null } }],
    ["a member that a newer version knows", { yard: { pond: true } }],
    ["any member of a record, null and of any kind", { tags: { a: 1, b: null, c: "text" } }],
    ["what is the platform's or the owner's to set", { price: 1, plan: "Pro", keeper: "Eve" }],
  ])("H06: may hold %s", (_what, body) => {
    expect(update.parse(body)).toEqual(body);
  });

  test.each<[string, Record<string, unknown>, string[]]>([
    ["the id", { id: "b" }, ["id"]],
    ["what is set with the record only", { kind: "hut", tenantId: "tn_2" }, ["kind", "tenantId"]],
    ["what the server sets", { hash: "x", createdAt: "2026-01-01T00:00:00.000Z" }, ["createdAt", "hash"]],
    ["an unknown field", { garage: 1 }, ["garage"]],
    ["null for what a record must have", { street: null, floors: null, yard: null }, ["floors", "street", "yard"]],
    ["a value that breaks the input rule", { size: 6 }, ["size"]],
    ["a member of the wrong kind", { yard: { name: 1, owner: { email: 2 } } }, ["yard/name", "yard/owner/email"]],
    ["a text that is too long", { note: "0123456789" }, ["note"]],
  ])("H06: is refused with %s", (_what, body, where) => {
    expect(places(update, body)).toEqual(where);
  });

  test("H06: describes, after each optional field, that null removes it", () => {
    const { properties } = z.toJSONSchema(update, { io: "input" });
    expect(properties?.["note"]).toMatchObject({ description: "For the guest. Null removes it." });
    expect(properties?.["colour"]).toMatchObject({ description: "Null removes it." });
    expect(properties?.["tags"]).toMatchObject({ description: "As the guests vote. Null removes it." });
    expect(properties?.["floors"]).toMatchObject({ description: "Above the ground." });
    expect(properties?.["floors"]).not.toHaveProperty("default");
    expect(properties?.["street"]).not.toHaveProperty("description");
  });
});

describe("what a tenant's own user may not set", () => {
  const body = { street: "Oak", price: 1, plan: "Pro", keeper: "Eve" };

  test.each([
    ["owner", ["/price", "/plan"]],
    ["admin", ["/price", "/plan", "/keeper"]],
    [undefined, ["/price", "/plan", "/keeper"]],
  ])("R11: the %s of a tenant may not set %j", (role, held) => {
    expect(forbiddenFields(house, role, body)).toEqual(held);
  });

  test("R11: is refused if it is sent, also as null, and not if it is omitted", () => {
    expect(forbiddenFields(house, "admin", { street: "Oak", plan: undefined })).toEqual([]);
    expect(forbiddenFields(house, "admin", { keeper: null })).toEqual(["/keeper"]);
  });

  const stored = { ...house.example, keeper: "Ada", note: "quiet", fromTheFuture: 1 };
  const own = { id: "a", tenantId: "tn_1", kind: "villa", hash: "h", createdAt: "2026-01-01T00:00:00.000Z", fromTheFuture: 1 };
  test.each([
    ["the platform", { tenantId: null }, own],
    ["the platform, whatever its role", { tenantId: null, role: "admin" }, own],
    ["a tenant's owner", { tenantId: "tn_1", role: "owner" }, { ...own, price: 0, plan: "Basic" }],
    ["a tenant's admin", { tenantId: "tn_1", role: "admin" }, { ...own, price: 0, plan: "Basic", keeper: "Ada" }],
    ["a tenant's key", { tenantId: "tn_1" }, { ...own, price: 0, plan: "Basic", keeper: "Ada" }],
  ])("R11: is kept in a replacement by %s, like the fields of a newer version", (_who, caller, kept) => {
    expect(keptFields(house, caller, stored)).toEqual(kept);
  });
});

describe("what the program sets", () => {
  test("T01: the time of creation once, the time of change with every write", () => {
    expect(stampsOf(house, "create")).toEqual(["createdAt", "updatedAt"]);
    expect(stampsOf(house, "change")).toEqual(["updatedAt"]);
  });

  test("T01: an id with the declared prefix", () => {
    expect(generatedId(house)).toEqual({ field: "id", prefix: "ff" });
    expect(generatedId({ ...house, schema: house.schema.extend({ id: text }) })).toBeNull();
  });

  test("K28: the marks of a field combine in any order and do not change the marked schema", () => {
    const input = text.max(3);
    expect(traitsOf(platformOnly(createOnly(given(text, input))))).toEqual({ set: "create", setBy: "platform", input });
    expect(traitsOf(given(createOnly(platformOnly(text)), input))).toEqual({ set: "create", setBy: "platform", input });
    expect(traitsOf(ownerOnly(text))).toEqual({ set: "any", setBy: "owner" });
    expect(traitsOf(generated("tn", text))).toEqual({ set: "id", prefix: "tn" });
    expect(traitsOf(text)).toEqual({ set: "any" });
  });
});
