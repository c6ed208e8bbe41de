import type { AdminRole } from "./entity.ts";
import { InnkeepError } from "../../kernel/errors.ts";
import { adminScopes, covers, type Scopes } from "../../core/scopes.ts";

interface Standing {
  readonly userId: string;
  readonly role: AdminRole;
  readonly permissions: readonly string[];
}

/** Who makes the change, with the scopes they hold. */
export interface Administrator {
  readonly userId: string;
  readonly scopes: Scopes;
}

/**
 * Who may make, change or remove an admin: nobody edits their own role or permissions, and nobody gives
 * to another, or takes from one, rights beyond their own. `before` and `after` are null where there is none.
 */
export function assertMayAdminister(
  own: Administrator,
  before: Standing | null,
  after: Standing | null,
): void {
  for (const standing of [before, after]) {
    if (standing && !covers(own.scopes, adminScopes(standing.role, standing.permissions))) {
      throw new InnkeepError("forbidden", "an admin with more rights than yours is not yours to make, change or remove");
    }
  }
  if (!before || !after || before.userId !== own.userId) return;
  const permissions = (standing: Standing) => [...new Set(standing.permissions)].sort().join(" ");
  if (before.role !== after.role || permissions(before) !== permissions(after)) {
    throw new InnkeepError("forbidden", "nobody changes their own role or permissions");
  }
}
