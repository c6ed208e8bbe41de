import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { TENANT_STATUSES } from "../../shared/entities/tenant.ts";
import type { TenantStatus } from "../../shared/entities/tenant.ts";
import { InnkeepError } from "../../shared/kernel/errors.ts";
import type { StoredTenant } from "../../shared/services/tenant-service.ts";
import { codeOf } from "../support/store.ts";
import { openStage } from "./stage.ts";

let stage: Awaited<ReturnType<typeof openStage>>;
beforeAll(async () => void (stage = await openStage()));
afterAll(() => stage.close());

/** data-model.md, written down once more by hand. */
const ALLOWED: Readonly<Record<TenantStatus, readonly TenantStatus[]>> = {
  pending: ["trial", "active"],
  trial: ["active", "suspended", "cancelled"],
  active: ["suspended", "cancelled"],
  suspended: ["active", "cancelled"],
  cancelled: [],
};

async function tenantThatIs(status: TenantStatus): Promise<StoredTenant> {
  return await stage.tenant({ status, ...(status === "suspended" ? { suspensionReason: "unpaid" } : {}) });
}

function present(tenant: StoredTenant | null): StoredTenant {
  if (!tenant) throw new Error("the tenant is gone");
  return tenant;
}

describe("the state machine of a tenant", () => {
  for (const from of TENANT_STATUSES) {
    for (const to of TENANT_STATUSES.filter((status) => status !== from)) {
      const legal = ALLOWED[from].includes(to);
      it(`T07: ${from} → ${to} by PATCH is ${legal ? "done" : "refused with the allowed list"}`, async () => {
        const before = await tenantThatIs(from);
        const move = stage.TenantService.update(before.id, { status: to, ...(to === "suspended" ? { suspensionReason: "unpaid" } : {}) });
        if (legal) {
          expect((await move)?.status).toBe(to);
          return;
        }
        const error = await move.then(() => null, (thrown: unknown) => thrown);
        expect(error).toBeInstanceOf(InnkeepError);
        expect(error).toMatchObject({ code: "invalid_transition", status: 409, details: { from, to, allowed: [...ALLOWED[from]] } });
        expect(await stage.TenantService.get(before.id)).toEqual(before);
      });
    }
    it(`T07: ${from} → ${from} changes nothing and writes nothing`, async () => {
      const before = await tenantThatIs(from);
      expect(await stage.TenantService.update(before.id, { status: from })).toEqual(before);
      expect(await stage.auditOf(before.id)).toHaveLength(1);
    });
  }

  it.each(["trial", "active"] as const)("T07: unsuspend brings a %s tenant back to what it was", async (status) => {
    const { id } = await tenantThatIs(status);
    const suspended = present(await stage.TenantService.suspend(id, "chargeback"));
    expect(suspended).toMatchObject({ status: "suspended", suspensionReason: "chargeback", suspendedAt: stage.clock.iso() });
    expect(await stage.TenantService.suspend(id, "again")).toEqual(suspended);
    stage.clock.advance(60_000);
    const back = present(await stage.TenantService.unsuspend(id));
    expect(back).toMatchObject({ status, unsuspendedAt: stage.clock.iso() });
    expect(back).not.toHaveProperty("suspensionReason");
    expect(back).not.toHaveProperty("suspendedFrom");
    expect(await stage.TenantService.unsuspend(id)).toEqual(back);
    expect((await stage.auditOf(id)).map(({ action }) => action)).toEqual(["tenant.created", "tenant.suspended", "tenant.unsuspended"]);
  });

  it("T07: suspending needs a reason, by call and by PATCH", async () => {
    const { id } = await tenantThatIs("active");
    for (const reason of ["", "   "]) expect(await codeOf(stage.TenantService.suspend(id, reason))).toBe("validation_failed");
    expect(await codeOf(stage.TenantService.update(id, { status: "suspended" }))).toBe("validation_failed");
    expect((await stage.TenantService.get(id))?.status).toBe("active");
  });

  it("T07: cancelled is left only by reactivate", async () => {
    const { id } = await tenantThatIs("active");
    expect(await stage.TenantService.cancel(id)).toMatchObject({ status: "cancelled", cancelledAt: stage.clock.iso() });
    expect(await codeOf(stage.TenantService.update(id, { status: "active" }))).toBe("invalid_transition");
    expect(await codeOf(stage.TenantService.suspend(id, "x"))).toBe("invalid_transition");
    const back = present(await stage.TenantService.reactivate(id));
    expect(back.status).toBe("active");
    expect(back).not.toHaveProperty("cancelledAt");
  });

  it("T07: moves of a tenant that is not there answer null", async () => {
    for (
      const move of [
        stage.TenantService.suspend("tn_no", "x"),
        stage.TenantService.cancel("tn_no"),
        stage.TenantService.reactivate("tn_no"),
      ]
    ) {
      expect(await move).toBeNull();
    }
  });

  it("T07: of two opposite moves at once each sees what the other did", async () => {
    const { id } = await tenantThatIs("active");
    const outcomes = await Promise.all([codeOf(stage.TenantService.suspend(id, "x")), codeOf(stage.TenantService.cancel(id))]);
    // suspended → cancelled is legal, cancelled → suspended is not.
    const { status } = present(await stage.TenantService.get(id));
    expect(status).toBe("cancelled");
    expect(outcomes.filter((outcome) => outcome === "invalid_transition").length).toBeLessThanOrEqual(1);
    const entries = await stage.auditOf(id);
    expect(entries.at(-1)?.["action"]).toBe("tenant.cancelled");
  });
});
