import { describe, expect, test } from "vitest";
import { type Tenant, tenant as entity, type TenantStatus } from "../../../shared/features/tenants/entity.ts";
import {
  assertNoLegalHold,
  forbiddenMetadata,
  initialStatus,
  missingReason,
  moveStatus,
  type StatusMove,
} from "../../../shared/features/tenants/rules.ts";
import { InnkeepError } from "../../../shared/kernel/errors.ts";

const now = "2026-01-15T00:00:00.000Z";
const earlier = "2026-01-10T00:00:00.000Z";
const hotel = (status: TenantStatus, more: Partial<Tenant> = {}): Tenant =>
  ({ ...entity.schema.parse(entity.example), status, ...more }) as Tenant;
const suspended = (more: Partial<Tenant> = {}) => hotel("suspended", { suspendedAt: earlier, suspensionReason: "unpaid", ...more });

/** The code and fields of the error that a rule throws, or "passes". */
function refusal(rule: () => unknown): unknown {
  try {
    rule();
  } catch (error) {
    if (!(error instanceof InnkeepError)) throw error;
    return { code: error.code, fields: error.fields, ...error.details };
  }
  return "passes";
}

const REQUIRED = {
  code: "validation_failed",
  fields: [{ path: "/suspensionReason", message: "is required to suspend a tenant", code: "required" }],
};
const STRAY = {
  code: "validation_failed",
  fields: [{ path: "/suspensionReason", message: "is allowed only for a suspended tenant", code: "not_applicable" }],
};

describe("a tenant that moves to another status", () => {
  test.each<[string, Tenant, StatusMove, Tenant]>([
    ["a pending tenant goes live", hotel("pending"), { to: "active" }, hotel("active")],
    ["a pending tenant starts its trial", hotel("pending"), { to: "trial" }, hotel("trial")],
    ["a trial goes live", hotel("trial", { trialEndsAt: now }), { to: "active" }, hotel("active", { trialEndsAt: now })],
    [
      "a suspension says when, why and from what, without the blanks around the reason",
      hotel("active"),
      { to: "suspended", reason: "  unpaid " },
      hotel("suspended", { suspendedAt: now, suspensionReason: "unpaid", suspendedFrom: "active" }),
    ],
    [
      "a suspended trial is known to have been one",
      hotel("trial"),
      { to: "suspended", reason: "fraud" },
      hotel("suspended", { suspendedAt: now, suspensionReason: "fraud", suspendedFrom: "trial" }),
    ],
    [
      "a second suspension keeps when the tenant was last let go",
      hotel("active", { unsuspendedAt: earlier }),
      { to: "suspended", reason: "fraud" },
      hotel("suspended", { suspendedAt: now, suspensionReason: "fraud", suspendedFrom: "active", unsuspendedAt: earlier }),
    ],
    ["a cancellation says when", hotel("active"), { to: "cancelled" }, hotel("cancelled", { cancelledAt: now })],
    [
      "a cancellation of a suspended tenant drops the reason and keeps the time",
      suspended({ suspendedFrom: "trial" }),
      { to: "cancelled" },
      hotel("cancelled", { suspendedAt: earlier, cancelledAt: now }),
    ],
    [
      "a suspended trial that is set to active goes live",
      suspended({ suspendedFrom: "trial" }),
      { to: "active" },
      hotel("active", { suspendedAt: earlier, unsuspendedAt: now }),
    ],
    [
      "an unsuspension gives back the trial",
      suspended({ suspendedFrom: "trial" }),
      { unsuspension: true },
      hotel("trial", { suspendedAt: earlier, unsuspendedAt: now }),
    ],
    [
      "an unsuspension gives back the live tenant",
      suspended({ suspendedFrom: "active" }),
      { unsuspension: true },
      hotel("active", { suspendedAt: earlier, unsuspendedAt: now }),
    ],
    [
      "an unsuspension of a record that does not say what it was makes it active",
      suspended(),
      { unsuspension: true },
      hotel("active", { suspendedAt: earlier, unsuspendedAt: now }),
    ],
    [
      "a reactivation is no end of a suspension",
      hotel("cancelled", { cancelledAt: earlier }),
      { to: "active", reactivation: true },
      hotel("active"),
    ],
    [
      "another reason for the same suspension changes the reason alone",
      suspended({ suspendedFrom: "trial" }),
      { reason: " fraud " },
      suspended({ suspendedFrom: "trial", suspensionReason: "fraud" }),
    ],
  ])("T07: %s", (_what, before, move, after) => {
    expect(moveStatus(before, move, now)).toEqual(after);
  });

  test.each<[string, Tenant, StatusMove]>([
    ["that is asked for nothing", hotel("active"), {}],
    ["that has the status already", hotel("cancelled", { cancelledAt: earlier }), { to: "cancelled" }],
    ["that is on trial and is unsuspended", hotel("trial"), { unsuspension: true }],
    ["that is active and is unsuspended", hotel("active"), { unsuspension: true }],
  ])("T07: a tenant %s is unchanged", (_what, before, move) => {
    expect(moveStatus(before, move, now)).toBe(before);
  });

  test.each<[string, Tenant, StatusMove, unknown]>([
    ["a suspension without a reason", hotel("active"), { to: "suspended" }, REQUIRED],
    ["a suspension for a blank reason", hotel("active"), { to: "suspended", reason: " \t" }, REQUIRED],
    ["a reason to go live", hotel("trial"), { to: "active", reason: "paid" }, STRAY],
    ["a reason on a tenant that stays active", hotel("active"), { reason: "paid" }, STRAY],
    ["a blank reason on a tenant that stays active", hotel("active"), { reason: "" }, STRAY],
    [
      "an unsuspension of a pending tenant",
      hotel("pending"),
      { unsuspension: true },
      { code: "invalid_transition", fields: [], from: "pending", to: "active", allowed: ["trial", "active"] },
    ],
    [
      "an unsuspension of a cancelled tenant",
      hotel("cancelled"),
      { unsuspension: true },
      { code: "invalid_transition", fields: [], from: "cancelled", to: "active", allowed: [] },
    ],
    [
      "an illegal move, before its reason is looked at",
      hotel("cancelled"),
      { to: "trial", reason: "paid" },
      { code: "invalid_transition", fields: [], from: "cancelled", to: "trial", allowed: [] },
    ],
  ])("T07: %s is refused", (_what, before, move, expected) => {
    expect(refusal(() => moveStatus(before, move, now))).toEqual(expected);
  });
});

describe("a new tenant", () => {
  test.each<[TenantStatus | undefined, string | undefined, boolean, TenantStatus]>([
    [undefined, undefined, true, "trial"],
    [undefined, undefined, false, "active"],
    ["pending", undefined, true, "pending"],
    ["active", undefined, true, "active"],
    ["trial", undefined, false, "trial"],
    ["suspended", "unpaid", false, "suspended"],
  ])("T01: that asks for %s with the reason %s, on a plan with a trial: %s, is %s", (status, suspensionReason, hasTrial, expected) => {
    expect(initialStatus({ status, suspensionReason }, hasTrial)).toBe(expected);
  });

  test("T01: must have a reason if it is suspended, and must not have one otherwise", () => {
    for (const suspensionReason of [undefined, ""]) {
      expect(refusal(() => initialStatus({ status: "suspended", suspensionReason }, false))).toEqual(REQUIRED);
    }
    for (const status of [undefined, "active", "cancelled"] as const) {
      for (const suspensionReason of ["unpaid", ""]) {
        expect(refusal(() => initialStatus({ status, suspensionReason }, true))).toEqual(STRAY);
      }
    }
    expect(missingReason()).toMatchObject(REQUIRED);
  });
});

describe("a legal hold", () => {
  test("C09: prevents the deletion of a tenant unless it is false or null, and the refusal says what to do", () => {
    const held = hotel("active", { id: "tn_1", metadata: { legalHold: true } });
    expect(() => assertNoLegalHold(held)).toThrowError("Tenant tn_1 is under legal hold. Release the hold before you delete it.");
    expect(refusal(() => assertNoLegalHold(held))).toEqual({ code: "legal_hold", fields: [] });
    // Nobody writes such a value who does not mean a hold, and a deletion cannot be undone.
    for (const legalHold of ["true", "yes", 1, {}]) {
      expect(refusal(() => assertNoLegalHold(hotel("active", { metadata: { legalHold } })))).toMatchObject({ code: "legal_hold" });
    }
    for (const metadata of [undefined, {}, { legalHold: false }, { legalHold: null }, { note: true }]) {
      expect(refusal(() => assertNoLegalHold(hotel("active", metadata ? { metadata } : {})))).toBe("passes");
    }
  });

  test.each([
    [null, ["/metadata"]],
    [{ legalHold: false }, ["/metadata/legalHold"]],
    [{ legalHold: null }, ["/metadata/legalHold"]],
    [{ note: 1 }, []],
    [{}, []],
    [undefined, []],
    ["legalHold", []],
  ])("R11: a tenant's own user who sends the metadata %j may not set %j", (metadata, held) => {
    expect(forbiddenMetadata(metadata)).toEqual(held);
  });
});
