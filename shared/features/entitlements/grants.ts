import type { UnitOfWork } from "../../core/unit-of-work.ts";
import { errors, type FieldError, InnkeepError } from "../../kernel/errors.ts";
import { type Grant, type GrantItem, MAX_GRANTS } from "./entity.ts";
import { isExpired, itemOf } from "./rules.ts";

/** Checks what the schema of a field cannot. Throws `validation_failed` with every problem. */
export function checkedGrant(after: Grant, before: Grant | null, now: string): Grant {
  const { kind, value, source, expiresAt } = after;
  const problems: FieldError[] = [];
  if (kind === "feature" && typeof value !== "boolean") problems.push(invalid("/value", "must be true or false for a feature"));
  if (kind === "limit" && typeof value === "boolean") {
    problems.push(invalid("/value", "must be a whole number, or null for unlimited, for a limit"));
  }
  if (value === false && source !== "override") {
    problems.push(invalid("/value", "must be true, because only an override takes a feature away; set source to override"));
  }
  if (expiresAt !== undefined && expiresAt !== before?.expiresAt && expiresAt <= now) {
    problems.push(invalid("/expiresAt", "must be in the future; delete the grant to end it now"));
  }
  if (problems.length > 0) throw errors.validation(problems);
  return after;
}

/** The tenant's grants after the change of one. `after` is null for a deletion. Throws `validation_failed` above the maximum. */
export function edited(grants: readonly GrantItem[], id: string, after: Grant | null, now: string): GrantItem[] {
  const others = grants.filter((grant) => grant.id !== id && !isExpired(grant, now));
  if (!after || isExpired(after, now)) return others;
  if (others.length >= MAX_GRANTS) {
    const message = `exceeds the limit of ${MAX_GRANTS} grants of a tenant; delete one that is not needed`;
    throw errors.validation([{ path: "/key", message, code: "too_many" }]);
  }
  return [...others, itemOf(after)];
}

/** Also for library callers, which no route checks. Throws `forbidden` for a tenant's own user. */
export function assertPlatform({ context: { tenantId } }: UnitOfWork): void {
  if (tenantId === null) return;
  throw new InnkeepError("forbidden", "You cannot change what your plan includes. Ask the platform's support.");
}

function invalid(path: string, message: string): FieldError {
  return { path, message, code: "invalid" };
}
