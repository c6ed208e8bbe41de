import { ERROR_KINDS, type ErrorCode } from "../../shared/kernel/errors.ts";
import { isMutation, type Route } from "../../shared/core/route.ts";
import { problemType } from "./error-response.ts";
import { RATE_LIMIT_HEADERS, refTo } from "./openapi-components.ts";
import { hasEtag } from "./openapi-etag.ts";
import type { Json } from "./openapi-schemas.ts";

/** The errors that a route can return, derived from its inputs: credential, path, body and version. */
export function errorCodes(route: Route): ErrorCode[] {
  const codes: ErrorCode[] = ["bad_request", "invalid_parameter", ...(route.errors ?? [])];
  if (route.query && Object.hasOwn(route.query.shape, "cursor")) codes.push("invalid_cursor");
  if (route.scope !== "public") {
    codes.push(
      "unauthenticated",
      "key_expired",
      "key_revoked",
      "key_disabled",
      "address_not_allowed",
      "api_keys_disabled",
      "forbidden",
      "tenant_mismatch",
      "not_found",
      "store_unavailable",
      "keys_unavailable",
      "mfa_required",
      "sso_required",
    );
    if (route.scope !== "caller") codes.push("insufficient_scope");
    if (!route.openWhenSuspended) codes.push("tenant_suspended");
  }
  if (route.cost !== 0) codes.push("rate_limited");
  if (isMutation(route)) codes.push("commit_unknown", "write_conflict", "idempotency_in_progress", "idempotency_mismatch");
  if (isMutation(route) && !route.openInMaintenance) codes.push("maintenance");
  if (route.method === "POST" || route.method === "PUT" || route.method === "PATCH") {
    codes.push("invalid_json", "payload_too_large", "unsupported_media_type", route.errorProtocol?.invalidBody ?? "validation_failed");
  }
  if (isMutation(route) && (route.method === "DELETE" || hasEtag(route))) codes.push("precondition_failed");
  return [...new Set<ErrorCode>([...codes, "internal"])];
}

/** Maps each status to the route's codes with that status, in the order of `ERROR_KINDS`. */
function byStatus(route: Route): Map<number, ErrorCode[]> {
  const given = new Set(errorCodes(route));
  const grouped = new Map<number, ErrorCode[]>();
  for (const code of Object.keys(ERROR_KINDS) as ErrorCode[]) {
    const { status } = ERROR_KINDS[code];
    if (given.has(code)) grouped.set(status, [...(grouped.get(status) ?? []), code]);
  }
  return grouped;
}

/** The problem responses of an operation. Operations with the same codes share one. */
export function problemsOf(route: Route): Json {
  return Object.fromEntries([...byStatus(route)].map(([status, codes]) => [status, refTo("responses", nameOf(codes))]));
}

export function problemResponses(routes: readonly Route[]): Json {
  return Object.fromEntries(
    routes.flatMap((route) => [...byStatus(route)]).map(([status, codes]) => [nameOf(codes), responseOf(status, codes)]),
  );
}

function nameOf(codes: readonly ErrorCode[]): string {
  return codes.map((code) => code.replaceAll(/(?:^|_)(\w)/g, (_, letter: string) => letter.toUpperCase())).join("Or");
}

function responseOf(status: number, codes: readonly ErrorCode[]): Json {
  return {
    description: codes.map((code) => `\`${code}\`: ${ERROR_KINDS[code].summary}`).join("\n\n"),
    headers: {
      "X-Request-Id": refTo("headers", "RequestId"),
      ...RATE_LIMIT_HEADERS,
      ...(status === 401 ? { "WWW-Authenticate": refTo("headers", "WWWAuthenticate") } : {}),
      ...(status === 503 || status === 429 ? { "Retry-After": refTo("headers", "RetryAfter") } : {}),
      ...(codes.includes("idempotency_in_progress") ? { "Retry-After": refTo("headers", "RetryAfterRunning") } : {}),
      ...(status === 412 ? { ETag: refTo("headers", "ETag") } : {}),
    },
    content: {
      "application/problem+json": {
        schema: {
          allOf: [refTo("schemas", "Problem"), {
            type: "object",
            properties: { status: { type: "integer", enum: [status] }, code: { type: "string", enum: codes } },
            required: ["status", "code"],
          }],
        },
        examples: Object.fromEntries(codes.map((code) => [code, refTo("examples", code)])),
      },
    },
  };
}

export function problemExamples(routes: readonly Route[]): Json {
  return Object.fromEntries(routes.flatMap(errorCodes).map((code) => [code, { value: exampleProblem(code) }]));
}

function exampleProblem(code: ErrorCode): Json {
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
