interface ErrorKind {
  readonly status: number;
  readonly title: string;
  /** Whether the same request can succeed later. */
  readonly retryable: boolean;
  readonly summary: string;
}

/** Every error code: its HTTP status and what it means. docs/errors.md and the OpenAPI file show this table. */
export const ERROR_KINDS = {
  bad_request: { status: 400, title: "Bad request", retryable: false, summary: "The request cannot be understood." },
  invalid_json: { status: 400, title: "Malformed JSON", retryable: false, summary: "The body is not JSON." },
  invalid_parameter: {
    status: 400,
    title: "Invalid parameter",
    retryable: false,
    summary: "A query or header parameter is unknown or has an invalid value.",
  },
  invalid_cursor: {
    status: 400,
    title: "Invalid cursor",
    retryable: false,
    summary: "The cursor is damaged or was issued for another filter or sort.",
  },
  invalid_key: {
    status: 400,
    title: "Invalid key",
    retryable: false,
    summary: "A key or one of its segments has invalid characters or an invalid length.",
  },
  invalid_ttl: { status: 400, title: "Invalid expiry", retryable: false, summary: "The expiry is not in the future." },
  undeclared_entity: { status: 400, title: "Undeclared entity", retryable: false, summary: "The key belongs to no declared entity." },
  unauthenticated: {
    status: 401,
    title: "Authentication required",
    retryable: false,
    summary: "The request has no credential, or the credential is not valid.",
  },
  forbidden: { status: 403, title: "Not allowed", retryable: false, summary: "The caller is authenticated but may not do this." },
  plan_change_forbidden: {
    status: 403,
    title: "Plan change not allowed",
    retryable: false,
    summary: "The platform does not allow a tenant's own users to make this plan change.",
  },
  insufficient_scope: {
    status: 403,
    title: "Insufficient scope",
    retryable: false,
    summary: "The credential does not have the scope that this route requires.",
  },
  tenant_suspended: {
    status: 403,
    title: "Tenant suspended",
    retryable: false,
    summary: "The tenant is suspended or cancelled. Its users and keys are refused.",
  },
  tenant_mismatch: {
    status: 403,
    title: "Tenant mismatch",
    retryable: false,
    summary: "The path, the X-Tenant-Id header and the host name different tenants.",
  },
  not_found: {
    status: 404,
    title: "Not found",
    retryable: false,
    summary: "The record does not exist or is not visible to the caller.",
  },
  method_not_allowed: {
    status: 405,
    title: "Method not allowed",
    retryable: false,
    summary: "The path does not support this method. The Allow header lists those it supports.",
  },
  already_exists: { status: 409, title: "Already exists", retryable: false, summary: "A record with this id already exists." },
  write_conflict: {
    status: 409,
    title: "Write conflict",
    retryable: true,
    summary: "Other writes changed the record during this one. Read it again and retry.",
  },
  subdomain_taken: { status: 409, title: "Subdomain taken", retryable: false, summary: "Another tenant holds this subdomain." },
  domain_taken: { status: 409, title: "Domain taken", retryable: false, summary: "Another tenant holds this custom domain." },
  invalid_transition: {
    status: 409,
    title: "Invalid transition",
    retryable: false,
    summary: "The current state does not allow this transition. `allowed` lists the states it allows.",
  },
  plan_in_use: {
    status: 409,
    title: "Plan in use",
    retryable: false,
    summary: "A tenant or subscription uses the plan. Deactivate it instead of deleting it.",
  },
  metric_in_use: {
    status: 409,
    title: "Metric in use",
    retryable: false,
    summary: "A plan or grant limits the metric, or usage of it is recorded.",
  },
  job_running: {
    status: 409,
    title: "Job running",
    retryable: true,
    summary: "Another process is running the job. Repeat the call later.",
  },
  credit_exceeds_invoice: {
    status: 409,
    title: "Credit exceeds invoice",
    retryable: false,
    summary: "The credit note exceeds the amount of the invoice that can still be credited. `remaining` is this amount.",
  },
  usage_below_zero: {
    status: 409,
    title: "Usage below zero",
    retryable: false,
    summary: "The amount is more than the recorded usage. Nothing was changed.",
  },
  plan_inactive: { status: 409, title: "Plan inactive", retryable: false, summary: "The plan is not available to new tenants." },
  subscription_cancelled: {
    status: 409,
    title: "Subscription cancelled",
    retryable: false,
    summary: "The plan of a cancelled subscription cannot change. Reactivate the subscription first.",
  },
  tenant_cancelled: {
    status: 409,
    title: "Tenant cancelled",
    retryable: false,
    summary: "A cancelled tenant cannot have an active subscription. Reactivate the tenant.",
  },
  trial_used: {
    status: 409,
    title: "Trial used",
    retryable: false,
    summary: "The tenant has used its trial and cannot move to a trial plan.",
  },
  last_super_admin: {
    status: 409,
    title: "Last super admin",
    retryable: false,
    summary: "The last enabled super_admin cannot be removed, disabled or demoted.",
  },
  bootstrap_closed: {
    status: 409,
    title: "Bootstrap closed",
    retryable: false,
    summary: "An enabled super_admin exists, so the bootstrap is closed.",
  },
  legal_hold: { status: 409, title: "Legal hold", retryable: false, summary: "The tenant is under legal hold and cannot be deleted." },
  tenant_deleted: {
    status: 409,
    title: "Tenant deleted",
    retryable: false,
    summary: "The tenant was deleted. Its records cannot be changed, and its id cannot be used again.",
  },
  key_owner_mismatch: {
    status: 409,
    title: "Key belongs to another tenant",
    retryable: false,
    summary: "The key contains the id of another tenant, or its row belongs to another tenant or to the platform.",
  },
  append_only: { status: 409, title: "Append-only", retryable: false, summary: "Audit entries cannot be changed or deleted." },
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
    summary: "The record has another version than If-Match requires.",
  },
  payload_too_large: {
    status: 413,
    title: "Payload too large",
    retryable: false,
    summary: "The body, a value or a commit exceeds its limit.",
  },
  unsupported_media_type: { status: 415, title: "Unsupported media type", retryable: false, summary: "The body is not application/json." },
  validation_failed: {
    status: 422,
    title: "Validation failed",
    retryable: false,
    summary: "The input does not match the schema. `errors` lists every invalid field.",
  },
  idempotency_mismatch: {
    status: 422,
    title: "Idempotency mismatch",
    retryable: false,
    summary: "The idempotency key was already used with another request.",
  },
  rate_limited: {
    status: 429,
    title: "Too many requests",
    retryable: true,
    summary: "The caller has exceeded its rate limit. Wait for the seconds in Retry-After.",
  },
  internal: {
    status: 500,
    title: "Internal error",
    retryable: true,
    summary: "An internal error occurred. The request id identifies it in the log.",
  },
  archive_unavailable: {
    status: 503,
    title: "Archive unavailable",
    retryable: true,
    summary: "Audit entries could not be written to the archive, so they were not deleted.",
  },
  clock_skew: {
    status: 503,
    title: "Clocks differ",
    retryable: true,
    summary: "The clocks of the program and of the database differ by more than 5 minutes, so retention deletes nothing.",
  },
  store_unavailable: {
    status: 503,
    title: "Store unavailable",
    retryable: true,
    summary: "The database is not available. Nothing was written.",
  },
  keys_unavailable: {
    status: 503,
    title: "Signing keys unavailable",
    retryable: true,
    summary: "The keys that verify tokens cannot be read. Nothing was done.",
  },
  commit_unknown: {
    status: 503,
    title: "Commit unknown",
    retryable: true,
    summary:
      "The connection was lost after the commit was sent, so the change may have been committed. Repeat only with an idempotency key.",
  },
  schema_mismatch: {
    status: 503,
    title: "Schema mismatch",
    retryable: true,
    summary: "The schema version of the database differs from that of the program.",
  },
  invalid_configuration: {
    status: 500,
    title: "Invalid configuration",
    retryable: false,
    summary: "Environment variables are missing or invalid. `errors` lists each of them.",
  },
} as const satisfies Record<string, ErrorKind>;
