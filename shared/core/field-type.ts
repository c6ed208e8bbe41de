import type { z } from "zod";

export type JsonSchema = z.core.JSONSchema.BaseSchema;
type Property = z.core.JSONSchema._JSONSchema;

const FORMATS: Readonly<Record<string, string>> = { "date-time": "instant", date: "day", email: "email", uri: "URL" };

/** A short description of a JSON Schema for a table: `integer, 0 to 100`, `list of text; at most 100 items`. */
export function fieldType(schema: Property): string {
  if (typeof schema === "boolean") return "any JSON";
  if (schema.$ref !== undefined) return "any JSON";
  if (schema.enum) return schema.enum.map((value) => `\`${String(value)}\``).join(", ");
  if (schema.const !== undefined) return `\`${JSON.stringify(schema.const)}\``;
  const choices = schema.anyOf ?? schema.oneOf;
  // The JSON Schema of z.json() is a long union of all types.
  if (choices) return choices.length > 4 ? "any JSON" : choices.map(fieldType).join(" or ");
  switch (schema.type) {
    case "string":
      return textType(schema);
    case "integer":
    case "number":
      return [schema.type, bounds(schema.minimum, schema.maximum)].filter(Boolean).join(", ");
    case "array":
      return listType(schema);
    case "object":
      return objectType(schema);
    default:
      return schema.type ? String(schema.type) : "any JSON";
  }
}

function textType(schema: JsonSchema): string {
  const format = FORMATS[schema.format ?? ""];
  if (format) return format;
  if (schema.pattern !== undefined) return `text like \`${schema.pattern}\``;
  return ["text", bounds(schema.minLength, schema.maxLength, "characters")].filter(Boolean).join(", ");
}

function listType(schema: JsonSchema): string {
  const items = Array.isArray(schema.items) ? "any JSON" : fieldType(schema.items ?? true);
  const size = bounds(schema.minItems, schema.maxItems, "items");
  return `list of ${items}${size && `; ${size}`}`;
}

function objectType(schema: JsonSchema): string {
  const members = Object.keys(schema.properties ?? {});
  if (members.length > 0) return `object \`{${members.join(", ")}}\``;
  return `object of ${fieldType(schema.additionalProperties ?? true)}`;
}

/** Omits the bounds of safe integers, which z.int() always has. */
function bounds(min: number | undefined, max: number | undefined, unit = ""): string {
  const low = min === undefined || min === Number.MIN_SAFE_INTEGER ? undefined : min;
  const high = max === undefined || max === Number.MAX_SAFE_INTEGER ? undefined : max;
  const range = low !== undefined && high !== undefined
    ? `${low} to ${high}`
    : low !== undefined
    ? `at least ${low}`
    : high !== undefined
    ? `at most ${high}`
    : "";
  return range && unit ? `${range} ${unit}` : range;
}
