import { z } from "zod";
import { REDACTED } from "../../core/redaction.ts";
import type { JsonObject } from "../../kernel/json.ts";
import { type AnyEntity, secretsOf } from "../../kv/define.ts";
import { type EventType, isTenantScoped, memberOf } from "./event-type.ts";
import { event } from "./view.ts";

/** JSON Schema, draft 2020-12. */
export type JsonSchema = JsonObject;

/** How a schema refers to what several types share. Without references, everything is inlined. */
export interface References {
  readonly record: (entity: AnyEntity) => JsonSchema;
  readonly omitted: JsonSchema;
}

/** What stands for a list or object that is too long for an event. */
export const OMITTED: JsonSchema = {
  type: "string",
  pattern: "^\\[omitted: \\d+ bytes\\]$",
  description: "Stands for a value that is too long for an event. Request the record to get it.",
};

const INLINE: References = { record: (entity) => recordSchema(entity, OMITTED), omitted: OMITTED };

/** The schema of a whole event of the type. Objects are open: receivers ignore members that they do not know. */
export function eventSchema(of: EventType, references: References = INLINE): JsonSchema {
  const { properties, required, ...schema } = jsonSchema(event) as Members;
  const own = ownSchema(of, references);
  const { tenantId: _, ...ofPlatform } = properties;
  return {
    ...schema,
    description: of.description,
    properties: { ...(isTenantScoped(of) ? properties : ofPlatform), ...own.properties },
    required: [...required, ...own.required.filter((name) => !required.includes(name))],
  };
}

/** What the type adds to the schema of every event. */
export function ownSchema(of: EventType, references: References): Members {
  const isAlways = of.record !== null && isAlwaysOfTenant(of.record);
  return {
    type: "object",
    properties: { type: { const: of.type }, data: dataSchema(of, references) },
    required: ["type", "data", ...(isAlways ? ["tenantId"] : [])],
  };
}

/** The schema of the record in the data of events. */
export function recordSchema(entity: AnyEntity, omitted: JsonSchema): JsonSchema {
  const { properties, ...schema } = jsonSchema(entity.schema) as Members;
  const secrets = secretsOf(entity);
  const shown = Object.entries(properties).map(([name, property]) => {
    if (secrets.includes(name)) return [name, { const: REDACTED }];
    return [name, isLong(property) ? orOmitted(property, omitted) : property];
  });
  return { ...schema, description: entity.summary, properties: Object.fromEntries(shown) as JsonObject };
}

function dataSchema({ record, extra }: EventType, { record: recordOf }: References): JsonSchema {
  const beside = extra ? jsonSchema(extra) as Members : { properties: {}, required: [] };
  return {
    type: "object",
    properties: { ...(record ? { [memberOf(record)]: recordOf(record) } : {}), ...beside.properties },
    required: [...(record ? [memberOf(record)] : []), ...beside.required ?? []],
  };
}

interface Members extends JsonObject {
  readonly properties: Readonly<Record<string, JsonSchema>>;
  readonly required: readonly string[];
}

/** Converts without `$schema` and closed objects. The only recursive schema, a JSON value, becomes the schema of any value. */
function jsonSchema(schema: z.ZodType): JsonSchema {
  const converted = z.toJSONSchema(schema, { target: "draft-2020-12", unrepresentable: "any", io: "output", override: opened });
  const { $schema: _, $defs: __, ...json } = converted as unknown as JsonSchema;
  const text = JSON.stringify(json).replaceAll(/\{"\$ref":"#\/\$defs\/[^"]+"\}/g, "{}").replaceAll(/"\$ref":"#\/\$defs\/[^"]+",?/g, "");
  return JSON.parse(text) as JsonSchema;
}

function opened({ jsonSchema }: { readonly jsonSchema: z.core.JSONSchema.BaseSchema }): void {
  const { additionalProperties: more } = jsonSchema;
  if (more === false || (typeof more === "object" && Object.keys(more).length === 0)) delete jsonSchema.additionalProperties;
  delete jsonSchema.examples;
}

function orOmitted({ description = "As in the record.", ...property }: JsonSchema, omitted: JsonSchema): JsonSchema {
  return { description, anyOf: [property, omitted] };
}

/** Lists and objects can be too long for an event. */
function isLong({ type, anyOf }: JsonSchema): boolean {
  const alternatives = (anyOf ?? []) as readonly JsonSchema[];
  return type === "array" || type === "object" || alternatives.some(isLong);
}

/** Whether every record of the entity belongs to a tenant. */
function isAlwaysOfTenant(entity: AnyEntity): boolean {
  if (entity.owner !== "tenant" || entity.platformToo) return entity.owner === "self";
  const { shape } = entity.schema as z.ZodObject;
  return !(shape["tenantId"] as z.ZodType).safeParse(undefined).success;
}
