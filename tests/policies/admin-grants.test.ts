import { describe, expect, test } from "vitest";
import type { AdminRole } from "../../shared/entities/admin-user.ts";
import { assertMayAdminister } from "../../shared/policies/admin-grants.ts";
import { adminScopes } from "../../shared/policies/scopes.ts";

function admin(userId: string, role: AdminRole, permissions: readonly string[] = []) {
  return { userId, role, permissions, scopes: adminScopes(role, permissions) };
}

const forbidden = expect.objectContaining({ code: "forbidden", status: 403 });
const root = admin("root", "super_admin");
const ops = admin("ops", "admin");
const opsWithAdmins = admin("ops", "admin", ["write:admins"]);

describe("who may administer whom", () => {
  test.each([
    ["a super_admin makes a super_admin", root, null, admin("eve", "super_admin")],
    ["a super_admin demotes another one", root, admin("eve", "super_admin"), admin("eve", "read_only")],
    ["a super_admin removes another one", root, admin("eve", "super_admin"), null],
    ["an admin with write:admins makes an admin", opsWithAdmins, null, admin("eve", "admin")],
    ["an admin with write:admins removes a support", opsWithAdmins, admin("eve", "support"), null],
    [
      "an admin with write:admins gives a permission it has",
      opsWithAdmins,
      admin("eve", "support"),
      admin("eve", "support", ["write:plans"]),
    ],
    ["anybody keeps its own role and permissions", opsWithAdmins, opsWithAdmins, admin("ops", "admin", ["write:admins"])],
    [
      "anybody keeps its own permissions, in any order",
      opsWithAdmins,
      admin("ops", "admin", ["write:admins", "read:plans"]),
      admin("ops", "admin", ["read:plans", "write:admins", "read:plans"]),
    ],
  ])("R11: %s", (_what, own, before, after) => {
    expect(() => assertMayAdminister(own, before, after)).not.toThrow();
  });

  test.each([
    ["an admin does not make a super_admin", opsWithAdmins, null, admin("eve", "super_admin")],
    ["an admin does not promote another to super_admin", opsWithAdmins, admin("eve", "admin"), admin("eve", "super_admin")],
    ["an admin does not demote a super_admin", opsWithAdmins, admin("root", "super_admin"), admin("root", "support")],
    ["an admin does not remove a super_admin", opsWithAdmins, admin("root", "super_admin"), null],
    ["an admin does not hand out a permission it lacks", ops, admin("eve", "support"), admin("eve", "support", ["write:admins"])],
    ["an admin does not hand out everything", opsWithAdmins, admin("eve", "support"), admin("eve", "support", ["*"])],
    ["nobody promotes itself", opsWithAdmins, opsWithAdmins, admin("ops", "super_admin")],
    ["nobody demotes itself", root, root, admin("root", "admin")],
    ["nobody gives itself a permission", opsWithAdmins, opsWithAdmins, admin("ops", "admin", ["write:admins", "read:plans"])],
    ["nobody drops its own permission", opsWithAdmins, opsWithAdmins, admin("ops", "admin")],
    [
      "nobody swaps a permission for one that reads alike",
      opsWithAdmins,
      admin("ops", "admin", ["ab", "cd"]),
      admin("ops", "admin", ["a", "bcd"]),
    ],
  ])("R11: %s", (_what, own, before, after) => {
    expect(() => assertMayAdminister(own, before, after)).toThrowError(forbidden);
  });

  test("R11: whoever is refused is told which of the two rules it was", () => {
    expect(() => assertMayAdminister(ops, null, root)).toThrowError(
      "an admin with more rights than yours is not yours to make, change or remove",
    );
    expect(() => assertMayAdminister(root, root, admin("root", "admin"))).toThrowError("nobody changes their own role or permissions");
  });
});
