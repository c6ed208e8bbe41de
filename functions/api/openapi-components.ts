/** The components that operations refer to: headers, parameters and the credential. */

const text = { type: "string" };

export const HEADERS = {
  ETag: {
    description: "The record's version, an entity tag for If-Match and If-None-Match.",
    schema: text,
    example: '"42"',
  },
  Location: {
    description: "The path of the created record, or of the one that shows the progress.",
    required: true,
    schema: { type: "string", format: "uri-reference" },
  },
  ContentDisposition: { description: "The name of the file (RFC 6266).", required: true, schema: text },
  Link: { description: 'The next page, `rel="next"` (RFC 8288); absent on the last.', schema: text },
  RequestId: { description: "The id of this request in logs, audit entries and errors.", required: true, schema: text },
  ServerTiming: { description: "Milliseconds spent on authentication, on the store, and in total.", schema: text },
  RateLimitPolicy: {
    description: "The caller's limit: `q` requests in `w` seconds. Absent if requests are not limited.",
    schema: text,
    example: '"default";q=1200;w=60',
  },
  RateLimit: {
    description: "`r` requests are left. After `t` seconds all of them are again; after a 429, one request is.",
    schema: text,
    example: '"default";r=1199;t=1',
  },
  WWWAuthenticate: { description: "The required credential (RFC 6750).", required: true, schema: text },
  IdempotentReplayed: { description: "`true` if this is the response to an earlier request with the same key.", schema: text },
  RetryAfterRunning: {
    description: "With `idempotency_in_progress`: the seconds to wait before the next attempt.",
    schema: { type: "integer", minimum: 0 },
  },
  RetryAfter: { description: "The seconds to wait before the next attempt.", required: true, schema: { type: "integer", minimum: 0 } },
};

export const PARAMETERS = {
  IfMatch: {
    name: "If-Match",
    in: "header",
    description:
      "The ETag of the version to change. If the record has another version, the response is 412. `*` means any existing version.",
    schema: text,
    example: '"42"',
  },
  IfNoneMatch: {
    name: "If-None-Match",
    in: "header",
    description: "The ETag of an earlier response. If it is still current, the response is 304 without a body.",
    schema: text,
    example: '"42"',
  },
  CreateOnly: {
    name: "If-None-Match",
    in: "header",
    description: "With `*`, the request only creates: if the record exists, the response is 412. Entity tags name versions not to replace.",
    schema: text,
    example: "*",
  },
  IdempotencyKey: {
    name: "Idempotency-Key",
    in: "header",
    description:
      "For 24 hours, a repeat with the same key changes nothing and returns the first response. Errors are not kept: a repeat runs again.",
    schema: { ...text, pattern: "^[!-~]{1,255}$" },
  },
  TenantId: {
    name: "X-Tenant-Id",
    in: "header",
    description: "The tenant of the request, if the path does not contain one.",
    schema: text,
  },
  RequestId: {
    name: "X-Request-Id",
    in: "header",
    description: "The id of the request. It must be 1-128 characters of `A-Z a-z 0-9 . _ ~ -`; another value is replaced.",
    schema: text,
  },
};

export const SECURITY_SCHEMES = {
  bearer: { type: "http", scheme: "bearer", bearerFormat: "JWT", description: "A Supabase Auth access token, or an API key." },
  apiKey: { type: "apiKey", in: "header", name: "X-API-Key", description: "An API key, never in a query string." },
};

export const refTo = (kind: "schemas" | "headers" | "parameters" | "responses" | "examples", name: string) => ({
  $ref: `#/components/${kind}/${name}`,
});

/** The headers of every response to a request that was charged. */
export const RATE_LIMIT_HEADERS = {
  "RateLimit-Policy": refTo("headers", "RateLimitPolicy"),
  RateLimit: refTo("headers", "RateLimit"),
};
