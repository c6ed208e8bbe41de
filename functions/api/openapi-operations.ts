import type { z } from "zod";
import { isMutation, pathParams, type ResponseSpec, type Route } from "../../shared/core/route.ts";
import { RATE_LIMIT_HEADERS, refTo } from "./openapi-components.ts";
import { hasEtag, hasMember } from "./openapi-etag.ts";
import { problemsOf } from "./openapi-problems.ts";
import { type Json, parameterSchema, type Schemas } from "./openapi-schemas.ts";

/** The OpenAPI operation of a route. */
export function operationOf(route: Route, tag: string, schemas: Schemas): Json {
  const responses = Object.entries(route.responses).map(([status, spec]) => [status, success(route, Number(status), spec, schemas)]);
  return {
    operationId: route.operationId,
    summary: route.summary,
    description: [...(route.description ? [route.description] : []), access(route)].join("\n\n"),
    tags: [tag],
    security: route.scope === "public" ? [] : [{ bearer: [] }, { apiKey: [] }],
    "x-scope": route.scope,
    ...(route.platformOnly ? { "x-platform-only": true } : {}),
    parameters: parametersOf(route),
    ...(route.body ? { requestBody: requestBody(route, route.body, schemas) } : {}),
    responses: { ...Object.fromEntries(responses), ...notModified(route), ...problemsOf(route) },
  };
}

/** States who may call the route. */
function access({ scope, platformOnly, openWhenSuspended }: Route): string {
  if (scope === "public") return "Requires no credential.";
  const needs = scope === "caller" ? "Requires a credential with any role." : `Requires the scope \`${scope}\`.`;
  const users = platformOnly ? " A tenant's own users are refused." : "";
  return `${needs}${users}${openWhenSuspended ? " Open to the users of a suspended tenant." : ""}`;
}

function requestBody(route: Route, body: z.ZodType, schemas: Schemas): Json {
  const id = schemas.name("input", route.shownBody ?? body, `${pascal(route)}Body`);
  const types = [...(route.method === "PATCH" ? ["application/merge-patch+json"] : []), "application/json", ...route.bodyTypes ?? []];
  const content = { schema: refTo("schemas", id), example: bodyExample(route, body) };
  return { required: !route.bodyOptional, content: Object.fromEntries(types.map((type) => [type, content])) };
}

/** The body of the route's sample. Without one, the defaults of the body. */
function bodyExample({ sample }: Route, body: z.ZodType): unknown {
  const given = typeof sample?.body === "function" ? sample.body(1) : sample?.body;
  return given ?? body.safeParse({}).data ?? {};
}

function parametersOf(route: Route): Json[] {
  const conditional = hasEtag(route) || route.method === "DELETE"
    ? [refTo("parameters", isMutation(route) ? "IfMatch" : "IfNoneMatch")]
    : [];
  return [
    ...pathParams(route.path).map(pathParameter),
    ...Object.entries(route.query?.shape ?? {}).map(([name, schema]) => queryParameter(name, schema as z.ZodType)),
    ...conditional,
    ...(route.method === "PUT" ? [refTo("parameters", "CreateOnly")] : []),
    ...(isMutation(route) ? [refTo("parameters", "IdempotencyKey")] : []),
    ...(route.scope === "public" ? [] : [refTo("parameters", "TenantId")]),
    refTo("parameters", "RequestId"),
  ];
}

function pathParameter(name: string): Json {
  const noun = name.replace(/Id$/, "").replaceAll(/[A-Z]/g, (letter) => ` ${letter.toLowerCase()}`);
  const description = name.endsWith("Id") ? `The ${noun}'s id, short or as its full key.` : `The name of the ${noun}.`;
  return { name, in: "path", required: true, description, schema: { type: "string", minLength: 1 } };
}

/** A list of values is one parameter, separated by commas. */
function queryParameter(name: string, schema: z.ZodType): Json {
  const { description, ...json } = parameterSchema(schema);
  return {
    name,
    in: "query",
    description,
    required: !schema.safeParse(undefined).success,
    ...(json["type"] === "array" ? { style: "form", explode: false } : {}),
    schema: json,
  };
}

function success(route: Route, status: number, spec: ResponseSpec | undefined, schemas: Schemas): Json {
  const { description = "", schema, types = [] } = spec ?? {};
  const id = schema && schemas.name("output", schema, `${pascal(route)}Response`);
  return {
    description,
    headers: {
      ...(types.length > 0 ? { "Content-Disposition": refTo("headers", "ContentDisposition") } : {}),
      "X-Request-Id": refTo("headers", "RequestId"),
      "Server-Timing": refTo("headers", "ServerTiming"),
      ...(route.cost === 0 ? {} : RATE_LIMIT_HEADERS),
      ...(route.etag || hasMember(schema, "version") ? { ETag: refTo("headers", "ETag") } : {}),
      ...([201, 202, 302].includes(status) ? { Location: refTo("headers", "Location") } : {}),
      ...(isMutation(route) ? { "Idempotent-Replayed": refTo("headers", "IdempotentReplayed") } : {}),
      ...(hasMember(schema, "pagination") ? { Link: refTo("headers", "Link") } : {}),
    },
    ...(types.length > 0 ? { content: Object.fromEntries(types.map((type) => [type, {}])) } : {}),
    ...(id ? { content: { "application/json": { schema: refTo("schemas", id), examples: { [id]: refTo("examples", id) } } } } : {}),
  };
}

function notModified(route: Route): Json {
  if (isMutation(route) || !hasEtag(route)) return {};
  return {
    304: {
      description: "The version in If-None-Match is current.",
      headers: { ETag: refTo("headers", "ETag"), "X-Request-Id": refTo("headers", "RequestId"), ...RATE_LIMIT_HEADERS },
    },
  };
}

function pascal({ operationId }: Route): string {
  return `${operationId[0]?.toUpperCase()}${operationId.slice(1)}`;
}
