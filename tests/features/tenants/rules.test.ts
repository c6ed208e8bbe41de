import { describe, expect, test } from "vitest";
import { TENANT_STATUSES } from "../../../shared/features/tenants/entity.ts";
import type { TenantStatus } from "../../../shared/features/tenants/entity.ts";
import { InnkeepError } from "../../../shared/kernel/errors.ts";
import { nextStatus } from "../../../shared/features/tenants/rules.ts";
import type { ExplicitMove } from "../../../shared/features/tenants/rules.ts";

/** The state machine, written by hand and not read from the code. */
const ALLOWED: readonly `${TenantStatus} → ${TenantStatus}`[] = [
  "pending → trial",
  "pending → active",
  "trial → active",
  "trial → suspended",
  "trial → cancelled",
  "active → suspended",
  "active → cancelled",
  "suspended → active",
  "suspended → cancelled",
];

function outcome(from: TenantStatus, to: TenantStatus, move?: ExplicitMove): unknown {
  try {
    return nextStatus(from, to, move);
  } catch (error) {
    if (!(error instanceof InnkeepError)) throw error;
    return { status: error.status, code: error.code, allowed: error.details["allowed"] };
  }
}

const pairs = TENANT_STATUSES.flatMap((from) => TENANT_STATUSES.map((to) => [from, to] as const));

describe("tenant status", () => {
  test.each(pairs)("T07: a tenant that is %s and is asked to be %s moves exactly as the state machine says", (from, to) => {
    const allowed = TENANT_STATUSES.filter((next) => ALLOWED.includes(`${from} → ${next}`));
    if (from === to) expect(outcome(from, to)).toBe("same");
    else if (allowed.includes(to)) expect(outcome(from, to)).toBe("change");
    else {
      const refusal = { status: 409, code: "invalid_transition", allowed: expect.arrayContaining(allowed) };
      expect(outcome(from, to)).toEqual(refusal);
      expect(outcome(from, to)).toHaveProperty("allowed.length", allowed.length);
    }
  });

  test("T07: a cancelled tenant becomes active through a reactivation and through nothing else", () => {
    expect(outcome("cancelled", "active")).toMatchObject({ code: "invalid_transition", allowed: [] });
    expect(outcome("cancelled", "active", { unsuspension: true })).toMatchObject({ code: "invalid_transition" });
    expect(outcome("cancelled", "active", { reactivation: true })).toBe("change");
    expect(outcome("cancelled", "trial", { reactivation: true })).toMatchObject({ code: "invalid_transition", allowed: ["active"] });
  });

  test("T07: a suspended trial comes back as a trial through an unsuspension and through nothing else", () => {
    expect(outcome("suspended", "trial")).toMatchObject({ code: "invalid_transition", allowed: ["active", "cancelled"] });
    expect(outcome("suspended", "trial", { reactivation: true })).toMatchObject({ code: "invalid_transition" });
    expect(outcome("suspended", "trial", { unsuspension: true })).toBe("change");
  });

  test.each(["pending", "trial", "active"] as const)(
    "T07: a reactivation or unsuspension allows no other transition of a tenant that is %s",
    (from) => {
      for (const to of TENANT_STATUSES) expect(outcome(from, to, { reactivation: true, unsuspension: true })).toEqual(outcome(from, to));
    },
  );
});
