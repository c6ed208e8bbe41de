import { expect } from "vitest";
import type { TestContext } from "../../support/test-context.ts";
import type { Services } from "../../../shared/container.ts";
import type { Killed } from "./killed.test.ts";

const TENANTS = 3;

/** Exports of tenants' audit logs, which are written in steps while the processes are killed. */
export async function auditExports(context: TestContext & Services): Promise<Killed> {
  const made = await Promise.all(Array.from({ length: TENANTS }, async () => {
    const { id: tenantId } = await context.tenant();
    return await context.AuditExportService.create({ tenantId, action: "tenant.*" });
  }));
  return {
    check: async () => {
      for (const { id, tenantId } of made) {
        const found = await context.AuditExportService.get(id);
        expect(found).toMatchObject({ status: "completed", progress: 100, entries: 1 });
        const files = (await context.dump("file")).filter(({ value }) => (value as { readonly name?: string }).name === "audit.ndjson");
        expect(files.filter((file) => file.tenantId === tenantId)).toHaveLength(1);
        const actions = (await context.auditOf(tenantId ?? null)).map(({ action }) => String(action));
        expect(actions.filter((action) => action === "audit-export.completed")).toHaveLength(1);
      }
    },
  };
}
