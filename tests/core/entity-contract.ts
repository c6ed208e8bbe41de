import { describe, expect, test } from "vitest";
import { z } from "zod";
import { cascadePlan } from "../../shared/core/cascade.ts";
import { dataModelDocument } from "../../shared/core/documents.ts";
import { retentionPlan } from "../../shared/core/retention.ts";
import { registry } from "../../shared/features/registry.ts";
import { findUnstorable } from "../../shared/kernel/json.ts";
import { declaredBy } from "../../shared/kv/declared.ts";
import { cascadesOf, familyOf, secretsOf, tenantIdOf } from "../../shared/kv/define.ts";
import type { AnyEntity } from "../../shared/kv/define.ts";
import { fieldTypeOf } from "../../shared/kv/fields.ts";
import { exampleParams, keyFrom } from "./example.ts";

const JSON_TYPES = { text: ["string"], time: ["string"], number: ["number", "integer"], boolean: ["boolean"] } as const;

function fieldsOf(entity: AnyEntity): string[] {
  const named = [entity.filterable, entity.sortable, entity.rollup?.groupBy, entity.rollup?.sum, ...entity.indexes ?? []].flat();
  return [...new Set(named as readonly (string | undefined)[])].filter((field) => field !== undefined && field !== "@tenantId") as string[];
}

const declared = declaredBy(registry);
/** Of the data model's page, made once for all entities. */
let sections: readonly string[] | undefined;

function propertiesOf(entity: AnyEntity): Readonly<Record<string, z.core.JSONSchema._JSONSchema>> {
  const schema: z.core.JSONSchema.BaseSchema = z.toJSONSchema(entity.schema, { io: "input" });
  return Object.fromEntries(Object.entries(schema.properties ?? {}).map(([name, property]) => [name, withoutNull(property)]));
}

/** The schema of what is not null. */
function withoutNull(property: z.core.JSONSchema._JSONSchema): z.core.JSONSchema._JSONSchema {
  if (typeof property !== "object" || property.anyOf?.length !== 2) return property;
  return property.anyOf.find((each) => typeof each === "object" && each.type !== "null") ?? property;
}

/** The contract of every declared entity. */
export function entityContract(entities: readonly AnyEntity[] = registry): void {
  describe.each(entities.map((entity) => [entity.name, entity] as const))("%s", contractOf);
}

function contractOf(name: string, entity: AnyEntity): void {
  test("K28: its example is valid, storable, and unchanged by a parse", () => {
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
      // z.json() accepts every value except a function.
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

  test("its searchable and secret fields are in its schema, and the searchable ones are texts", () => {
    const properties = propertiesOf(entity);
    for (const field of entity.searchable ?? []) expect(properties[field], field).toMatchObject({ type: "string" });
    for (const field of secretsOf(entity)) expect(Object.keys(properties)).toContain(field);
  });

  test("no secret field can be searched, filtered or sorted by", () => {
    const visible: readonly string[] = [...fieldsOf(entity), ...entity.searchable ?? []];
    for (const secret of secretsOf(entity)) expect(visible).not.toContain(secret);
  });

  test("its key family has the shape of its key and gives the row the tenant of the record", () => {
    const key = keyFrom(entity, exampleParams(entity));
    const row = declared.entities.find(({ family, colons }) => family === familyOf(entity) && colons === key.split(":").length - 1);
    const tenantId = tenantIdOf(entity, entity.example);
    expect(row).toMatchObject({ entity: name, append_only: entity.appendOnly === true });
    if (row?.owner_rule === "segment") expect(key.split(":")[1]).toBe(tenantId);
    if (row?.owner_rule === "platform") expect(tenantId).toBeNull();
    const fillfactor = declared.families.find(({ family }) => family === familyOf(entity))?.fillfactor ?? 100;
    const hasCounter = registry.some((other) => familyOf(other) === familyOf(entity) && other.frequentUpdates === true);
    expect(fillfactor < 80, "room for updates in place").toBe(hasCounter);
  });

  test("T10: the cascade plan contains it, as its records behave", () => {
    const rule = cascadePlan(registry).find((row) => row.entity === name);
    expect(rule?.family).toBe(familyOf(entity));
    if (rule?.rule === "delete") expect(cascadesOf(entity, entity.example)).toBe(true);
    if (rule?.rule === "retain") expect(cascadesOf(entity, entity.example)).toBe(false);
    expect(rule?.rule === "platform").toBe(entity.owner === "platform");
  });

  test("its retention refers to an instant of the record, if it has one", () => {
    const rule = retentionPlan(registry).find((row) => row.entity === name);
    expect(rule === undefined).toBe(entity.retention === undefined);
    if (!rule) return;
    expect(rule.days).toBeGreaterThan(0);
    expect(propertiesOf(entity)[rule.after]).toMatchObject({ format: "date-time" });
  });

  test("the data model's page has a section on it, with its key and every field", () => {
    const section = (sections ??= dataModelDocument(registry).split("\n## ")).find((text) => text.startsWith(`${name}\n`)) ?? "";
    expect(section).toContain(`- Key: \`${entity.key}\``);
    for (const field of Object.keys(entity.schema.shape)) expect(section).toContain(`| \`${field}\` |`);
  });
}
