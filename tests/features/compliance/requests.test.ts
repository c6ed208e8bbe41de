import { describe, expect, test } from "vitest";
import { fileChunk, storedFile } from "../../../shared/features/files/entity.ts";
import { expectProblem, useApi } from "../../http/support/api.ts";
import { DAY } from "./support.ts";

const api = useApi();
const compliance = () => api.services.ComplianceService;
const pathOf = (tenantId: string, rest = "") => `/v1/tenants/${tenantId}/compliance${rest}`;

describe("a request under data protection law", () => {
  test("C01: is an export, a deletion, a rectification or a restriction, and knows who asked for what", async () => {
    const { id } = await api.tenant();
    for (const type of ["export", "deletion", "rectification", "restriction"] as const) {
      const made = await compliance().createRequest(id, type, "user-7", "eve@innkeep.example", { details: "All of it." });
      expect(made).toMatchObject({
        tenantId: id,
        type,
        status: "pending",
        progress: 0,
        requestedBy: "user-7",
        requestedByEmail: "eve@innkeep.example",
        details: "All of it.",
      });
      expect(await compliance().get(made.id)).toEqual(await compliance().get(`compliance:${id}:${made.id}`));
    }
    const unknown = await compliance().createRequest("tn_none", "export", "user-7", undefined).catch((error: unknown) => error);
    expect(unknown).toMatchObject({ code: "not_found" });
  });

  test("C02: moves by legal steps only, and each is in the tenant's audit log with its request", async () => {
    const { id } = await api.tenant();
    const token = api.admin("admin");
    const made = await compliance().createRequest(id, "rectification", "user-7", undefined);
    const patch = (json: object) => api.send("PATCH", pathOf(id, `/${made.id}`), { token, json });
    expect((await patch({ status: "processing", progress: 30 })).body).toMatchObject({ status: "processing", progress: 30 });
    expect((await patch({ status: "completed" })).body).toMatchObject({ status: "completed", progress: 100, remainingDays: null });
    expectProblem(await patch({ status: "processing" }), 409, "invalid_transition");
    expectProblem(await api.send("POST", pathOf(id, `/${made.id}/cancel`), { token }), 409, "invalid_transition");
    const { data } = await api.services.AuditService.list(id, {}, { resource: "compliance-request", resourceId: made.id });
    expect(data.map(({ action }) => action).toReversed()).toEqual([
      "compliance-request.created",
      "compliance-request.started",
      "compliance-request.completed",
    ]);
    expect(await api.services.AuditService.verify(id)).toMatchObject({ ok: true });
  });

  test("C03: is listed with its due date and remaining days, and as overdue after them", async () => {
    const { id } = await api.tenant();
    const first = await compliance().createRequest(id, "restriction", "user-7", undefined);
    api.clock.advance(20 * DAY);
    const second = await compliance().createRequest(id, "restriction", "user-7", undefined);
    api.clock.advance(11 * DAY);
    const token = await api.signer.sign("user-admin");
    const { body } = await api.send("GET", pathOf(id, "?sort=dueAt"), { token });
    expect(body.data).toMatchObject([
      { id: first.id, overdue: true, remainingDays: -1, dueAt: new Date(Date.parse(first.created) + 30 * DAY).toISOString() },
      { id: second.id, overdue: false, remainingDays: 19 },
    ]);
    const late = await compliance().list(undefined, { type: "restriction", status: "pending", dueAtTo: api.clock.iso() });
    expect(late.data.map((request) => request.id)).toContain(first.id);
    expect(late.data.map((request) => request.id)).not.toContain(second.id);
  });

  test("H18: for an export answers 202 with the place of its progress, and the job completes it", async () => {
    const { id } = await api.tenant();
    const token = await api.user(id, "owner");
    const answer = await api.send("POST", pathOf(id), { token, json: { type: "export", dataTypes: ["subscription"] } });
    expect([answer.status, answer.headers.get("location")]).toEqual([202, pathOf(id, `/${answer.body.id}`)]);
    expect(answer.body).toMatchObject({ status: "pending", requestedBy: `user-of-${id}` });
    expectProblem(await api.send("GET", pathOf(id, `/${answer.body.id}/download`), { token }), 409, "export_not_ready");
    expect(await api.services.JobService.run("compliance")).toMatchObject({ complete: true, remaining: 0, errors: [] });
    const { body } = await api.send("GET", answer.headers.get("location") ?? "", { token });
    expect(body).toMatchObject({ status: "completed", parts: [{ type: "subscription", records: 1 }] });
    expect((await api.send("GET", body.downloadUrl)).status).toBe(200);
  });

  test("H18: can be withdrawn while it waits, and the job then leaves it", async () => {
    const { id } = await api.tenant();
    const made = await compliance().createRequest(id, "export", "user-7", undefined);
    expect(await compliance().cancel(made.id)).toMatchObject({ status: "cancelled" });
    await api.services.JobService.run("compliance");
    expect(await compliance().get(made.id)).toMatchObject({ status: "cancelled" });
    expect(await api.open.store.count({ entity: storedFile, scope: id })).toBe(0);
  });

  test("T08: of a suspended tenant is made and answered, and its other changes are refused", async () => {
    const { id } = await api.tenant();
    const token = await api.user(id, "owner");
    await api.services.TenantService.suspend(id, "unpaid");
    const { status, body } = await api.send("POST", pathOf(id), { token, json: { type: "export", dataTypes: ["tenant"] } });
    expect(status).toBe(202);
    await compliance().process(body.id);
    expect((await api.send("GET", pathOf(id, `/${body.id}/download`), { token })).status).toBe(200);
    expectProblem(await api.send("PATCH", `/v1/tenants/${id}`, { token, json: { name: "New" } }), 403, "tenant_suspended");
  });
});

test("C05: the archive's link is signed, of one tenant, audited, ends after 7 days, and the files are then removed", async () => {
  const [{ id }, { id: other }] = [await api.tenant(), await api.tenant()];
  const { id: requestId } = await compliance().createRequest(id, "export", "user-7", undefined, { dataTypes: ["subscription"] });
  const { downloadUrl = "", expiresAt, fileId = "" } = await compliance().process(requestId) ?? {};
  expect(Date.parse(expiresAt ?? "") - api.clock.now()).toBe(7 * DAY);
  const answer = await api.send("GET", downloadUrl);
  expect([answer.status, answer.headers.get("content-type")]).toEqual([200, "application/zip"]);
  expect(answer.headers.get("content-disposition")).toBe(`attachment; filename="export-${requestId}.zip"`);
  const { data } = await api.services.AuditService.getByResource("stored-file", fileId);
  expect(data).toMatchObject([{ action: "file.downloaded", tenantId: id }]);
  expectProblem(await api.send("GET", downloadUrl.replace(id, other)), 404, "not_found");
  expect((await compliance().list(other)).data).toEqual([]);
  api.clock.advance(7 * DAY);
  expectProblem(await api.send("GET", downloadUrl), 410, "link_expired");
  expect(await compliance().get(requestId)).not.toHaveProperty("downloadUrl");
  await api.services.JobService.run("cleanup");
  expect((await api.open.store.list({ prefix: "file" })).entries).toEqual([]);
  expect((await api.open.store.list({ prefix: "filechunk" })).entries).toEqual([]);
  for (const entity of [storedFile, fileChunk]) expect(await api.open.store.count({ entity, scope: id })).toBe(0);
});
