import { Ajv2020 } from "ajv/dist/2020.js";
import formats from "ajv-formats";
import { describe, expect, test } from "vitest";
import { registry } from "../../shared/features/registry.ts";
import { ERROR_KINDS } from "../../shared/kernel/errors.ts";
import { useApi } from "./support/api.ts";

const api = useApi();
type Json = Record<string, unknown>;
interface Document {
  readonly openapi: string;
  readonly info: Json;
  readonly paths: Record<string, Record<string, Operation>>;
  readonly components: { readonly schemas: Record<string, Json> } & Record<string, Record<string, Json>>;
}
interface Operation {
  readonly operationId: string;
  readonly summary: string;
  readonly parameters: Json[];
  readonly security: Json[];
  readonly responses: Record<string, Json>;
  readonly requestBody?: { readonly content: Record<string, { schema: Json }> };
}
const file = () => api.contract.document as unknown as Document;
const operations = () =>
  Object.entries(file().paths).flatMap(([path, methods]) =>
    Object.entries(methods).map(([method, operation]) => ({ path, method, operation }))
  );

/** Every `$ref` of the file, wherever it stands. */
function references(value: unknown): string[] {
  if (typeof value !== "object" || value === null) return [];
  return Object.entries(value).flatMap(([name, member]) => name === "$ref" ? [String(member)] : references(member));
}

describe("the OpenAPI file", () => {
  test("H11: documents every route that is served and no other", () => {
    const served = api.routes.map(({ method, path }) => `${method.toLowerCase()} ${path.replaceAll(/:(\w+)/g, "{$1}")}`);
    expect(operations().map(({ method, path }) => `${method} ${path}`).sort()).toEqual(served.sort());
  });

  test("H11: is OpenAPI 3.1 by structure: versions, unique operation ids, declared path parameters, references that lead somewhere", () => {
    const { openapi, info } = file();
    expect(openapi).toBe("3.1.0");
    expect(info).toMatchObject({ title: expect.any(String), version: expect.any(String) });
    const ids = operations().map(({ operation }) => operation.operationId);
    expect(new Set(ids).size).toBe(ids.length);
    for (const { path, operation } of operations()) {
      const named = [...path.matchAll(/\{(\w+)\}/g)].map(([, name]) => name);
      expect(operation.parameters.filter((one) => one["in"] === "path").map((one) => one["name"])).toEqual(named);
      for (const one of operation.parameters) {
        if (!("$ref" in one)) {
          expect(one).toMatchObject({
            name: expect.any(String),
            in: expect.stringMatching(/^(path|query|header)$/),
            schema: expect.any(Object),
          });
        }
      }
      expect(operation.summary.length).toBeGreaterThan(5);
      for (const [status, response] of Object.entries(operation.responses)) {
        expect(status).toMatch(/^[1-5]\d\d$/);
        expect(response["description"]).toEqual(expect.stringMatching(/./));
      }
    }
    for (const reference of references(file())) {
      const found = reference.replace(/^#\//, "").split("/").reduce<unknown>((value, name) => (value as Json | undefined)?.[name], file());
      expect(found, reference).toBeDefined();
    }
  });

  test("H11: has only schemas that are JSON Schema 2020-12", () => {
    const ajv = new Ajv2020({ strict: false });
    formats.default(ajv);
    ajv.addSchema(file(), "file");
    for (const name of Object.keys(file().components.schemas)) {
      expect(() => ajv.compile({ $ref: `file#/components/schemas/${name}` }), name).not.toThrow();
      expect(JSON.stringify(file().components.schemas[name])).not.toContain("__shared");
    }
  });

  test("H11: describes the entities' own examples", () => {
    const ajv = new Ajv2020({ strict: false });
    formats.default(ajv);
    ajv.addSchema(file(), "file");
    const names: Record<string, string> = {
      tenant: "Tenant",
      plan: "Plan",
      subscription: "Subscription",
      "admin-user": "AdminUser",
      "audit-entry": "AuditEntry",
    };
    for (const entity of registry.filter(({ name }) => name in names)) {
      const validate = ajv.compile({ $ref: `file#/components/schemas/${names[entity.name]}` });
      const example = { ...entity.schema.parse(entity.example), version: "1" };
      expect(validate(example) || validate.errors, entity.name).toBe(true);
    }
  });

  test("H11: names the security, the scope, the credentials' errors and the conditional headers of each route", () => {
    for (const { method, path, operation } of operations()) {
      const route = api.routes.find((one) => one.operationId === operation.operationId);
      const isPublic = route?.scope === "public";
      expect(operation.security).toEqual(isPublic ? [] : [{ bearer: [] }]);
      const statuses = Object.keys(operation.responses);
      for (const status of isPublic ? ["500"] : ["400", "401", "403", "404", "500", "503"]) {
        expect(statuses, `${method} ${path}`).toContain(status);
      }
      if (["post", "put", "patch"].includes(method)) {
        for (const status of ["413", "415", "422"]) expect(statuses, path).toContain(status);
      }
      if (method === "delete" || method === "patch") expect(references(operation.parameters)).toContain("#/components/parameters/IfMatch");
    }
    const tenant = file().paths["/v1/tenants/{tenantId}"]?.["get"];
    expect(Object.keys(tenant?.responses ?? {})).toContain("304");
    expect(references(tenant?.parameters)).toContain("#/components/parameters/IfNoneMatch");
  });

  test("H01: lists every error code there is in its problem schema", () => {
    const problem = file().components.schemas["Problem"] as { properties: { code: { enum: string[] } } };
    expect(problem.properties.code.enum).toEqual(Object.keys(ERROR_KINDS));
  });
});
