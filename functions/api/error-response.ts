import type { Context } from "hono";
import { ERROR_KINDS, type ErrorCode, InnkeepError } from "../../shared/kernel/errors.ts";
import type { Logger } from "../../shared/kernel/logger.ts";
import { etagOf } from "./conditional.ts";
import { pathOf } from "./function-path.ts";
import type { AppEnv } from "./middleware/request-context.ts";
import { ClientClosedRequest } from "./read-body.ts";

const RETRY_AFTER_SECONDS = 2;
const MAX_CAUSES = 5;
/** The standard members of a problem. The details of an error can add members but cannot replace these. */
const STANDARD = new Set(["type", "title", "status", "detail", "instance", "code", "requestId", "errors"]);

export function problemType(code: ErrorCode): string {
  return `urn:innkeep:error:${code}`;
}

/** Turns an error into a response (RFC 9457) with the headers that its status requires. No other code maps errors to HTTP. */
export function errorResponse(c: Context<AppEnv>, thrown: unknown, logger: Logger): Response {
  const requestId = c.get("requestId");
  if (thrown instanceof ClientClosedRequest) c.set("clientClosed", true);
  const shown = publicError(thrown);
  const error = c.get("restate")?.(shown) ?? shown;
  const { status, title } = ERROR_KINDS[error.code];
  c.set("code", error.code);
  if (status >= 500 && error.code !== "maintenance") logger.error("request_failed", { requestId, code: error.code, ...describe(thrown) });
  const members = {
    ...Object.fromEntries(Object.entries(error.details).filter(([name]) => !STANDARD.has(name))),
    type: problemType(error.code),
    title,
    status,
    detail: error.message,
    instance: pathOf(c.req.raw),
    code: error.code,
    requestId,
    ...(error.fields.length > 0 ? { errors: error.fields } : {}),
  };
  const headers = new Headers({ "content-type": "application/problem+json", "cache-control": "no-store" });
  for (const [name, value] of headersOf(c, error)) headers.set(name, value);
  return c.body(JSON.stringify(members), { status, headers });
}

/** Internal errors contain keys and details of the store, so only the log shows them. */
function publicError(thrown: unknown): InnkeepError {
  if (thrown instanceof ClientClosedRequest) return new InnkeepError("bad_request", thrown.message);
  if (thrown instanceof InnkeepError && ERROR_KINDS[thrown.code].status !== 500) return thrown;
  return new InnkeepError("internal", "An internal error occurred. The request id identifies it in the log.");
}

function headersOf(c: Context<AppEnv>, error: InnkeepError): [string, string][] {
  const { status } = ERROR_KINDS[error.code];
  const { retryAfterSeconds, allow, currentVersion } = error.details;
  if (status === 401) {
    const hasCredential = c.req.header("authorization") !== undefined || c.req.header("x-api-key") !== undefined;
    const reason = error.code === "unauthenticated" ? "" : `, error_description="${error.code}"`;
    return [["www-authenticate", `Bearer realm="innkeep"${hasCredential ? `, error="invalid_token"${reason}` : ""}`]];
  }
  if (error.code === "insufficient_scope") {
    return [["www-authenticate", `Bearer realm="innkeep", error="insufficient_scope", scope="${String(error.details["requiredScope"])}"`]];
  }
  if (status === 405 && Array.isArray(allow)) return [["allow", allow.join(", ")]];
  if (status === 412 && typeof currentVersion === "string") return [["etag", etagOf(currentVersion)]];
  if (status === 429 || status === 503 || error.code === "idempotency_in_progress") {
    return [["retry-after", String(typeof retryAfterSeconds === "number" ? Math.ceil(retryAfterSeconds) : RETRY_AFTER_SECONDS)]];
  }
  return [];
}

/** The error and its causes, for the log. */
function describe(thrown: unknown): Record<string, string> {
  if (!(thrown instanceof Error)) return { error: String(thrown) };
  const causes: string[] = [];
  for (let cause = thrown.cause; cause instanceof Error && causes.length < MAX_CAUSES; cause = cause.cause) {
    const code = "code" in cause && typeof cause.code === "string" ? ` (${cause.code})` : "";
    causes.push(`${cause.name}: ${cause.message}${code}`);
  }
  return {
    error: `${thrown.name}: ${thrown.message}`,
    stack: (thrown.stack ?? "").slice(0, 2_000),
    ...(causes.length > 0 ? { cause: causes.join("; caused by ") } : {}),
  };
}
