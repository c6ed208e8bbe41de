import { describe, expect, test } from "vitest";
import { InnkeepError } from "../../../shared/kernel/errors.ts";
import { assertAdminChange } from "../../../shared/features/admins/rules.ts";

const PERSON = { userId: "person", permissions: [] as string[] };
const superAdmin = { ...PERSON, role: "super_admin", enabled: true } as const;
const disabled = { ...PERSON, role: "super_admin", enabled: false } as const;
const admin = { ...PERSON, role: "admin", enabled: true } as const;

function refused(...change: Parameters<typeof assertAdminChange>): boolean {
  try {
    assertAdminChange(...change);
    return false;
  } catch (error) {
    expect(error).toBeInstanceOf(InnkeepError);
    expect(error).toMatchObject({
      code: "last_super_admin",
      status: 409,
      message: "You cannot remove, disable or demote the last enabled super_admin. Make another admin a super_admin first.",
    });
    return true;
  }
}

describe("admin changes", () => {
  test.each(
    [
      ["removed", null],
      ["disabled", disabled],
      ["demoted", admin],
      ["demoted and disabled", { ...PERSON, role: "read_only", enabled: false }],
    ] as const,
  )("R11: the last enabled super_admin cannot be %s, but one of two can", (_what, after) => {
    expect(refused(superAdmin, after, 0)).toBe(true);
    expect(refused(superAdmin, after, 1)).toBe(false);
  });

  test.each(
    [
      ["a change that leaves it an enabled super_admin", superAdmin, superAdmin],
      ["the removal of an admin", admin, null],
      ["the removal of a disabled super_admin", disabled, null],
      ["enabling a disabled super_admin", disabled, superAdmin],
      ["promoting an admin", admin, superAdmin],
    ] as const,
  )("R11: the rule of the last enabled super_admin does not prevent %s", (_what, before, after) => {
    expect(refused(before, after, 0)).toBe(false);
  });
});
