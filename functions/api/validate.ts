import type { Context } from "hono";
import { z } from "zod";
import { errors, type FieldError, InnkeepError } from "../../shared/kernel/errors.ts";
import { boundedPath, fieldErrors, MAX_FIELD_ERRORS, pointerOf, unknownField } from "../../shared/kernel/field-errors.ts";
import { findForbiddenName, findUnstorable, isUnparsable } from "../../shared/kernel/json.ts";
import type { Route } from "../../shared/core/route.ts";
import { assertNoBody, readJsonBody } from "./read-body.ts";

/** Enough for a list with all of its filters. */
const MAX_QUERY_CHARS = 32 * 1024;

interface Checked {
  readonly value: unknown;
  readonly errors: readonly FieldError[];
}

/** Checks query and body against the route's schemas and reports all errors at once: 400 if a parameter is invalid, else 422. */
export async function checkedInput(c: Context, route: Route): Promise<{ query: unknown; body: unknown }> {
  const url = new URL(c.req.url);
  if (url.search.length > MAX_QUERY_CHARS) {
    throw new InnkeepError("bad_request", `The query string is longer than ${MAX_QUERY_CHARS} characters.`, [], { limit: MAX_QUERY_CHARS });
  }
  const query = checkQuery(url.searchParams, route.query);
  if (route.method === "DELETE") await assertNoBody(c);
  const body = route.method === "GET" || route.method === "DELETE"
    ? { value: undefined, errors: [] }
    : checkBody(await readJsonBody(c, route.bodyTypes), route);
  const found = [...query.errors, ...body.errors].slice(0, MAX_FIELD_ERRORS).map((error) => ({ ...error, path: boundedPath(error.path) }));
  if (query.errors.length > 0) throw new InnkeepError("invalid_parameter", sentence(found), found);
  if (body.errors.length > 0) throw errors.validation(found);
  return { query: query.value, body: body.value };
}

const memberwise = new WeakMap<z.ZodObject, z.ZodObject>();

/** The schema without its rules across several members. It is built once, when first needed. */
function withoutRules(schema: z.ZodObject): z.ZodObject {
  let plain = memberwise.get(schema);
  if (!plain) memberwise.set(schema, plain = z.object(schema.shape));
  return plain;
}

function checkQuery(search: URLSearchParams, schema: z.ZodObject | undefined): Checked {
  const given: Record<string, string> = {};
  const found: FieldError[] = [];
  const refused = new Set<string>();
  for (const [name, value] of search) {
    const path = printable(name);
    if (!schema || !Object.hasOwn(schema.shape, name)) {
      found.push({ path, message: "is not a parameter of this route", code: "unknown_parameter" });
    } else if (value === "") {
      continue; // A form sends an empty field this way.
    } else if (Object.hasOwn(given, name)) {
      found.push({ path, message: "must be given only once", code: "repeated" });
      refused.add(name);
    } else if (findUnstorable(value)) {
      found.push({ path, message: "must not contain U+0000", code: "null_character" });
      refused.add(name);
    } else given[name] = value;
  }
  // A refused parameter is not missing, so rules across several parameters must not run without it.
  const parsed = (schema && refused.size > 0 ? withoutRules(schema) : schema)?.safeParse(given);
  const issues = (parsed?.error?.issues ?? []).filter(({ path: [name] }) => !refused.has(String(name)));
  found.push(...fieldErrors(issues, ([name = ""]) => String(name)));
  return { value: parsed?.data, errors: found };
}

function checkBody(given: unknown, route: Route): Checked {
  if (given === undefined && !route.bodyOptional && route.body) throw new InnkeepError("invalid_json", "This request needs a JSON body.");
  const value = given === undefined ? {} : given;
  if (!route.body) {
    const extra = typeof value === "object" && value !== null && !Array.isArray(value) ? Object.keys(value) : [""];
    return {
      value: undefined,
      errors: extra.slice(0, MAX_FIELD_ERRORS).map((name) => unknownField(pointerOf([name]))),
    };
  }
  if (route.checksItems && Array.isArray(value)) {
    const items = route.body.safeParse(value);
    return { value: items.data, errors: items.success ? [] : fieldErrors(items.error.issues) };
  }
  // Values that no schema may walk into are refused first. All other errors are reported together.
  const unstorable = findUnstorable(value);
  if (unstorable && isUnparsable(unstorable)) return { value: undefined, errors: [unstorable] };
  const found = unstorable ?? findForbiddenName(value);
  const parsed = route.body.safeParse(value);
  const issues = parsed.success ? [] : fieldErrors(parsed.error.issues);
  const known = found && !issues.some((issue) => issue.path === found.path);
  return { value: parsed.data, errors: known ? [found, ...issues] : issues };
}

function sentence(found: readonly FieldError[]): string {
  return found.map((error) => `${error.path || "/"}: ${error.message}`).join("; ");
}

/** A name sent by the caller, made safe for a response. */
function printable(name: string): string {
  return name.slice(0, 100).replaceAll(/[^\x20-\x7e]/g, "?");
}
