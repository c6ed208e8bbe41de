import { expect } from "vitest";
import type { TestContext } from "../../support/test-context.ts";
import type { Services } from "../../../shared/container.ts";
import type { Killed } from "./killed.test.ts";

const TENANTS = 3;
const TYPES = ["audit-entry", "subscription", "tenant", "usage-record"];

/** Exports of tenants, which are written in steps while the processes are killed. */
export async function compliance(context: TestContext & Services): Promise<Killed> {
  const requests = await Promise.all(Array.from({ length: TENANTS }, async () => {
    const { id } = await context.tenant();
    return await context.ComplianceService.createRequest(id, "export", "user-1", undefined, { dataTypes: TYPES });
  }));
  return {
    check: async () => {
      for (const { id, tenantId } of requests) {
        const request = await context.ComplianceService.get(tenantId, id);
        expect(request).toMatchObject({ status: "completed", progress: 100 });
        const counts = Object.fromEntries((request?.parts ?? []).map(({ type, records }) => [type, records]));
        expect(counts).toMatchObject({ tenant: 1, subscription: 1 });
        expect(counts["audit-entry"]).toBeGreaterThanOrEqual(2);
        const files = (await context.dump("file")).filter((entry) => entry.tenantId === tenantId);
        // The archive, the manifest, and one file for each kind of records.
        expect(files).toHaveLength(2 + TYPES.length);
        const actions = (await context.auditOf(tenantId)).map(({ action }) => String(action))
          .filter((action) => action.startsWith("compliance-request."));
        expect(actions).toEqual([
          "compliance-request.created",
          "compliance-request.started",
          "compliance-request.completed",
        ]);
      }
      expect(await context.dump("exportrun")).toEqual([]);
    },
  };
}
