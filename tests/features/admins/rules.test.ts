import { describe, expect, test } from "vitest";
import { assertMayAdminister } from "../../../shared/features/admins/rules.ts";
import type { AdminRole } from "../../../shared/core/scopes.ts";
import { scopes as catalogue } from "../../../shared/features/index.ts";

function admin(userId: string, role: AdminRole, permissions: string[] = []) {
  return { userId, role, permissions, enabled: true, scopes: catalogue.ofAdmin(role, permissions) };
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
    expect(() => assertMayAdminister(own, before, after, catalogue)).not.toThrow();
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
    expect(() => assertMayAdminister(own, before, after, catalogue)).toThrowError(forbidden);
  });

  test("R11: a refusal states which of the two rules was broken", () => {
    expect(() => assertMayAdminister(ops, null, root, catalogue)).toThrowError(
      "You cannot grant permissions you do not have: *, write:admins.",
    );
    expect(() => assertMayAdminister(ops, root, null, catalogue)).toThrowError(
      "You cannot change or remove an admin who has permissions you do not have: *, write:admins.",
    );
    expect(() => assertMayAdminister(root, root, admin("root", "admin"), catalogue)).toThrowError(
      "You cannot change your own role or permissions. Ask another admin.",
    );
  });
});
