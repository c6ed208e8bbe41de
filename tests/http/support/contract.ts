import { Ajv2020, type ValidateFunction } from "ajv/dist/2020.js";
import formats from "ajv-formats";
import { expect } from "vitest";
import type { Answer } from "./api.ts";

type Json = Record<string, unknown>;

/** Headers that a response has only where there is something to say. */
const OPTIONAL_HEADERS: ReadonlySet<string> = new Set(["Link", "Idempotent-Replayed", "RateLimit", "RateLimit-Policy"]);

const COMMON_HEADERS = [
  "x-request-id",
  "server-timing",
  "x-content-type-options",
  "content-security-policy",
  "cache-control",
  "referrer-policy",
];

export interface Contract {
  readonly document: Json;
  /** Fails if the file does not document the status, media type, body or headers of this response. */
  check(method: string, path: string, answer: Answer): void;
}

/** Checks responses against an OpenAPI file. */
export function contractOf(document: Json): Contract {
  const ajv = new Ajv2020({ strict: false, allErrors: true });
  formats.default(ajv);
  ajv.addSchema(document, "openapi");
  const compiled = new Map<string, ValidateFunction>();
  const validator = (ref: string) => {
    const known = compiled.get(ref) ?? ajv.compile({ $ref: `openapi${ref}` });
    compiled.set(ref, known);
    return known;
  };
  const operations = operationsOf(document);
  return {
    document,
    check: (method, path, answer) => {
      const { pathname } = new URL(path, "http://localhost");
      const operation = operations.find((one) => one.matches(method, pathname));
      const where = `${method} ${path} → ${answer.status} ${answer.text.slice(0, 400)}`;
      checkCommonHeaders(answer, where);
      if (answer.status >= 400) return checkProblem(validator(problemSchema(operation, answer, where)), answer, method, where);
      if (!operation || method === "OPTIONS") return expect(answer.status, where).toBe(204);
      const documented = operation.responses[answer.status];
      expect(documented, `${where} is not documented`).toBeDefined();
      for (const header of Object.keys(documented?.["headers"] ?? {})) {
        if (!OPTIONAL_HEADERS.has(header) && !(header === "ETag" && answer.body?.version === null)) {
          expect(answer.headers.has(header), `${where} lacks ${header}`).toBe(true);
        }
      }
      const content = documented?.["content"] as Json | undefined;
      const type = answer.headers.get("content-type")?.split(";")[0] ?? "";
      // A file has a media type and no schema.
      if (content && Object.keys(content[type] ?? {}).length === 0) return expect(Object.keys(content), where).toContain(type);
      const schema = content ? at(content, "application/json", "schema")["$ref"] : undefined;
      if (schema === undefined || method === "HEAD") return expect(answer.text, where).toBe("");
      checkSchema(validator(String(schema)), answer, where);
    },
  };
}

interface Operation {
  readonly responses: Record<string, Json>;
  matches(method: string, pathname: string): boolean;
}

/** Sorts literal segments before parameters, as the router does. */
function operationsOf(document: Json): Operation[] {
  const paths = Object.entries(at(document, "paths")).sort(([a], [b]) => sortable(a) < sortable(b) ? -1 : 1);
  return paths.flatMap(([path, methods]) => {
    const pattern = new RegExp(`^(/functions/v1/api|/api)?${path.replaceAll(/\{\w+\}/g, "[^/]+").replaceAll(".", "\\.")}$`);
    return Object.entries(methods as Json).map(([method, operation]) => ({
      responses: at(operation as Json, "responses") as Record<string, Json>,
      matches: (asked: string, pathname: string) =>
        (asked === method.toUpperCase() || (asked === "HEAD" && method === "get")) && pattern.test(pathname),
    }));
  });
}

function sortable(path: string): string {
  return path.replaceAll("{", "\u{ffff}");
}

function checkCommonHeaders({ headers }: Answer, where: string): void {
  expect(COMMON_HEADERS.filter((name) => !headers.has(name)), `headers that ${where} lacks`).toEqual([]);
}

/** Finds the problem's status and codes of this operation in the file. An unsupported method is not an operation. */
function problemSchema(operation: Operation | undefined, { status }: Answer, where: string): string {
  if (!operation || status === 405) return "#/components/schemas/Problem";
  const reference = operation.responses[status]?.["$ref"];
  expect(reference, `${where}: this status is not documented`).toBeDefined();
  return `${String(reference)}/content/application~1problem+json/schema`;
}

function checkProblem(validate: ValidateFunction, answer: Answer, method: string, where: string): void {
  if (method === "HEAD") return;
  expect(answer.headers.get("content-type"), where).toBe("application/problem+json");
  checkSchema(validate, answer, where);
  expect(answer.body.status, where).toBe(answer.status);
  if (answer.status === 401) expect(answer.headers.get("www-authenticate"), where).toMatch(/^Bearer /);
  if (answer.status === 405) expect(answer.headers.get("allow"), where).toBeTruthy();
  if (answer.status === 503) expect(answer.headers.get("retry-after"), where).toMatch(/^\d+$/);
}

function checkSchema(validate: ValidateFunction, answer: Answer, where: string): void {
  expect(validate(answer.body) || validate.errors, where).toBe(true);
}

function at(value: Json, ...path: string[]): Json {
  return path.reduce((inner, name) => inner[name] as Json, value);
}
