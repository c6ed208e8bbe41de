import { describe, expect, test } from "vitest";
import { subscription as entity, SUBSCRIPTION_STATUSES } from "../../../shared/features/subscriptions/entity.ts";
import type { Subscription } from "../../../shared/features/subscriptions/entity.ts";
import { TENANT_STATUSES } from "../../../shared/features/tenants/entity.ts";
import { ended, followed, resumed } from "../../../shared/features/subscriptions/rules.ts";

const now = "2026-01-15T00:00:00.000Z";
const later = "2026-03-31T10:00:00.000Z";
const is = (status: Subscription["status"], more: Partial<Subscription> = {}): Subscription =>
  ({ ...entity.schema.parse(entity.example), status, ...more }) as Subscription;

describe("a subscription follows its tenant", () => {
  for (const to of TENANT_STATUSES) {
    test.each(SUBSCRIPTION_STATUSES)(`T07: to ${to}, when it is %s`, (status) => {
      const expected = to === "cancelled" ? "cancelled" : to === "active" && status === "trialing" ? "active" : status;
      const before = is(status);
      const after = followed(before, to, now);
      expect(after.status).toBe(expected);
      if (expected === status) expect(after).toBe(before);
    });
  }

  test("T07: an end takes the place of one that was due, and ends nothing twice", () => {
    const once = ended(is("active", { cancelAtPeriodEnd: true }), now);
    expect(once).toMatchObject({ status: "cancelled", cancelAtPeriodEnd: false, cancelledAt: now });
    expect(ended(once, later)).toBe(once);
  });

  test("T07: one that comes back keeps its period while it lasts, and begins a new one when it is over", () => {
    const cancelled = ended(is("active"), now);
    expect(resumed(cancelled, "2026-01-31T23:59:59.999Z", "monthly")).toEqual(is("active"));
    expect(resumed(cancelled, "2026-02-01T00:00:00.000Z", "monthly").currentPeriodStart).toBe("2026-02-01T00:00:00.000Z");
    expect(resumed(cancelled, later, "monthly")).toEqual(
      is("active", { currentPeriodStart: later, currentPeriodEnd: "2026-04-30T10:00:00.000Z" }),
    );
    expect(resumed(cancelled, later, "yearly").currentPeriodEnd).toBe("2027-03-31T10:00:00.000Z");
    expect(resumed(is("past_due", { cancelAtPeriodEnd: true }), later, "monthly")).toEqual(is("past_due"));
  });
});
