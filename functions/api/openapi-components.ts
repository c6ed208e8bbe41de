/** What every operation refers to: headers, parameters, the credential. */

const text = { type: "string" };

export const HEADERS = {
  ETag: {
    description: "The record's version, an entity tag for If-Match and If-None-Match.",
    schema: text,
    example: '"42"',
  },
  Location: { description: "Path of what was created.", required: true, schema: { type: "string", format: "uri-reference" } },
  Link: { description: 'The next page, `rel="next"` (RFC 8288); absent on the last.', schema: text },
  RequestId: { description: "Names this request in logs, audit entries and errors.", required: true, schema: text },
  ServerTiming: { description: "Milliseconds spent on authentication, the store, and in all.", schema: text },
  WWWAuthenticate: { description: "What credential is asked for (RFC 6750).", required: true, schema: text },
  IdempotentReplayed: { description: "`true` where this is the answer of an earlier request with the same key.", schema: text },
  RetryAfterRunning: {
    description: "With `idempotency_in_progress`: seconds to wait before the next try.",
    schema: { type: "integer", minimum: 0 },
  },
  RetryAfter: { description: "Seconds to wait before the next try.", required: true, schema: { type: "integer", minimum: 0 } },
};

export const PARAMETERS = {
  IfMatch: {
    name: "If-Match",
    in: "header",
    description: "Change only this version, the ETag of a read; 412 when the record has another. `*`: whichever there is.",
    schema: text,
    example: '"42"',
  },
  IfNoneMatch: {
    name: "If-None-Match",
    in: "header",
    description: "The ETag of an earlier answer: 304 without a body when it is still the present one.",
    schema: text,
    example: '"42"',
  },
  IdempotencyKey: {
    name: "Idempotency-Key",
    in: "header",
    description:
      "For 24 hours a repeat with the same key changes nothing and has the first answer. An error is not kept: its repeat runs again.",
    schema: { ...text, pattern: "^[!-~]{1,255}$" },
  },
  TenantId: {
    name: "X-Tenant-Id",
    in: "header",
    description: "The tenant of the request, where the path names none.",
    schema: text,
  },
  RequestId: {
    name: "X-Request-Id",
    in: "header",
    description: "Becomes the request's id; another than 1-128 of `A-Z a-z 0-9 . _ ~ -` is replaced.",
    schema: text,
  },
};

export const SECURITY_SCHEMES = {
  bearer: { type: "http", scheme: "bearer", bearerFormat: "JWT", description: "A Supabase Auth access token." },
};

export const refTo = (kind: "schemas" | "headers" | "parameters" | "responses" | "examples", name: string) => ({
  $ref: `#/components/${kind}/${name}`,
});
