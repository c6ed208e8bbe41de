import { z } from "zod";
import { ERROR_KINDS, type ErrorCode } from "../../shared/kernel/errors.ts";
import { pathParams, type Route } from "../../shared/core/route.ts";
import { problemType } from "./error-response.ts";
import { components } from "../../shared/core/schemas.ts";

type Json = Record<string, unknown>;
const COMPONENTS = "#/components/schemas/";
const ref = (name: string): Json => ({ $ref: `${COMPONENTS}${name}` });
const header = (name: string): Json => ({ $ref: `#/components/headers/${name}` });
const parameter = (name: string): Json => ({ $ref: `#/components/parameters/${name}` });

type Names = ReturnType<typeof z.registry<{ id: string }>>;

/** The OpenAPI 3.1 file, from the very schemas that check requests and describe answers. */
export function buildOpenApi(routes: readonly Route[]): Json {
  const outputs: Names = z.registry<{ id: string }>();
  const inputs: Names = z.registry<{ id: string }>();
  for (const [schema, id] of components) outputs.add(schema, { id });
  const paths: Record<string, Json> = {};
  for (const route of routes) {
    const at = route.path.replaceAll(/:(\w+)/g, "{$1}");
    (paths[at] ??= {})[route.method.toLowerCase()] = operationOf(route, inputs, outputs);
  }
  return {
    openapi: "3.1.0",
    jsonSchemaDialect: "https://json-schema.org/draft/2020-12/schema",
    info: {
      title: "Innkeep",
      version: "1",
      summary: "The control plane for multi-tenant SaaS on Supabase",
      license: { name: "MIT", identifier: "MIT" },
    },
    servers: [{ url: "." }],
    tags: [...new Set(routes.map(tagOf))].map((tag) => ({ name: tag })),
    paths,
    components: {
      schemas: { JsonValue: { description: "Any JSON value." }, ...schemasOf(outputs, "output"), ...schemasOf(inputs, "input") },
      headers: HEADERS,
      parameters: PARAMETERS,
      examples: Object.fromEntries((Object.keys(ERROR_KINDS) as ErrorCode[]).map((code) => [code, { value: exampleOf(code) }])),
      securitySchemes: { bearer: { type: "http", scheme: "bearer", bearerFormat: "JWT", description: "A Supabase Auth access token." } },
    },
  };
}

function operationOf(route: Route, inputs: Names, outputs: Names): Json {
  const pascal = `${route.operationId[0]?.toUpperCase()}${route.operationId.slice(1)}`;
  const responses = Object.entries(route.responses).map(([status, spec]) => {
    const id = spec?.schema && nameIn(outputs, spec.schema, `${pascal}Response${status}`);
    return [status, success(route, Number(status), spec?.description ?? "", id)] as const;
  });
  const body = route.body && { required: !route.bodyOptional, content: bodyContent(route, nameIn(inputs, route.body, `${pascal}Body`)) };
  return {
    operationId: route.operationId,
    summary: route.summary,
    ...(route.description ? { description: route.description } : {}),
    tags: [tagOf(route)],
    security: route.scope === "public" ? [] : [{ bearer: [] }],
    "x-scope": route.scope,
    ...(route.platformOnly ? { "x-platform-only": true } : {}),
    parameters: parametersOf(route),
    ...(body ? { requestBody: body } : {}),
    responses: { ...notModified(route), ...Object.fromEntries(responses), ...problems(route) },
  };
}

/** The name a schema has among the components, given now where it has none. */
function nameIn(names: Names, schema: z.ZodType, fallback: string): string {
  const id = names.get(schema)?.id ?? fallback;
  if (!names.has(schema)) names.add(schema, { id });
  return id;
}

/** Named schemas without their own `$id`; the only cycle there is, a JSON value within itself, has its own name. */
function schemasOf(names: Names, io: "input" | "output"): Json {
  const { schemas } = z.toJSONSchema(names, { uri: (id) => `${COMPONENTS}${id}`, io, target: "draft-2020-12", unrepresentable: "any" });
  const named = Object.entries(schemas).filter(([id]) => id !== "__shared").map(([id, { $schema: _, $id: __, ...schema }]) => [id, schema]);
  const text = JSON.stringify(Object.fromEntries(named)).replaceAll(
    /#\/components\/schemas\/__shared#\/\$defs\/\w+/g,
    `${COMPONENTS}JsonValue`,
  );
  return JSON.parse(text) as Json;
}

function tagOf(route: Route): string {
  const [, first = "", , under = ""] = route.path.split("/").filter((part) => !part.startsWith(":") || part === ":tenantId");
  return route.path.startsWith("/v1/") ? under || first : "system";
}

function bodyContent(route: Route, id: string): Json {
  const types = route.method === "PATCH" ? ["application/merge-patch+json", "application/json"] : ["application/json"];
  return Object.fromEntries(types.map((type) => [type, { schema: ref(id) }]));
}

function parametersOf(route: Route): Json[] {
  const inPath = pathParams(route.path).map((name) => ({
    name,
    in: "path",
    required: true,
    description: "The short id or the full key.",
    schema: { type: "string", minLength: 1 },
  }));
  const inQuery = Object.entries(route.query?.shape ?? {}).map(([name, schema]) => {
    const { $schema: _, ...json } = z.toJSONSchema(schema as z.ZodType, { io: "input", unrepresentable: "any" });
    return { name, in: "query", required: !(schema as z.ZodType).safeParse(undefined).success, schema: json };
  });
  const conditional = versioned(route) ? [parameter(route.method === "GET" ? "IfNoneMatch" : "IfMatch")] : [];
  const repeatable = route.method === "GET" ? [] : [parameter("IdempotencyKey")];
  return [
    ...inPath,
    ...inQuery,
    ...conditional,
    ...repeatable,
    ...(route.scope === "public" ? [] : [parameter("TenantId")]),
    parameter("RequestId"),
  ];
}

/** Whether the route reads or changes one record that has an ETag. */
function versioned(route: Route): boolean {
  return route.method === "DELETE" || hasVersion(route.responses[200]?.schema);
}

function hasVersion(schema: z.ZodType | undefined): boolean {
  return schema !== undefined && "shape" in schema && Object.hasOwn(schema.shape as object, "version");
}

function success(route: Route, status: number, description: string, schema: string | undefined): Json {
  const spec = route.responses[status as 200]?.schema;
  const isPage = spec !== undefined && "shape" in spec && Object.hasOwn(spec.shape as object, "pagination");
  return {
    description,
    headers: {
      "X-Request-Id": header("RequestId"),
      "Server-Timing": header("ServerTiming"),
      ...(hasVersion(spec) ? { ETag: header("ETag") } : {}),
      ...(status === 201 ? { Location: header("Location") } : {}),
      ...(isPage ? { Link: header("Link") } : {}),
      ...(route.method === "GET" ? {} : { "Idempotent-Replayed": header("IdempotentReplayed") }),
    },
    ...(schema ? { content: { "application/json": { schema: ref(schema) } } } : {}),
  };
}

function notModified(route: Route): Json {
  if (route.method !== "GET" || !versioned(route)) return {};
  return {
    304: {
      description: "The version of If-None-Match is the present one.",
      headers: { ETag: header("ETag"), "X-Request-Id": header("RequestId") },
    },
  };
}

/** Every error a route can give, by what it takes: credentials, a path, a body, a version. */
function errorCodes(route: Route): ErrorCode[] {
  const codes: ErrorCode[] = ["internal", ...(route.errors ?? [])];
  if (route.query) codes.push("invalid_cursor");
  codes.push("bad_request", "invalid_parameter");
  if (route.scope !== "public") {
    codes.push(
      "unauthenticated",
      "forbidden",
      "insufficient_scope",
      "tenant_suspended",
      "tenant_mismatch",
      "not_found",
      "store_unavailable",
      "keys_unavailable",
    );
  }
  if (route.method !== "GET") codes.push("commit_unknown", "write_conflict", "idempotency_in_progress", "idempotency_mismatch");
  if (route.method === "POST" || route.method === "PUT" || route.method === "PATCH") {
    codes.push("invalid_json", "payload_too_large", "unsupported_media_type", "validation_failed", "write_conflict");
  }
  if (versioned(route) && route.method !== "GET") codes.push("precondition_failed", "write_conflict");
  return [...new Set(codes)];
}

function problems(route: Route): Json {
  const byStatus = new Map<number, ErrorCode[]>();
  for (const code of errorCodes(route)) byStatus.set(ERROR_KINDS[code].status, [...(byStatus.get(ERROR_KINDS[code].status) ?? []), code]);
  return Object.fromEntries([...byStatus].map(([status, codes]) => [status, {
    description: codes.map((code) => `\`${code}\`: ${ERROR_KINDS[code].summary}`).join("\n\n"),
    headers: {
      "X-Request-Id": header("RequestId"),
      ...(status === 401 ? { "WWW-Authenticate": header("WWWAuthenticate") } : {}),
      ...(status === 503 || status === 429 ? { "Retry-After": header("RetryAfter") } : {}),
      ...(codes.includes("idempotency_in_progress") ? { "Retry-After": header("RetryAfterRunning") } : {}),
      ...(status === 412 ? { ETag: header("ETag") } : {}),
    },
    content: {
      "application/problem+json": {
        schema: ref("Problem"),
        examples: Object.fromEntries(codes.map((code) => [code, { $ref: `#/components/examples/${code}` }])),
      },
    },
  }]));
}

function exampleOf(code: ErrorCode): Json {
  const { status, title, summary } = ERROR_KINDS[code];
  return {
    type: problemType(code),
    title,
    status,
    detail: summary,
    instance: "/v1/tenants",
    code,
    requestId: "req_f3a9k2m1x8q0f3a9k2m1x8q0",
  };
}

const text = { type: "string" };
const HEADERS = {
  ETag: { description: "The record's version, a strong entity tag for If-Match and If-None-Match.", schema: text },
  Location: { description: "Path of what was created.", schema: text },
  Link: { description: 'The next page, `rel="next"` (RFC 8288); absent on the last.', schema: text },
  RequestId: { description: "Names this request in logs, audit entries and errors.", required: true, schema: text },
  ServerTiming: { description: "Milliseconds spent on authentication, the store, and in all.", schema: text },
  WWWAuthenticate: { description: "What credential is asked for (RFC 6750).", required: true, schema: text },
  IdempotentReplayed: { description: "`true` where this is the answer of an earlier request with the same key.", schema: text },
  RetryAfterRunning: { description: "With `idempotency_in_progress`: seconds to wait before the next try.", schema: text },
  RetryAfter: { description: "Seconds to wait before the next try.", required: true, schema: text },
};

const PARAMETERS = {
  IfMatch: { name: "If-Match", in: "header", description: "Change only this version; 412 when the record has another.", schema: text },
  IfNoneMatch: { name: "If-None-Match", in: "header", description: "304 when the record still has this version.", schema: text },
  IdempotencyKey: {
    name: "Idempotency-Key",
    in: "header",
    description:
      "For 24 hours a repeat with the same key changes nothing and has the first answer. An error is not kept: its repeat runs again.",
    schema: { ...text, pattern: "^[!-~]{1,255}$" },
  },
  TenantId: { name: "X-Tenant-Id", in: "header", description: "The tenant of the request, where the path names none.", schema: text },
  RequestId: { name: "X-Request-Id", in: "header", description: "1-128 of A-Z a-z 0-9 . _ ~ -; another is replaced.", schema: text },
};
