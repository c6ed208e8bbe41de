import { afterAll, expect, test } from "vitest";
import { openTestContext } from "../support/test-context.ts";

const app = await openTestContext();
const { ComplianceService, DeletionCertificateService, FileService, TenantService } = app;
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
  const link = new URL(done?.downloadUrl ?? "", "https://api.example.com");
  const [fileId = "", query] = [link.pathname.split("/").at(-1), link.searchParams];
  const linked = await FileService.download(fileId, {
    owner: tenantId,
    expiresAt: query.get("expiresAt") ?? "",
    signature: query.get("signature") ?? "",
  });
  expect(linked.file.type).toBe("application/zip");
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

test("H29: a deletion waits for its grace period, can be cancelled, and leaves a certificate", async () => {
  const { id: tenantId } = await app.tenant();
  const preview = await ComplianceService.previewDeletion(tenantId);
  expect(preview?.records.find(({ entity }) => entity === "tenant")).toMatchObject({ deleted: 1 });
  const first = await ComplianceService.createRequest(tenantId, "deletion", "user-1", "ada@aurora.example");
  const cancelled = await ComplianceService.cancel(first.id);
  expect(cancelled).toMatchObject({ status: "cancelled" });
  const second = await ComplianceService.createRequest(tenantId, "deletion", "user-1", "ada@aurora.example");
  app.clock.advance(7 * 86_400_000);
  const deleted = await ComplianceService.process(second.id);
  expect(deleted).toMatchObject({ status: "completed" });
  expect(await TenantService.get(tenantId)).toBeNull();
  const check = await DeletionCertificateService.verify(deleted?.certificateId ?? "");
  expect(check).toMatchObject({ valid: true, remaining: 0 });
});
