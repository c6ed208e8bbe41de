import { Validator } from "@cfworker/json-schema";
import type { FieldError } from "../../kernel/errors.ts";
import type { JsonObject, JsonValue } from "../../kernel/json.ts";

const MAX_BYTES = 16 * 1_024;
const TYPES = ["string", "number", "integer", "boolean", "object", "array", "null"];
/** The others take regular expressions that can be slow, or are not checked. */
const FORMATS = ["date", "time", "date-time", "duration", "email", "hostname", "ipv4", "ipv6", "uuid"];

type Check = (value: JsonValue, path: string) => FieldError | null;

function isObject(value: JsonValue | undefined): value is JsonObject {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

const fault = (path: string, message: string, code: string): FieldError => ({ path, message, code });
const kind = (is: (value: JsonValue) => boolean, message: string): Check => (value, path) =>
  is(value) ? null : fault(path, message, "invalid_type");

const anything: Check = () => null;
const text = kind((value) => typeof value === "string", "must be a text");
const number = kind((value) => typeof value === "number", "must be a number");
const flag = kind((value) => typeof value === "boolean", "must be true or false");
const count = kind((value) => Number.isInteger(value) && Number(value) >= 0, "must be an integer of at least 0");
const list = kind((value) => Array.isArray(value) && value.length > 0, "must be a list with at least one element");
const names = kind((value) => Array.isArray(value) && value.every((name) => typeof name === "string"), "must be a list of names");
const schemas: Check = (value, path) => list(value, path) ?? first(Object.entries(value as JsonObject), path, schema);
const members: Check = (value, path) =>
  isObject(value)
    ? first(Object.entries(value), path, schema)
    : fault(path, "must be an object with a schema for each member", "invalid_type");
const type = kind(
  (value) => [value].flat().length > 0 && [value].flat().every((name) => TYPES.includes(String(name))),
  `must be one or more of ${TYPES.join(", ")}`,
);
const format = kind((value) => FORMATS.includes(String(value)), `must be one of ${FORMATS.join(", ")}`);

/**
 * The keywords of a schema. References could be endless. A regular expression of one caller would be run on the texts of others, and a
 * comparison of all elements of a list takes long, so `pattern`, `patternProperties` and `uniqueItems` are not among them.
 */
const KEYWORDS: Readonly<Record<string, Check>> = {
  $comment: text,
  title: text,
  description: text,
  default: anything,
  examples: list,
  deprecated: flag,
  type,
  enum: list,
  const: anything,
  format,
  minLength: count,
  maxLength: count,
  minimum: number,
  maximum: number,
  exclusiveMinimum: number,
  exclusiveMaximum: number,
  multipleOf: kind((value) => typeof value === "number" && value > 0, "must be a number above 0"),
  items: schema,
  minItems: count,
  maxItems: count,
  properties: members,
  required: names,
  additionalProperties: schema,
  minProperties: count,
  maxProperties: count,
  anyOf: schemas,
  oneOf: schemas,
  allOf: schemas,
  not: schema,
};

function schema(value: JsonValue, path: string): FieldError | null {
  if (typeof value === "boolean") return null;
  if (!isObject(value)) return fault(path, "must be a schema: an object, true or false", "invalid_type");
  return first(Object.entries(value), path, (each, at, keyword) => {
    const check = Object.hasOwn(KEYWORDS, keyword) ? KEYWORDS[keyword] : undefined;
    return check ? check(each, at) : fault(at, `is not supported; use ${Object.keys(KEYWORDS).join(", ")}`, "unsupported_keyword");
  });
}

function first(
  entries: readonly (readonly [string, JsonValue])[],
  path: string,
  check: (value: JsonValue, path: string, name: string) => FieldError | null,
): FieldError | null {
  for (const [name, value] of entries) {
    const found = check(value, `${path}/${name.replaceAll("~", "~0").replaceAll("/", "~1")}`, name);
    if (found) return found;
  }
  return null;
}

/** What is wrong with a JSON Schema for the data of entries; null if nothing is. `path` is where it is in the body. */
export function schemaFault(given: JsonObject, path: string): FieldError | null {
  if (new TextEncoder().encode(JSON.stringify(given)).length > MAX_BYTES) {
    return fault(path, `must be at most ${MAX_BYTES / 1_024} KiB`, "too_big");
  }
  if (given["type"] !== "object") return fault(`${path}/type`, "must be object: the data of an entry is an object", "invalid_type");
  return schema(given, path);
}

/** What is wrong with the data of an entry, by the schema of its action; null if nothing is. Without a schema, there is no data. */
export function dataFault(data: JsonObject | undefined, dataSchema: JsonObject | undefined, path = "/data"): FieldError | null {
  if (!dataSchema) {
    return data === undefined ? null : fault(path, "must be absent, because the action has no `dataSchema`", "unrecognized_keys");
  }
  // The validator marks the schemas that it has seen, and records are frozen.
  const { valid, errors } = new Validator(structuredClone(dataSchema), "2020-12").validate(data ?? {});
  if (valid) return null;
  // The deepest error is the last; those before it say that what contains it does not match.
  const deepest = errors.at(-1);
  const at = (deepest?.instanceLocation ?? "#").slice(1);
  return fault(`${path}${at}`, `does not match the schema of the action: ${deepest?.error ?? "it is not valid"}`, "schema_mismatch");
}
