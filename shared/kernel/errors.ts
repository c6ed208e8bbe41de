/**
 * The closed vocabulary of errors. Every failure a caller can see is an {@link InnkeepError} with one
 * of these codes; the table feeds HTTP (RFC 9457), OpenAPI and `docs/errors.md`.
 */

/** One problem in the input. `path` is a JSON Pointer (RFC 6901) into the body, or a parameter's name. */
export interface FieldError {
  readonly path: string;
  readonly message: string;
  readonly code: string;
}

interface ErrorKind {
  readonly status: number;
  readonly title: string;
  /** Whether sending the same request again, later, can succeed. */
  readonly retryable: boolean;
  readonly summary: string;
}

export const ERROR_KINDS = {
  bad_request: { status: 400, title: "Bad request", retryable: false, summary: "The request cannot be understood." },
  invalid_json: { status: 400, title: "Malformed JSON", retryable: false, summary: "The body is not JSON." },
  invalid_parameter: {
    status: 400,
    title: "Invalid parameter",
    retryable: false,
    summary: "A query or header parameter is unknown or has a bad value.",
  },
  invalid_cursor: {
    status: 400,
    title: "Invalid cursor",
    retryable: false,
    summary: "The cursor is damaged or belongs to another filter or sort.",
  },
  invalid_key: {
    status: 400,
    title: "Invalid key",
    retryable: false,
    summary: "A key or one of its segments is outside the allowed alphabet or length.",
  },
  invalid_ttl: { status: 400, title: "Invalid expiry", retryable: false, summary: "An expiry lies at or before the present instant." },
  undeclared_entity: { status: 400, title: "Undeclared entity", retryable: false, summary: "The key belongs to no declared entity." },
  unauthenticated: {
    status: 401,
    title: "Authentication required",
    retryable: false,
    summary: "There is no credential, or it is not valid.",
  },
  forbidden: { status: 403, title: "Not allowed", retryable: false, summary: "The caller is known but may not do this." },
  plan_change_forbidden: {
    status: 403,
    title: "Plan change not allowed",
    retryable: false,
    summary: "The platform does not let a tenant's own users make this change of plan.",
  },
  insufficient_scope: {
    status: 403,
    title: "Insufficient scope",
    retryable: false,
    summary: "The credential lacks the scope this route needs.",
  },
  tenant_suspended: {
    status: 403,
    title: "Tenant suspended",
    retryable: false,
    summary: "The tenant is suspended or cancelled; its own users and keys are refused.",
  },
  tenant_mismatch: {
    status: 403,
    title: "Tenant mismatch",
    retryable: false,
    summary: "Two sources of one request name different tenants.",
  },
  not_found: {
    status: 404,
    title: "Not found",
    retryable: false,
    summary: "There is no such record, or it is not visible to this caller.",
  },
  method_not_allowed: {
    status: 405,
    title: "Method not allowed",
    retryable: false,
    summary: "The path exists, the method does not; see the Allow header.",
  },
  already_exists: { status: 409, title: "Already exists", retryable: false, summary: "A record with this id exists." },
  write_conflict: {
    status: 409,
    title: "Write conflict",
    retryable: true,
    summary: "The record kept changing under this write; read it again and retry.",
  },
  subdomain_taken: { status: 409, title: "Subdomain taken", retryable: false, summary: "Another tenant holds this subdomain." },
  domain_taken: { status: 409, title: "Domain taken", retryable: false, summary: "Another tenant holds this custom domain." },
  invalid_transition: {
    status: 409,
    title: "Invalid transition",
    retryable: false,
    summary: "The state machine has no such step from the present state; `allowed` lists those it has.",
  },
  plan_in_use: {
    status: 409,
    title: "Plan in use",
    retryable: false,
    summary: "A tenant or subscription uses the plan; deactivate it instead.",
  },
  metric_in_use: {
    status: 409,
    title: "Metric in use",
    retryable: false,
    summary: "A plan limits the metric or usage of it is recorded.",
  },
  usage_below_zero: {
    status: 409,
    title: "Usage below zero",
    retryable: false,
    summary: "More would be taken off a metric than there is; nothing was changed.",
  },
  plan_inactive: { status: 409, title: "Plan inactive", retryable: false, summary: "The plan is deactivated and takes no new tenants." },
  subscription_cancelled: {
    status: 409,
    title: "Subscription cancelled",
    retryable: false,
    summary: "The plan of a cancelled subscription cannot change; reactivate the subscription first.",
  },
  tenant_cancelled: {
    status: 409,
    title: "Tenant cancelled",
    retryable: false,
    summary: "A subscription cannot be live while its tenant is cancelled; reactivate the tenant.",
  },
  trial_used: {
    status: 409,
    title: "Trial used",
    retryable: false,
    summary: "The tenant has had its trial and cannot move to a trial plan.",
  },
  last_super_admin: {
    status: 409,
    title: "Last super admin",
    retryable: false,
    summary: "The last enabled super_admin can be neither removed, disabled nor demoted.",
  },
  bootstrap_closed: {
    status: 409,
    title: "Bootstrap closed",
    retryable: false,
    summary: "An enabled super_admin exists; the one-time bootstrap is closed.",
  },
  legal_hold: { status: 409, title: "Legal hold", retryable: false, summary: "The tenant is under legal hold and cannot be deleted." },
  tenant_deleted: {
    status: 409,
    title: "Tenant deleted",
    retryable: false,
    summary: "The tenant was deleted; its id is never accepted again.",
  },
  key_owner_mismatch: {
    status: 409,
    title: "Key belongs to another owner",
    retryable: false,
    summary: "The key names, or its row belongs to, another owner.",
  },
  append_only: { status: 409, title: "Append-only", retryable: false, summary: "Audit entries can be neither changed nor removed." },
  idempotency_in_progress: {
    status: 409,
    title: "Request in progress",
    retryable: true,
    summary: "A request with this idempotency key is still running.",
  },
  precondition_failed: {
    status: 412,
    title: "Precondition failed",
    retryable: false,
    summary: "If-Match names a version the record no longer has.",
  },
  payload_too_large: {
    status: 413,
    title: "Payload too large",
    retryable: false,
    summary: "The body, a value or a commit is over its limit.",
  },
  unsupported_media_type: { status: 415, title: "Unsupported media type", retryable: false, summary: "The body is not application/json." },
  validation_failed: {
    status: 422,
    title: "Validation failed",
    retryable: false,
    summary: "The input is JSON but against the schema; `errors` names every place.",
  },
  idempotency_mismatch: {
    status: 422,
    title: "Idempotency mismatch",
    retryable: false,
    summary: "The idempotency key was used before with another request.",
  },
  rate_limited: {
    status: 429,
    title: "Too many requests",
    retryable: true,
    summary: "The caller's rate limit is used up; see Retry-After.",
  },
  internal: {
    status: 500,
    title: "Internal error",
    retryable: true,
    summary: "Something failed inside; the request id finds it in the log.",
  },
  store_unavailable: {
    status: 503,
    title: "Store unavailable",
    retryable: true,
    summary: "The database does not answer; nothing was written.",
  },
  keys_unavailable: {
    status: 503,
    title: "Signing keys unavailable",
    retryable: true,
    summary: "The keys that verify tokens cannot be read; nothing was done.",
  },
  commit_unknown: {
    status: 503,
    title: "Commit unknown",
    retryable: true,
    summary: "The connection was lost after the commit was sent; it may have happened. Repeat only with an idempotency key.",
  },
  schema_mismatch: {
    status: 503,
    title: "Schema mismatch",
    retryable: true,
    summary: "The database's migrations are not those this program was written for.",
  },
  invalid_configuration: {
    status: 500,
    title: "Invalid configuration",
    retryable: false,
    summary: "The environment of the program is not usable; `errors` names every variable.",
  },
} as const satisfies Record<string, ErrorKind>;

export type ErrorCode = keyof typeof ERROR_KINDS;

/** The only error type that crosses a public boundary. `details` are extra, public problem members. */
export class InnkeepError extends Error {
  override readonly name = "InnkeepError";
  constructor(
    readonly code: ErrorCode,
    detail: string,
    readonly fields: readonly FieldError[] = [],
    readonly details: Readonly<Record<string, unknown>> = {},
    options?: ErrorOptions,
  ) {
    super(detail, options);
  }
  get status(): number {
    return ERROR_KINDS[this.code].status;
  }
  get retryable(): boolean {
    return ERROR_KINDS[this.code].retryable;
  }
}

export function isInnkeepError(error: unknown, code?: ErrorCode): error is InnkeepError {
  return error instanceof InnkeepError && (code === undefined || error.code === code);
}

/** Factories for the errors more than one place throws. */
export const errors = {
  notFound: (resource: string, id?: string) =>
    new InnkeepError("not_found", id === undefined ? `The ${resource} was not found.` : `The ${resource} ${id} was not found.`),
  validation: (fields: readonly FieldError[]) =>
    new InnkeepError("validation_failed", fields.map((f) => `${f.path || "/"}: ${f.message}`).join("; "), fields),
  notYours: (pointers: readonly string[]) =>
    new InnkeepError(
      "forbidden",
      `You may not set ${pointers.join(", ")}.`,
      pointers.map((path) => ({ path, message: "cannot be set by you", code: "forbidden" })),
    ),
  parameter: (name: string, message: string, code = "invalid") =>
    new InnkeepError("invalid_parameter", `${name}: ${message}`, [{ path: name, message, code }]),
  invalidKey: (message: string, path = "key") => new InnkeepError("invalid_key", message, [{ path, message, code: "invalid_key" }]),
  writeConflict: (key: string) =>
    new InnkeepError("write_conflict", `${key} kept changing during this write. Read it again and repeat the change.`),
  preconditionFailed: (currentVersion: string | null) => {
    const message = currentVersion === null
      ? "There is no such record yet, so it has no version. Send the change without If-Match."
      : "The record has another version now. Read it again and repeat the change.";
    return new InnkeepError("precondition_failed", message, [], { currentVersion });
  },
  tooLarge: (what: string, actual: number, limit: number, unit = "bytes") =>
    new InnkeepError("payload_too_large", `${what} is ${actual} ${unit}. At most ${limit} are allowed.`, [], { limit }),
  transition: (from: string, to: string, allowed: readonly string[]) =>
    new InnkeepError(
      "invalid_transition",
      `A tenant that is ${from} cannot become ${to}.${allowed.length > 0 ? ` It can become ${allowed.join(" or ")}.` : ""}`,
      [],
      { from, to, allowed },
    ),
};
