import { Ajv2020 } from "ajv/dist/2020.js";
import formats from "ajv-formats";
import { describe, expect, test } from "vitest";
import { features } from "../../shared/features/index.ts";
import { ERROR_KINDS, type ErrorCode } from "../../shared/kernel/errors.ts";
import { useApi } from "./support/api.ts";

const api = useApi();
type Json = Record<string, unknown>;
interface Document {
  readonly openapi: string;
  readonly info: Json;
  readonly tags: { readonly name: string; readonly description: string }[];
  readonly paths: Record<string, Record<string, Operation>>;
  readonly components: { readonly schemas: Record<string, Json> } & Record<string, Record<string, Json>>;
}
interface Parameter {
  readonly name: string;
  readonly in: string;
  readonly description: string;
  readonly style?: string;
  readonly explode?: boolean;
  readonly schema: Json & { readonly items?: { readonly enum?: string[] }; readonly description?: string };
}
interface Body {
  readonly content?: Record<string, { readonly schema: Json; readonly example?: unknown; readonly examples?: Record<string, Json> }>;
}
interface Operation {
  readonly operationId: string;
  readonly summary: string;
  readonly description: string;
  readonly tags: string[];
  readonly parameters: Json[];
  readonly security: Json[];
  readonly responses: Record<string, Json>;
  readonly requestBody?: Body;
}
const file = () => api.contract.document as unknown as Document;
const operations = () =>
  Object.entries(file().paths).flatMap(([path, methods]) =>
    Object.entries(methods).map(([method, operation]) => ({ path, method, operation }))
  );
const operationNamed = (id: string) => operations().find(({ operation }) => operation.operationId === id)?.operation;

/** Every `$ref` of the file. */
function references(value: unknown): string[] {
  if (typeof value !== "object" || value === null) return [];
  return Object.entries(value).flatMap(([name, member]) => name === "$ref" ? [String(member)] : references(member));
}

function lookUp(reference: string): unknown {
  return reference.replace(/^#\//, "").split("/").reduce<unknown>((value, name) => (value as Json | undefined)?.[name], file());
}

function resolved<T>(value: Json): T {
  return (typeof value["$ref"] === "string" ? lookUp(value["$ref"]) : value) as T;
}

/** Every schema within a value, with its path. */
function schemasIn(value: unknown, at = ""): { readonly at: string; readonly schema: Json }[] {
  if (typeof value !== "object" || value === null) return [];
  const own = "type" in value || "anyOf" in value ? [{ at, schema: value as Json }] : [];
  return [...own, ...Object.entries(value).flatMap(([name, member]) => schemasIn(member, `${at}/${name}`))];
}

function validators() {
  const ajv = new Ajv2020({ strict: false });
  formats.default(ajv);
  return ajv.addSchema(file(), "file");
}

describe("the OpenAPI file", () => {
  test("H11: documents all routes and no others", () => {
    const served = api.routes.map(({ method, path }) => `${method.toLowerCase()} ${path.replaceAll(/:(\w+)/g, "{$1}")}`);
    expect(operations().map(({ method, path }) => `${method} ${path}`).sort()).toEqual(served.sort());
  });

  test("H11: is valid OpenAPI 3.1: version, unique operation ids, declared path parameters, resolvable references", () => {
    const { openapi, info, tags } = file();
    expect(openapi).toBe("3.1.0");
    expect(info).toMatchObject({ title: expect.any(String), version: expect.any(String) });
    const ids = operations().map(({ operation }) => operation.operationId);
    expect(new Set(ids).size).toBe(ids.length);
    expect(ids.filter((id) => !/^[a-z]+([A-Z][a-z]+|[A-Z]+)*$/.test(id))).toEqual([]);
    expect(tags.map(({ name }) => name)).toEqual(["system", ...features.map(({ name }) => name)]);
    expect(tags.filter(({ description = "" }) => description.length < 10)).toEqual([]);
    for (const { path, operation } of operations()) {
      const named = [...path.matchAll(/\{(\w+)\}/g)].map(([, name]) => name);
      expect(operation.parameters.filter((one) => one["in"] === "path").map((one) => one["name"])).toEqual(named);
      for (const one of operation.parameters.map(resolved<Parameter>)) {
        expect(one).toMatchObject({
          name: expect.any(String),
          in: expect.stringMatching(/^(path|query|header)$/),
          schema: expect.any(Object),
        });
        expect(one.description?.length, `${path} ${one.name} has no description`).toBeGreaterThan(10);
      }
      expect(operation.tags.filter((tag) => !tags.some(({ name }) => name === tag))).toEqual([]);
      expect(operation.summary.length).toBeGreaterThan(5);
      expect(operation.description.length).toBeGreaterThan(10);
      for (const [status, response] of Object.entries(operation.responses)) {
        expect(status).toMatch(/^[1-5]\d\d$/);
        expect(resolved<Json>(response)["description"]).toEqual(expect.stringMatching(/./));
      }
    }
    for (const reference of references(file())) {
      expect(lookUp(reference), reference).toBeDefined();
    }
  });

  test("H11: has only schemas that are JSON Schema 2020-12", () => {
    const ajv = validators();
    for (const name of Object.keys(file().components.schemas)) {
      expect(() => ajv.compile({ $ref: `file#/components/schemas/${name}` }), name).not.toThrow();
      expect(JSON.stringify(file().components.schemas[name])).not.toContain("__shared");
    }
  });

  test("H11: has an example of every body, and each matches its schema", () => {
    const ajv = validators();
    const compiled = new Map<string, ReturnType<typeof ajv.compile>>();
    for (const { operation } of operations()) {
      const answers = Object.values(operation.responses).map(resolved<Body>);
      for (const body of [operation.requestBody ?? {}, ...answers]) {
        for (const { schema, example, examples = {} } of Object.values(body.content ?? {})) {
          const values = [
            ...(example === undefined ? [] : [example]),
            ...Object.values(examples).map((one) => resolved<Json>(one)["value"]),
          ];
          if (schema === undefined) continue;
          expect(values.length, `${operation.operationId} ${JSON.stringify(schema)}`).toBeGreaterThan(0);
          const text = JSON.stringify(schema);
          const validate = compiled.get(text) ?? ajv.compile(rebased(text));
          compiled.set(text, validate);
          for (const value of values) {
            expect(validate(value) || validate.errors, `${operation.operationId} ${JSON.stringify(value)}`).toBe(true);
          }
        }
      }
    }
  });

  test("H11: closes every object except those for arbitrary data, so that a misspelt field is an error", () => {
    const open = schemasIn(file().components.schemas).filter(({ schema }) =>
      schema["properties"] && schema["additionalProperties"] !== false
    );
    // CloudEvents have extension attributes.
    const events = ["/IngestUsageEventsBody/anyOf/0", "/IngestUsageEventsBody/anyOf/1/items"];
    // Members of a caller's own.
    const isFree = /\/(branding|properties\/settings)(\/|$)/;
    // Receivers ignore members of an event that they do not know.
    const isSent = (at: string) => /^\/\w+(Event\/allOf\/1|Snapshot)(\/|$)/.test(at);
    expect(open.map(({ at }) => at).filter((at) => !isFree.test(at) && !isSent(at))).toEqual(["/GetOpenApiResponse", ...events]);
  });

  test("H11: describes a field in the body of a patch as in the body of a creation", () => {
    const propertiesOf = (operation: Operation | undefined): Record<string, Json> => {
      const content = (operation as unknown as { requestBody?: { content: Record<string, { schema: { $ref: string } }> } })?.requestBody
        ?.content;
      const name = content?.["application/json"]?.schema.$ref.split("/").at(-1) ?? "";
      return (file().components.schemas[name]?.["properties"] ?? {}) as Record<string, Json>;
    };
    const described: string[] = [];
    for (const [path, { patch }] of Object.entries(file().paths)) {
      const created = propertiesOf(file().paths[path.slice(0, path.lastIndexOf("/"))]?.["post"]);
      for (const [field, changed] of Object.entries(propertiesOf(patch))) {
        const said = created[field]?.["description"];
        if (typeof said !== "string") continue;
        described.push(`${path} ${field}`);
        expect(changed["description"], `${path} ${field}`).toContain(said);
      }
    }
    expect(described).toContain("/v1/plans/{planId} limits");
    expect(described).toContain("/v1/tenants/{tenantId} mrr");
  });

  test("H11: describes every number, and the unit of every amount", () => {
    const numbers = schemasIn(file().components.schemas).filter(({ at, schema: { type, anyOf } }) =>
      !/\/(anyOf|allOf)\/\d+$/.test(at) &&
      (type === "integer" || type === "number" || /"type":"(integer|number)"/.test(JSON.stringify(anyOf ?? [])))
    );
    expect(numbers.length).toBeGreaterThan(20);
    expect(numbers.filter(({ schema }) => !schema["description"]).map(({ at }) => at)).toEqual([]);
    const units = {
      price: "minor unit",
      mrr: "major unit",
      totalMrr: "major unit",
      current: "bytes",
      value: "bytes",
      amount: /bytes|minor unit/,
      unitAmount: "minor unit",
      tax: "minor unit",
      creditedTotal: "minor unit",
      trialDays: "days",
    };
    for (const [name, unit] of Object.entries(units)) {
      const amounts = numbers.filter(({ at }) => at.endsWith(`/properties/${name}`));
      expect(amounts.length, name).toBeGreaterThan(0);
      for (const { at, schema } of amounts) expect(schema["description"], at).toMatch(unit);
    }
  });

  test("H20: lists the filters, ranges and sort orders of a list, with values and defaults", () => {
    const parameters = (operationNamed("listTenants")?.parameters ?? []).map(resolved<Parameter>);
    const named = (name: string) => parameters.find((one) => one.name === name);
    const statuses = ["pending", "trial", "active", "suspended", "cancelled"];
    expect(named("status")).toMatchObject({ style: "form", explode: false, schema: { type: "array", items: { enum: statuses } } });
    expect(named("sort")).toMatchObject({ explode: false, schema: { type: "array", default: ["-createdAt"] } });
    expect(named("sort")?.schema.items?.enum).toEqual(expect.arrayContaining(["mrr", "-mrr", "trialEndsAt"]));
    expect(named("limit")?.schema).toMatchObject({ type: "integer", minimum: 1, maximum: 100, default: 20 });
    expect(named("mrrFrom")?.description).toContain("major unit");
    for (const name of ["mrrFrom", "mrrTo", "usagePercentFrom", "trialEndsAtTo", "createdFrom", "createdTo"]) {
      expect(named(name)?.description, name).toMatch(/at or above|at or after|below|before/i);
    }
  });

  test("H01: has the codes of each status of an operation, and the members of its problem", () => {
    for (const { operation } of operations()) {
      for (const [status, response] of Object.entries(operation.responses).filter(([status]) => status >= "400")) {
        const { content = {} } = resolved<Body>(response);
        const parts = content["application/problem+json"]?.schema["allOf"] as { properties?: Record<string, { enum: unknown[] }> }[];
        expect(parts[1]?.properties?.["status"]?.enum).toEqual([Number(status)]);
        const codes = parts[1]?.properties?.["code"]?.enum as ErrorCode[];
        expect(codes.length).toBeGreaterThan(0);
        expect(codes.map((code) => ERROR_KINDS[code].status)).toEqual(codes.map(() => Number(status)));
      }
    }
    const suspend = resolved<Body>(operationNamed("suspendTenant")?.responses["409"] ?? {});
    expect(JSON.stringify(suspend)).toContain('"enum":["write_conflict","invalid_transition",');
  });

  test("H11: has the security, the scope, the authentication errors and the conditional headers of each route", () => {
    for (const { method, path, operation } of operations()) {
      const route = api.routes.find((one) => one.operationId === operation.operationId);
      const isPublic = route?.scope === "public";
      expect(operation.security).toEqual(isPublic ? [] : [{ bearer: [] }, { apiKey: [] }]);
      const statuses = Object.keys(operation.responses);
      for (const status of isPublic ? ["500"] : ["400", "401", "403", "404", "500", "503"]) {
        expect(statuses, `${method} ${path}`).toContain(status);
      }
      if (["post", "put", "patch"].includes(method)) {
        for (const status of ["413", "415", ...(route?.errorProtocol ? [] : ["422"])]) expect(statuses, path).toContain(status);
      }
      if (method === "delete" || method === "patch") expect(references(operation.parameters)).toContain("#/components/parameters/IfMatch");
    }
    const tenant = file().paths["/v1/tenants/{tenantId}"]?.["get"];
    expect(Object.keys(tenant?.responses ?? {})).toContain("304");
    expect(references(tenant?.parameters)).toContain("#/components/parameters/IfNoneMatch");
  });

  test("H01: the tests compare every response with the codes and fields of its operation and status", async () => {
    const refused = await api.send("GET", "/v1/tenants");
    const check = (changed: Json) => api.contract.check("GET", "/v1/tenants", { ...refused, body: { ...refused.body, ...changed } });
    expect(() => check({})).not.toThrow();
    expect(() => check({ code: "plan_in_use" })).toThrow("to be true");
    expect(() => check({ hint: "undeclared" })).toThrow("to be true");
    expect(() => api.contract.check("GET", "/v1/tenants", { ...refused, status: 410 })).toThrow("not documented");
  });

  test("H01: lists every error code in its problem schema", () => {
    const problem = file().components.schemas["Problem"] as { properties: { code: { enum: string[] } } };
    expect(problem.properties.code.enum).toEqual(Object.keys(ERROR_KINDS));
  });
});

/** A schema of the file as a separate schema, with resolvable references. */
function rebased(schema: string): Json {
  return JSON.parse(schema.replaceAll('"#/', '"file#/')) as Json;
}
