import { afterAll, expect, test } from "vitest";
import { openTestContext } from "../support/test-context.ts";

const app = await openTestContext();
const { ComplianceService } = app;
afterAll(() => app.close());

test("H29: an export goes from pending to completed, with a signed link that expires", async () => {
  const { id: tenantId } = await app.tenant();
  const request = await ComplianceService.createRequest(tenantId, "export", "user-1", "ada@aurora.example", { format: "ndjson" });
  expect(request).toMatchObject({ status: "pending", progress: 0, overdue: false, remainingDays: 30 });
  const done = await ComplianceService.process(request.id);
  expect(done).toMatchObject({ status: "completed", progress: 100, expiresAt: app.clock.iso(7 * 86_400_000) });
  expect(done?.downloadUrl).toContain("signature=");
  const file = await ComplianceService.download(tenantId, request.id);
  expect(file).not.toBeNull();
  const list = await ComplianceService.list(tenantId);
  const shown = await ComplianceService.get(request.id);
  expect(list.data).toEqual([shown]);
});

test("H29: a request that is handled outside moves through its states by hand", async () => {
  const { id: tenantId } = await app.tenant();
  const request = await ComplianceService.createRequest(tenantId, "rectification", "user-1", "ada@aurora.example");
  await ComplianceService.updateStatus(request.id, "processing", { progress: 50 });
  const done = await ComplianceService.updateStatus(request.id, "completed");
  expect(done).toMatchObject({ status: "completed", progress: 100 });
});
