import type { AdminUser } from "./entity.ts";
import { InnkeepError } from "../../kernel/errors.ts";

type Standing = Pick<AdminUser, "role" | "enabled">;

/**
 * Refuses to remove (`after` null), disable or demote the last enabled super_admin: nobody could give the
 * role back. `otherEnabledSuperAdmins` counts those besides this one. Throws `last_super_admin`.
 */
export function assertAdminChange(before: Standing, after: Standing | null, otherEnabledSuperAdmins: number): void {
  if (!isEnabledSuperAdmin(before) || isEnabledSuperAdmin(after) || otherEnabledSuperAdmins > 0) return;
  throw new InnkeepError("last_super_admin", "the last enabled super_admin can be neither removed, disabled nor demoted");
}

export function isEnabledSuperAdmin(admin: Standing | null): boolean {
  return admin !== null && admin.enabled && admin.role === "super_admin";
}
