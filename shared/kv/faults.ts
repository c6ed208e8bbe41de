import { errors, InnkeepError } from "../kernel/errors.ts";
import { jitteredPause } from "../kernel/backoff.ts";
import { remainingMs } from "./deadline.ts";
import type { Deadline } from "./deadline.ts";
import { ConnectionFault, SqlError, TimeoutFault } from "./driver.ts";
import { LIMITS } from "./store.ts";

/** How often a commit that provably rolled back (40001, 40P01) is run again before `write_conflict`. */
export const MAX_ATTEMPTS = 10;

const MAX_PAUSE_MS = 250;

/** SQLSTATEs of a commit that lost to another and may simply be run again. */
function isSerializationFailure(error: unknown): boolean {
  return error instanceof SqlError && (error.sqlState === "40001" || error.sqlState === "40P01");
}

/** Runs a commit again while it provably rolled back, with jitter, a bounded number of times and within its deadline. */
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

/**
 * A read that never reached the database or lost its connection is asked once more, also where the server said that it
 * ends the connection (57P01 to 57P03); one that had no answer in time is not.
 */
export async function withSecondTry<T>(run: () => Promise<T>, deadline: Deadline): Promise<T> {
  try {
    return await run();
  } catch (error) {
    const lost = error instanceof SqlError ? /^57P0[123]$/.test(error.sqlState) : error instanceof ConnectionFault;
    if (!lost || error instanceof TimeoutFault || remainingMs(deadline) === 0) throw error;
    return await run();
  }
}

/** Translates what a driver throws into the closed vocabulary. `writing` decides what a lost connection means. */
export function storeError(error: unknown, writing: boolean): InnkeepError {
  if (error instanceof InnkeepError) return error;
  if (error instanceof TimeoutFault) {
    return writing && error.sent
      ? new InnkeepError(
        "commit_unknown",
        `${error.message} The commit was sent and may have happened. Repeat it only with an idempotency key.`,
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
        "The connection was lost after the commit was sent, so it may have happened. Repeat it only with an idempotency key.",
        [],
        {},
        {
          cause: error,
        },
      )
      : new InnkeepError("store_unavailable", "The database does not answer. Nothing was written; try again.", [], {}, { cause: error });
  }
  if (error instanceof SqlError) return sqlError(error);
  return new InnkeepError("internal", "The store failed.", [], {}, { cause: error });
}

/** The key whose row the tenant cannot see: for it a conflict like any taken key. */
export function conflictOf(error: unknown): string | null {
  return error instanceof SqlError && error.sqlState === "KV007" ? error.detail : null;
}

export function isLockTimeout(error: SqlError): boolean {
  return error.sqlState === "55P03";
}

/**
 * Classes 08 connection, 28 login, 53 resources, 55 object state (lock timeout), 57 operator intervention, and 25006, a
 * read-only database, and KV008, another isolation: nobody's fault, all rolled back.
 */
export function isOutage(error: SqlError): boolean {
  return /^(08|28|53|55|57|25006|KV008)/.test(error.sqlState);
}

/** Class 28: the password, or pg_hba.conf. A connection that was never made has sent nothing. */
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
      return new InnkeepError("tenant_deleted", error.message);
    case "KV004":
      return new InnkeepError("key_owner_mismatch", error.message);
    case "KV006":
      return errors.tooLarge("A value", LIMITS.valueBytes + 1, LIMITS.valueBytes);
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
    // A function, schema or table of ours that is not there.
    case "42883":
    case "3F000":
    case "42P01":
      return new InnkeepError("schema_mismatch", "The database is not migrated for this program. Run npm run migrate.", [], {}, {
        cause: error,
      });
  }
  if (isOutage(error)) {
    return new InnkeepError("store_unavailable", "The database cannot serve now. Nothing was written; try again.", [], {}, {
      cause: error,
    });
  }
  return new InnkeepError("internal", `The store failed with SQLSTATE ${error.sqlState}.`, [], {}, { cause: error });
}
