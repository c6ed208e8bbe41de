import { InnkeepError } from "../../kernel/errors.ts";
import { covers, type ScopeCatalogue, type Scopes } from "../../core/scopes.ts";
import type { Admin } from "./entity.ts";

type Standing = Pick<Admin, "userId" | "role" | "permissions" | "enabled">;

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
  scopes: ScopeCatalogue,
): void {
  for (const standing of [before, after]) {
    const held = standing ? scopes.ofAdmin(standing.role, standing.permissions) : new Set<string>();
    if (covers(own.scopes, held)) continue;
    const lacking = [...held].filter((scope) => !own.scopes.has(scope));
    throw new InnkeepError(
      "forbidden",
      standing === before
        ? `You cannot change or remove an admin who has permissions you do not have: ${lacking.join(", ")}.`
        : `You cannot grant permissions you do not have: ${lacking.join(", ")}.`,
    );
  }
  if (!before || !after || before.userId !== own.userId) return;
  const permissions = (standing: Standing) => [...new Set(standing.permissions)].sort().join(" ");
  if (before.role !== after.role || permissions(before) !== permissions(after)) {
    throw new InnkeepError("forbidden", "You cannot change your own role or permissions. Ask another admin.");
  }
}

/**
 * Refuses to remove (`after` null), disable or demote the last enabled super_admin: nobody could give the
 * role back. `otherEnabledSuperAdmins` counts those besides this one. Throws `last_super_admin`.
 */
export function assertAdminChange(before: Standing, after: Standing | null, otherEnabledSuperAdmins: number): void {
  if (!isEnabledSuperAdmin(before) || isEnabledSuperAdmin(after) || otherEnabledSuperAdmins > 0) return;
  throw new InnkeepError(
    "last_super_admin",
    "You cannot remove, disable or demote the last enabled super_admin. Make another admin a super_admin first.",
  );
}

export function isEnabledSuperAdmin(admin: Pick<Standing, "role" | "enabled"> | null): boolean {
  return admin !== null && admin.enabled && admin.role === "super_admin";
}
