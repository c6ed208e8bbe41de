import type { Context } from "hono";
import { z } from "zod";
import { errors, type FieldError, InnkeepError } from "../../shared/kernel/errors.ts";
import { fieldErrors, pointerOf, unknownField } from "../../shared/kernel/field-errors.ts";
import { findUnstorable, pointerToken } from "../../shared/kernel/json.ts";
import type { Route } from "../../shared/core/route.ts";
import { readJsonBody } from "./read-body.ts";

/** A body of a million mistakes gets no answer a hundred times its size. */
const MAX_ERRORS = 100;
const MAX_PATH_CHARS = 300;

interface Checked {
  readonly value: unknown;
  readonly errors: readonly FieldError[];
}

/**
 * Checks query and body against the route's schemas and reports every mistake of both at once: 400
 * when a parameter is wrong, else 422.
 */
export async function checkedInput(c: Context, route: Route): Promise<{ query: unknown; body: unknown }> {
  const query = checkQuery(new URL(c.req.url).searchParams, route.query);
  const body = route.method === "GET" || route.method === "DELETE"
    ? { value: undefined, errors: [] }
    : checkBody(await readJsonBody(c), route);
  const found = [...query.errors, ...body.errors].slice(0, MAX_ERRORS).map((error) => ({
    ...error,
    path: error.path.slice(0, MAX_PATH_CHARS),
  }));
  if (query.errors.length > 0) throw new InnkeepError("invalid_parameter", sentence(found), found);
  if (body.errors.length > 0) throw errors.validation(found);
  return { query: query.value, body: body.value };
}

function checkQuery(search: URLSearchParams, schema: z.ZodObject | undefined): Checked {
  const given: Record<string, string> = {};
  const found: FieldError[] = [];
  const refused = new Set<string>();
  for (const [name, value] of search) {
    const path = printable(name);
    if (!schema || !Object.hasOwn(schema.shape, name)) {
      found.push({ path, message: "is not a parameter of this route", code: "unknown_parameter" });
    } else if (Object.hasOwn(given, name)) {
      found.push({ path, message: "is given more than once", code: "repeated" });
      refused.add(name);
    } else if (findUnstorable(value)) {
      found.push({ path, message: "contains U+0000", code: "null_character" });
      refused.add(name);
    } else given[name] = value;
  }
  // A rule over several parameters needs them all, and one that was refused is not missing.
  const parsed = (schema && refused.size > 0 ? z.object(schema.shape) : schema)?.safeParse(given);
  const issues = (parsed?.error?.issues ?? []).filter(({ path: [name] }) => !refused.has(String(name)));
  found.push(...fieldErrors(issues, ([name = ""]) => String(name)));
  return { value: parsed?.data, errors: found };
}

function checkBody(given: unknown, route: Route): Checked {
  if (given === undefined && !route.bodyOptional && route.body) throw new InnkeepError("invalid_json", "this request needs a JSON body");
  const value = given === undefined ? {} : given;
  if (!route.body) {
    const extra = typeof value === "object" && value !== null && !Array.isArray(value) ? Object.keys(value) : [""];
    return {
      value: undefined,
      errors: extra.map((name) => unknownField(pointerOf([name]))),
    };
  }
  // First what no schema may walk into: it is too deep, or names the prototype.
  const unstorable = findUnstorable(value) ?? findPrototypeName(value);
  if (unstorable?.code === "too_deep") return { value: undefined, errors: [unstorable] };
  const parsed = route.body.safeParse(value);
  const issues = parsed.success ? [] : fieldErrors(parsed.error.issues);
  const known = unstorable && !issues.some((issue) => issue.path === unstorable.path);
  return { value: parsed.data, errors: known ? [unstorable, ...issues] : issues };
}

/** `__proto__` as a member's name is dropped or worse by ordinary code that copies objects. */
function findPrototypeName(value: unknown, at = ""): FieldError | null {
  if (typeof value !== "object" || value === null) return null;
  for (const [name, member] of Object.entries(value)) {
    const path = `${at}/${pointerToken(name)}`;
    if (name === "__proto__") return { path, message: "is not an allowed name", code: "forbidden_name" };
    const found = findPrototypeName(member, path);
    if (found) return found;
  }
  return null;
}

function sentence(found: readonly FieldError[]): string {
  return found.map((error) => `${error.path || "/"}: ${error.message}`).join("; ");
}

/** A name that came from outside, as it may stand in an answer. */
function printable(name: string): string {
  return name.slice(0, 100).replaceAll(/[^\x20-\x7e]/g, "?");
}
