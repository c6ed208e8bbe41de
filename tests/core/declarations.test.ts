import { describe, expect, test } from "vitest";
import { z } from "zod";
import { cascadePlan } from "../../shared/core/cascade.ts";
import { diff, redact, REDACTED } from "../../shared/core/redaction.ts";
import { retentionPlan } from "../../shared/core/retention.ts";
import { registry } from "../../shared/features/registry.ts";
import { findUnstorable } from "../../shared/kernel/json.ts";
import { declaredBy } from "../../shared/kv/declared.ts";
import { cascadesOf, defineEntity, familyOf, ownerOf } from "../../shared/kv/define.ts";
import type { AnyEntity } from "../../shared/kv/define.ts";
import { fieldTypeOf } from "../../shared/kv/fields.ts";
import { exampleParams, keyFrom } from "./example.ts";

const JSON_TYPES = { text: ["string"], time: ["string"], number: ["number", "integer"], boolean: ["boolean"] } as const;

function fieldsOf(entity: AnyEntity): string[] {
  const named = [entity.filterable, entity.sortable, entity.rollup?.groupBy, entity.rollup?.sum, ...entity.indexes ?? []].flat();
  return [...new Set(named as readonly (string | undefined)[])].filter((field) => field !== undefined && field !== "@tenantId") as string[];
}

const declared = declaredBy(registry);

function propertiesOf(entity: AnyEntity): Readonly<Record<string, z.core.JSONSchema._JSONSchema>> {
  const schema: z.core.JSONSchema.BaseSchema = z.toJSONSchema(entity.schema, { io: "input" });
  return schema.properties ?? {};
}

describe.each(registry.map((entity) => [entity.name, entity] as const))("%s", (name, entity) => {
  test("K28: its example is valid, storable, and kept by a parse", () => {
    const parsed = entity.schema.parse(entity.example);
    expect(parsed).toMatchObject(entity.example);
    expect(findUnstorable(entity.example)).toBeNull();
  });

  test("K28: a record without a required field, or with a field of another type, is refused", () => {
    const required = Object.keys(entity.example).filter((field) => !entity.schema.shape[field].safeParse(undefined).success);
    expect(required.length).toBeGreaterThan(0);
    for (const field of required) {
      const { [field]: _gone, ...rest } = entity.example;
      expect(entity.schema.safeParse(rest).success, `without ${field}`).toBe(false);
      // z.json() takes anything but a function.
      expect(entity.schema.safeParse({ ...entity.example, [field]: () => 1 }).success, `${field} as a function`).toBe(false);
    }
  });

  test("fields that a newer version wrote survive a parse", () => {
    const future = { ...entity.example, fromTheFuture: { nested: [1, "two", null] } };
    expect(entity.schema.parse(future)).toMatchObject({ fromTheFuture: { nested: [1, "two", null] } });
  });

  test("every field it filters, sorts, groups, sums or indexes by is in its schema and has the type its schema says", () => {
    const properties = propertiesOf(entity);
    for (const field of fieldsOf(entity)) {
      const property = properties[field];
      if (typeof property !== "object") throw new Error(`${name} has no field ${field}`);
      expect(JSON_TYPES[fieldTypeOf(entity, field)] as readonly unknown[], field).toContain(property.type);
      expect(property.format === "date-time", `${field} is a time`).toBe(fieldTypeOf(entity, field) === "time");
    }
  });

  test("its searchable and secret fields are in its schema, and what is searched is text", () => {
    const properties = propertiesOf(entity);
    for (const field of entity.searchable ?? []) expect(properties[field], field).toMatchObject({ type: "string" });
    for (const field of entity.secrets ?? []) expect(Object.keys(properties)).toContain(field);
  });

  test("no secret field can be searched, filtered or sorted by", () => {
    const visible: readonly string[] = [...fieldsOf(entity), ...entity.searchable ?? []];
    for (const secret of entity.secrets ?? []) expect(visible).not.toContain(secret);
  });

  test("a declared family has its key's shape and gives the row the owner the record names", () => {
    const key = keyFrom(entity, exampleParams(entity));
    const row = declared.entities.find(({ family, colons }) => family === familyOf(entity) && colons === key.split(":").length - 1);
    const owner = ownerOf(entity, entity.example);
    expect(row).toMatchObject({ entity: name, append_only: entity.appendOnly === true });
    if (row?.owner_rule === "segment") expect(key.split(":")[1]).toBe(owner);
    if (row?.owner_rule === "platform") expect(owner).toBeNull();
    const fillfactor = declared.families.find(({ family }) => family === familyOf(entity))?.fillfactor ?? 100;
    expect(fillfactor < 80, "room for updates in place").toBe(entity.frequentUpdates === true);
  });

  test("T10: the cascade names it, as its records behave", () => {
    const rule = cascadePlan(registry).find((row) => row.entity === name);
    expect(rule?.family).toBe(familyOf(entity));
    if (rule?.rule === "goes") expect(cascadesOf(entity, entity.example)).toBe(true);
    if (rule?.rule === "kept") expect(cascadesOf(entity, entity.example)).toBe(false);
    expect(rule?.rule === "platform").toBe(entity.owner === "platform");
  });

  test("retention finds it by an instant of its own, or it has none", () => {
    const rule = retentionPlan(registry).find((row) => row.entity === name);
    expect(rule === undefined).toBe(entity.retention === undefined);
    if (!rule) return;
    expect(rule.days).toBeGreaterThan(0);
    expect(propertiesOf(entity)[rule.after]).toMatchObject({ format: "date-time" });
  });
});

describe("the registry", () => {
  test("names and key shapes are unique, so that a row has one declaration", () => {
    const shapes = declared.entities.map(({ family, colons }) => `${family}/${colons}`);
    expect(new Set(shapes).size).toBe(shapes.length);
    expect(new Set(registry.map(({ name }) => name)).size).toBe(registry.length);
  });

  test("T10: the cascade and the data model agree on what goes, stays and is not touched", () => {
    const rules = Object.fromEntries(cascadePlan(registry).map(({ entity, rule }) => [entity, rule]));
    expect(rules).toMatchObject({
      "tenant": "goes",
      "subdomain-claim": "goes",
      "domain-claim": "goes",
      "subscription": "goes",
      "usage-record": "goes",
      "audit-entry": "kept",
      "plan": "platform",
      "admin": "platform",
    });
  });

  test("retention keeps audit entries and usage 730 days, unless a policy says otherwise", () => {
    const days = (plan: ReturnType<typeof retentionPlan>) => Object.fromEntries(plan.map((row) => [row.entity, row.days]));
    expect(days(retentionPlan(registry))).toMatchObject({ "audit-entry": 730, "usage-record": 730 });
    const changed = days(retentionPlan(registry, { "audit-entry": 3_650, "usage-record": null, "plan": 1 }));
    expect(changed["audit-entry"]).toBe(3_650);
    expect(changed).not.toHaveProperty("usage-record");
    expect(changed).not.toHaveProperty("plan");
  });
});

describe("a declaration", () => {
  const vault = defineEntity({
    name: "vault",
    summary: "A record with a secret, declared for this test.",
    key: "vault:{id}",
    schema: z.looseObject({ id: z.string(), label: z.string(), secret: z.string().nullable().optional() }),
    owner: "platform",
    secrets: ["secret"],
    example: { id: "v_1", label: "safe", secret: "hunter2" },
  });

  test("with a key parameter or a field its schema lacks does not compile", () => {
    const key = "vault:{tenantId}";
    // @ts-expect-error -- the schema has no tenantId
    expect(defineEntity({ ...vault, key }).key).toBe(key);
    // @ts-expect-error -- nor a status
    expect(defineEntity({ ...vault, sortable: ["status"] }).sortable).toEqual(["status"]);
  });

  test("A04: a secret leaves a record redacted, whatever it holds, and an absent one stays absent", () => {
    expect(redact(vault, vault.example)).toEqual({ id: "v_1", label: "safe", secret: REDACTED });
    expect(redact(vault, { id: "v_1", secret: { nested: "hunter2" } })).toEqual({ id: "v_1", secret: REDACTED });
    expect(redact(vault, { id: "v_1", secret: null })).toEqual({ id: "v_1", secret: null });
    expect(redact(vault, { id: "v_1" })).toEqual({ id: "v_1" });
  });

  test("A04: a diff shows that a secret changed and neither what it was nor what it is", () => {
    const after = { ...vault.example, secret: "correct horse" };
    expect(diff(vault, vault.example, after)).toEqual({ before: { secret: REDACTED }, after: { secret: REDACTED } });
    expect(diff(vault, vault.example, null)).toEqual({ before: { id: "v_1", label: "safe", secret: REDACTED }, after: {} });
    expect(diff(vault, null, after)).toEqual({ before: {}, after: { id: "v_1", label: "safe", secret: REDACTED } });
  });

  test("A04: a diff is minimal, and there is none without a change", () => {
    const { example } = vault;
    expect(diff(vault, { ...example, version: "1" }, { ...example, label: "chest", version: "2" })).toEqual({
      before: { label: "safe" },
      after: { label: "chest" },
    });
    expect(diff(vault, { ...example, version: "1" }, { ...example, version: "2", updatedAt: "2026-01-01T00:00:00.000Z" })).toBeUndefined();
    expect(diff(vault, null, null)).toBeUndefined();
  });
});
