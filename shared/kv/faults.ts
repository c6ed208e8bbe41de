import { errors, InnkeepError } from "../kernel/errors.ts";
import { jitteredPause } from "../kernel/backoff.ts";
import { remainingMs } from "./deadline.ts";
import type { Deadline } from "./deadline.ts";
import { ConnectionFault, SqlError, TimeoutFault } from "./driver.ts";
import { LIMITS } from "./store.ts";

/** The number of attempts of a commit that is rolled back with 40001 or 40P01. */
export const MAX_ATTEMPTS = 10;

const MAX_PAUSE_MS = 250;

/** serialization_failure and deadlock_detected: the transaction was rolled back and can be repeated. */
function isSerializationFailure(error: unknown): boolean {
  return error instanceof SqlError && (error.sqlState === "40001" || error.sqlState === "40P01");
}

/** Repeats a commit that was rolled back, with jitter and within its deadline. Throws `write_conflict` after the last attempt. */
export async function withRetries<T>(run: () => Promise<T>, what: string, deadline: Deadline): Promise<T> {
  for (let attempt = 0; attempt < MAX_ATTEMPTS && (attempt === 0 || remainingMs(deadline) > 0); attempt++) {
    try {
      return await run();
    } catch (error) {
      if (!isSerializationFailure(error)) throw error;
      await jitteredPause(attempt, undefined, Math.min(MAX_PAUSE_MS, remainingMs(deadline)));
    }
  }
  throw errors.writeConflict(what);
}

/** Repeats a read once if the connection was lost or not established, or the server closed it (57P01 to 57P03). Timeouts are not repeated. */
export async function withSecondTry<T>(run: () => Promise<T>, deadline: Deadline): Promise<T> {
  try {
    return await run();
  } catch (error) {
    const lost = error instanceof SqlError ? /^57P0[123]$/.test(error.sqlState) : error instanceof ConnectionFault;
    if (!lost || error instanceof TimeoutFault || remainingMs(deadline) === 0) throw error;
    return await run();
  }
}

/** The InnkeepError for an error of a driver. A lost connection is `commit_unknown` if `writing`, otherwise `store_unavailable`. */
export function storeError(error: unknown, writing: boolean): InnkeepError {
  if (error instanceof InnkeepError) return error;
  if (error instanceof TimeoutFault) {
    return writing && error.sent
      ? new InnkeepError(
        "commit_unknown",
        `${error.message} The change may have been committed. Repeat it only with an idempotency key.`,
        [],
        {},
        { cause: error },
      )
      : new InnkeepError("store_unavailable", error.message, [], {}, { cause: error });
  }
  if (error instanceof ConnectionFault && isRefusedLogin(error.cause)) return refusedLogin(error);
  if (error instanceof ConnectionFault) {
    return writing && error.sent
      ? new InnkeepError(
        "commit_unknown",
        "The connection was lost after the commit was sent, so the change may have been committed. Repeat it only with an idempotency key.",
        [],
        {},
        { cause: error },
      )
      : new InnkeepError("store_unavailable", "The database does not respond. Nothing was written. Try again.", [], {}, { cause: error });
  }
  if (error instanceof SqlError) return sqlError(error);
  return new InnkeepError("internal", "An unexpected error occurred in the store.", [], {}, { cause: error });
}

/** The key of a row that the tenant cannot see. Like any taken key, it is a conflict, so that it does not reveal the row. */
export function conflictOf(error: unknown): string | null {
  return error instanceof SqlError && error.sqlState === "KV007" ? error.detail : null;
}

/** lock_not_available: the lock timeout passed, and the transaction was rolled back. */
export function isLockTimeout(error: SqlError): boolean {
  return error.sqlState === "55P03";
}

/**
 * Errors that the call did not cause: SQLSTATE classes 08 connection, 28 login, 53 resources, 55 object state (lock timeout),
 * 57 operator intervention, and 25006 (read-only database) and KV008 (isolation level). Nothing was written.
 */
export function isOutage(error: SqlError): boolean {
  return /^(08|28|53|55|57|25006|KV008)/.test(error.sqlState);
}

/** Whether the server refused the login (class 28: the password or pg_hba.conf). */
function isRefusedLogin(cause: unknown): boolean {
  return cause instanceof Error && "code" in cause && typeof cause.code === "string" && /^28\w{3}$/.test(cause.code);
}

function refusedLogin(cause: Error): InnkeepError {
  const detail = "The database refuses this login. Check DATABASE_URL, and that its login is a member of service_role.";
  return new InnkeepError("store_unavailable", detail, [], {}, { cause });
}

function sqlError(error: SqlError): InnkeepError {
  const detail = error.detail ?? "";
  switch (error.sqlState) {
    case "KV001":
      return new InnkeepError("validation_failed", `${detail} ${error.message}`.trim(), [{
        path: detail,
        message: error.message,
        code: "invalid",
      }]);
    case "KV003":
      return new InnkeepError("tenant_deleted", `The ${error.message}. Its id is never used again; choose another.`);
    case "KV004":
      return new InnkeepError("key_owner_mismatch", error.message);
    case "KV006":
      return new InnkeepError("payload_too_large", `The value exceeds ${LIMITS.valueBytes} bytes.`, [], { limit: LIMITS.valueBytes });
    case "KV005":
      return new InnkeepError("append_only", error.message);
    case "KV007":
      return errors.writeConflict(detail);
    case "42501":
      if (/row-level security/.test(error.message)) {
        return new InnkeepError("key_owner_mismatch", "The row belongs to another tenant.", [], {}, { cause: error });
      }
      return refusedLogin(error);
    case "40001":
    case "40P01":
      return errors.writeConflict("the record");
    // undefined_function, invalid_schema_name, undefined_table.
    case "42883":
    case "3F000":
    case "42P01":
      return new InnkeepError("schema_mismatch", "The database is not migrated for this program. Run npm run migrate.", [], {}, {
        cause: error,
      });
  }
  if (isOutage(error)) {
    return new InnkeepError("store_unavailable", "The database cannot process requests now. Nothing was written. Try again.", [], {}, {
      cause: error,
    });
  }
  return new InnkeepError("internal", `The database returned the unexpected SQLSTATE ${error.sqlState}.`, [], {}, { cause: error });
}
