import { InnkeepError } from "../../kernel/errors.ts";
import { covers, type ScopeCatalogue, type Scopes } from "../../core/scopes.ts";
import type { Admin } from "./entity.ts";

type AdminRights = Pick<Admin, "userId" | "role" | "permissions" | "enabled">;

/** The admin who makes a change, with its scopes. */
export interface Administrator {
  readonly userId: string;
  readonly scopes: Scopes;
}

/**
 * Checks who creates, changes or removes an admin. An admin cannot change its own role or permissions, and cannot
 * grant or revoke scopes that it does not have. `before` is null for a creation, `after` for a removal. Throws `forbidden`.
 */
export function assertMayAdminister(
  own: Administrator,
  before: AdminRights | null,
  after: AdminRights | null,
  scopes: ScopeCatalogue,
): void {
  for (const rights of [before, after]) {
    const asked = rights ? scopes.ofAdmin(rights.role, rights.permissions) : new Set<string>();
    if (covers(own.scopes, asked)) continue;
    const lacking = [...asked].filter((scope) => !own.scopes.has(scope));
    throw new InnkeepError(
      "forbidden",
      rights === before
        ? `You cannot change or remove an admin who has permissions you do not have: ${lacking.join(", ")}.`
        : `You cannot grant permissions you do not have: ${lacking.join(", ")}.`,
    );
  }
  if (!before || !after || before.userId !== own.userId) return;
  const permissions = (rights: AdminRights) => [...new Set(rights.permissions)].sort().join(" ");
  if (before.role !== after.role || permissions(before) !== permissions(after)) {
    throw new InnkeepError("forbidden", "You cannot change your own role or permissions. Ask another admin.");
  }
}

/**
 * Refuses to remove (`after` is null), disable or demote the last enabled super_admin, because nobody could grant
 * the role again. `otherEnabledSuperAdmins` does not count this one. Throws `last_super_admin`.
 */
export function assertAdminChange(before: AdminRights, after: AdminRights | null, otherEnabledSuperAdmins: number): void {
  if (!isEnabledSuperAdmin(before) || isEnabledSuperAdmin(after) || otherEnabledSuperAdmins > 0) return;
  throw new InnkeepError(
    "last_super_admin",
    "You cannot remove, disable or demote the last enabled super_admin. Make another admin a super_admin first.",
  );
}

export function isEnabledSuperAdmin(admin: Pick<AdminRights, "role" | "enabled"> | null): boolean {
  return admin !== null && admin.enabled && admin.role === "super_admin";
}
