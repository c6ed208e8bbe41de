import { ERROR_KINDS } from "./error-kinds.ts";

/**
 * The closed vocabulary of errors. Every error that a caller can see is an {@link InnkeepError} with one of these codes. HTTP
 * responses (RFC 9457), OpenAPI and `docs/errors.md` are derived from the table.
 */

/** One error in the input. `path` is a JSON Pointer (RFC 6901) into the body, or the name of a parameter. */
export interface FieldError {
  readonly path: string;
  readonly message: string;
  readonly code: string;
}

export { ERROR_KINDS };

export type ErrorCode = keyof typeof ERROR_KINDS;

/** The only error type that public functions throw. `details` are additional public members of the problem (RFC 9457 §3.2). */
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

/** A caller that is bound to a tenant named another one in its body. The message is that for a tenant that does not exist. */
export class OtherTenantError extends InnkeepError {
  constructor(readonly asked: string) {
    super("not_found", `The tenant ${asked.slice(0, 200)} was not found.`);
  }
}

/** Whether the error is an InnkeepError, and has the code if one is given. */
export function isInnkeepError(error: unknown, code?: ErrorCode): error is InnkeepError {
  return error instanceof InnkeepError && (code === undefined || error.code === code);
}

/** Whether the database is not available, so that the work has not failed and can be repeated. */
export function isOutage(error: unknown): error is InnkeepError {
  return isInnkeepError(error, "store_unavailable") || isInnkeepError(error, "commit_unknown");
}

/** Factories of errors that are thrown in several places. */
export const errors = {
  /** `resource`: in words, or as a parameter is called: `deadLetter` is shown as "dead letter". */
  notFound: (resource: string, id?: string) => {
    const name = resource.replace(/[A-Z]/g, (letter) => ` ${letter.toLowerCase()}`);
    return new InnkeepError("not_found", id === undefined ? `The ${name} was not found.` : `The ${name} ${id} was not found.`);
  },
  otherTenant: (asked: string) => new OtherTenantError(asked),
  validation: (fields: readonly FieldError[]) =>
    new InnkeepError("validation_failed", fields.map((f) => `${f.path || "/"}: ${f.message}`).join("; "), fields),
  forbiddenFields: (pointers: readonly string[]) =>
    new InnkeepError(
      "forbidden",
      `You cannot set ${pointers.join(", ")}.`,
      pointers.map((path) => ({ path, message: "cannot be set by you", code: "forbidden" })),
    ),
  parameter: (name: string, message: string, code = "invalid") =>
    new InnkeepError("invalid_parameter", `${name}: ${message}`, [{ path: name, message, code }]),
  invalidKey: (message: string, path = "key") =>
    new InnkeepError("invalid_key", `${path}: ${message}`, [{ path, message, code: "invalid_key" }]),
  // Names the family of the key, such as `usage`: a whole key means nothing to the user.
  writeConflict: (key: string) =>
    new InnkeepError("write_conflict", `Another write changed the ${/^[\w-]+(?=:)/.exec(key)?.[0] ?? "same"} record. Read it and retry.`),
  preconditionFailed: (currentVersion: string | null, message = "The record has another version. Read it again and repeat the change.") =>
    new InnkeepError("precondition_failed", message, [], { currentVersion }),
  tooLarge: (what: string, actual: number, limit: number, unit = "bytes") =>
    new InnkeepError("payload_too_large", `${what} is ${actual} ${unit}. At most ${limit} are allowed.`, [], { limit }),
  transition: (from: string, to: string, allowed: readonly string[], subject = "A tenant") =>
    new InnkeepError(
      "invalid_transition",
      `${subject} that is ${from} cannot become ${to}.${allowed.length > 0 ? ` It can become ${allowed.join(" or ")}.` : ""}`,
      [],
      { from, to, allowed },
    ),
};
