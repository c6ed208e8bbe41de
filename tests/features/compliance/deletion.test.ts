import { describe, expect, test } from "vitest";
import { deletionCertificate } from "../../../shared/features/compliance/entity.ts";
import { registry } from "../../../shared/features/registry.ts";
import { InnkeepError } from "../../../shared/kernel/errors.ts";
import type { JsonObject } from "../../../shared/kernel/json.ts";
import { expectProblem, useApi } from "../../http/support/api.ts";
import { DAY, fullTenant, processWith } from "./support.ts";

const api = useApi();
const compliance = () => api.services.ComplianceService;
const owned = registry.filter(({ owner }) => owner !== "platform");
const countOf = async (tenantId: string) => {
  const counts = await Promise.all(
    owned.map(async (entity) => [entity.name, await api.open.store.count({ entity, scope: tenantId })] as const),
  );
  return Object.fromEntries(counts.filter(([, count]) => count > 0));
};
const ask = async (tenantId: string, gracePeriodDays?: number) => (
  await compliance().createRequest(
    tenantId,
    "deletion",
    "user-1",
    "ada@innkeep.example",
    gracePeriodDays === undefined ? {} : { gracePeriodDays },
  )
);
const certificates = () => api.services.DeletionCertificateService;
const certificateOf = async (requestId: string) => (await certificates().list({ requestId })).data[0];
const codeOf = async (call: Promise<unknown>) => await call.then(() => "none", (error: InnkeepError) => error.code);

test("C06: every kind of record that outlives its tenant names the ground", () => {
  const kept = registry.filter(({ onTenantDelete }) => onTenantDelete === "retain" || typeof onTenantDelete === "function");
  expect(kept.filter(({ keptBecause }) => !keptBecause).map(({ name }) => name)).toEqual([]);
});

test("C06: the preview counts what would be deleted and kept, with the grounds, and writes nothing", async () => {
  const tenantId = await fullTenant(api);
  await api.services.RetentionService.put("books", { type: "invoice", retentionDays: 3_650, enabled: true, legalBasis: "Section 147 AO." });
  const before = await countOf(tenantId);
  const path = `/v1/tenants/${tenantId}/deletion-preview`;
  expect((await api.send("GET", path, { token: await api.user(tenantId, "owner") })).status).toBe(200);
  const { body } = await api.send("GET", path, { token: api.admin("admin") });
  expect(body).toMatchObject({ tenantId, legalHold: false });
  const records = body.records as readonly {
    readonly entity: string;
    readonly deleted: number;
    readonly kept: number;
    readonly ground?: string;
  }[];
  expect(Object.fromEntries(records.map(({ entity, deleted, kept }) => [entity, deleted + kept]))).toEqual(before);
  expect(records.find(({ entity }) => entity === "invoice")).toMatchObject({ deleted: 0, kept: 1, ground: "Section 147 AO." });
  expect(records.find(({ entity }) => entity === "webhook")).toMatchObject({ deleted: 1, kept: 0 });
  expect(records.filter(({ kept, ground }) => (kept > 0) !== (ground !== undefined))).toEqual([]);
  expect(await countOf(tenantId)).toEqual(before);
});

describe("a deletion", () => {
  test("C07: is done after its grace period of 7 days, and not if it is cancelled before", async () => {
    const [{ id }, { id: other }] = [await api.tenant(), await api.tenant()];
    const [request, withdrawn] = [await ask(id), await ask(other)];
    expect(Date.parse(request.runAt ?? "") - api.clock.now()).toBe(7 * DAY);
    api.clock.advance(7 * DAY - 1);
    await api.services.JobService.run("compliance");
    expect(await api.services.TenantService.get(id)).not.toBeNull();
    await compliance().cancel(withdrawn.id);
    api.clock.advance(1);
    expect(await api.services.JobService.run("compliance")).toMatchObject({ errors: [], remaining: 0 });
    expect([await api.services.TenantService.get(id), (await api.services.TenantService.get(other))?.id]).toEqual([null, other]);
    expect(await compliance().get(request.id)).toMatchObject({ status: "completed", progress: 100 });
    expect((await compliance().list(id)).data.map(({ id: kept }) => kept)).toEqual([request.id]);
  });

  test("C07: goes on after a crash at any of its commits, deletes once and certifies once", async () => {
    const tenantId = await fullTenant(api);
    const { id } = await ask(tenantId, 0);
    let crashes = 0;
    for (let isSigned = false; !isSigned; crashes++) {
      let commits = 0;
      const { ComplianceService } = await processWith(api, "commit", async (checks, mutations) => {
        if (++commits > 1) throw new InnkeepError("commit_unknown", "The process has ended.");
        return await api.open.store.commit(checks, mutations);
      });
      await ComplianceService.process(`compliance:${tenantId}:${id}`).catch((error: InnkeepError) =>
        expect(error.code).toBe("commit_unknown")
      );
      isSigned = (await certificateOf(id))?.status === "signed";
    }
    expect(crashes).toBe(3);
    const entries = (await api.services.AuditService.list(tenantId, { limit: 100 })).data.map(({ action }) => action);
    for (const action of ["tenant.deleted", "compliance-request.completed"]) {
      expect(entries.filter((each) => each === action)).toHaveLength(1);
    }
    expect(await api.services.AuditService.verify(tenantId)).toMatchObject({ ok: true });
    await compliance().process(`compliance:${tenantId}:${id}`);
    const { id: certificateId = "" } = await certificateOf(id) ?? {};
    expect(await certificates().verify(certificateId)).toEqual({ id: certificateId, valid: true, remaining: 0, found: [] });
  });

  test("C08: leaves a signed certificate of every key pattern with the counts before and after", async () => {
    const tenantId = await fullTenant(api);
    const exportId = (await compliance().createRequest(tenantId, "export", "user-1", undefined, { dataTypes: ["webhook"] })).id;
    await compliance().process(exportId);
    const { id } = await ask(tenantId, 0);
    const before = await countOf(tenantId);
    const { certificateId = "" } = await compliance().process(id) ?? {};
    const token = await api.signer.sign("user-admin");
    const { body } = await api.send("GET", `/v1/deletion-certificates/${certificateId}`, { token });
    expect(body).toMatchObject({ id: certificateId, requestId: id, deletedTenant: tenantId, status: "signed", requestedBy: "user-1" });
    const records = body.records as readonly JsonObject[];
    expect(records.map(({ pattern }) => pattern)).toEqual(owned.map(({ key }) => key));
    expect(records.filter(({ after }) => after !== 0)).toEqual([]);
    const cascading = records.filter(({ kept }) => kept === 0).map(({ entity, before: count }) => [entity, count]);
    expect(Object.fromEntries(cascading.filter(([, count]) => count !== 0))).toEqual(
      Object.fromEntries(Object.entries(before).filter(([name]) => records.some(({ entity, kept }) => entity === name && kept === 0))),
    );
    expect(records.find(({ entity }) => entity === "compliance-request")).toMatchObject({ before: 2, after: 0, kept: 1 });
    expect(records.find(({ entity }) => entity === "stored-file")).toMatchObject({ before: 3, after: 0, kept: 0 });
    const verified = await api.send("GET", `/v1/deletion-certificates/${certificateId}/verify`, { token });
    expect(verified.body).toEqual({ id: certificateId, valid: true, remaining: 0, found: [] });
    const { version: _, ...signed } = await certificates().get(certificateId) ?? {};
    await api.open.store.set(`certificate:${certificateId}`, { ...signed, requestedBy: "somebody else" } as JsonObject);
    expect(await certificates().verify(certificateId)).toMatchObject({ valid: false });
    expect(await api.open.store.count({ entity: deletionCertificate, scope: null })).toBeGreaterThan(0);
  });

  test("C08: of two tenants whose requests have the same id leaves a certificate each", async () => {
    const tenants = [await api.tenant(), await api.tenant()].map(({ id }) => id);
    for (const tenantId of tenants) {
      await compliance().createRequest(tenantId, "deletion", "user-1", undefined, { id: "erase-me", gracePeriodDays: 0 });
    }
    await api.services.JobService.run("compliance");
    const { data } = await certificates().list({ requestId: "erase-me" });
    expect(data.map(({ deletedTenant, status }) => [deletedTenant, status]).sort()).toEqual(tenants.sort().map((id) => [id, "signed"]));
  });

  test("C07: ends an export that is being written, and the job reports no error", async () => {
    const { id: tenantId } = await api.tenant();
    const exported = await compliance().createRequest(tenantId, "export", "user-1", undefined);
    let commits = 0;
    const { ComplianceService } = await processWith(api, "commit", async (checks, mutations) => {
      if (++commits > 1) throw new InnkeepError("commit_unknown", "The process has ended.");
      return await api.open.store.commit(checks, mutations);
    });
    expect(await codeOf(ComplianceService.process(exported.id))).toBe("commit_unknown");
    const { id } = await ask(tenantId, 0);
    await compliance().process(id);
    expect(await api.services.JobService.run("compliance")).toMatchObject({ errors: [], remaining: 0 });
    expect(await compliance().get(exported.id)).toBeNull();
    expect(await countOf(tenantId)).not.toHaveProperty("export-run");
  });

  test("C07: that loses against other writers again and again ends with an error, stays open, and is done later", async () => {
    const { id: tenantId } = await api.tenant();
    const { id } = await ask(tenantId, 0);
    let commits = 0;
    const { ComplianceService } = await processWith(api, "commit", () => {
      commits += 1;
      return Promise.reject(new InnkeepError("write_conflict", "Somebody was faster."));
    });
    expect(await codeOf(ComplianceService.process(id))).toBe("write_conflict");
    expect(commits).toBeLessThan(100);
    expect(await compliance().get(id)).toMatchObject({ status: "pending" });
    expect(await compliance().process(id)).toMatchObject({ status: "completed" });
  });

  test("C01: of a tenant is its owner's or the platform's to request", async () => {
    const { id } = await api.tenant();
    const json = { type: "deletion", gracePeriodDays: 0 };
    const send = async (token: string) => await api.send("POST", `/v1/tenants/${id}/compliance`, { token, json });
    expectProblem(await send(await api.user(id, "admin")), 403, "forbidden");
    expectProblem(await send(await api.key(["write:compliance"], id)), 403, "forbidden");
    expect((await send(await api.user(id, "owner"))).status).toBe(202);
    expect(await codeOf(compliance().createRequest(id, "deletion", "user-1", undefined, { format: "csv" }))).toBe("validation_failed");
  });

  test("C01: of the platform is the platform's alone to cancel, and its owner's is the owner's and the platform's", async () => {
    const { id } = await api.tenant();
    const platform = await api.key(["write:compliance"]);
    const [owner, admin, key] = [await api.user(id, "owner"), await api.user(id, "admin"), await api.key(["write:compliance"], id)];
    const requested = async (token: string) => {
      const asked = await api.send("POST", `/v1/tenants/${id}/compliance`, { token, json: { type: "deletion" } });
      expect(asked.status, asked.text).toBe(202);
      return asked.body.id as string;
    };
    const cancel = async (request: string, token: string) =>
      await api.send("POST", `/v1/tenants/${id}/compliance/${request}/cancel`, { token });
    const [byPlatform, byOwner, other] = [await requested(platform), await requested(owner), await requested(owner)];
    for (const token of [owner, admin, key]) expectProblem(await cancel(byPlatform, token), 403, "forbidden");
    for (const token of [admin, key]) expectProblem(await cancel(byOwner, token), 403, "forbidden");
    expect([(await cancel(byOwner, owner)).status, (await cancel(other, platform)).status]).toEqual([200, 200]);
    expect((await cancel(byPlatform, platform)).body).toMatchObject({ status: "cancelled", byPlatform: true });
  });

  test("C02: that has failed and is reopened has its whole grace period again", async () => {
    const { id: tenantId } = await api.tenant();
    const { id } = await ask(tenantId, 3);
    await compliance().updateStatus(id, "failed", { error: "Not now" });
    api.clock.advance(30 * DAY);
    const reopened = await compliance().updateStatus(id, "pending");
    expect(Date.parse(reopened?.runAt ?? "") - api.clock.now()).toBe(3 * DAY);
    api.clock.advance(DAY);
    await api.services.JobService.run("compliance");
    expect(await compliance().updateStatus(id, "pending")).toMatchObject({ status: "pending", runAt: reopened?.runAt });
    await compliance().cancel(id);
  });

  test("C09: waits while its tenant is under legal hold, says so, and is done after the release", async () => {
    const { id: tenantId } = await api.tenant();
    const { id } = await ask(tenantId, 0);
    await api.services.TenantService.update(tenantId, { metadata: { legalHold: true } });
    await api.services.JobService.run("compliance");
    const waiting = await compliance().get(id);
    expect(waiting).toMatchObject({ status: "pending", heldSince: new Date(api.clock.now()).toISOString() });
    await api.services.TenantService.update(tenantId, { metadata: { legalHold: false } });
    api.clock.advance(3_600_000);
    await api.services.JobService.run("compliance");
    expect(await compliance().get(id)).toMatchObject({ status: "completed" });
    expect(await compliance().get(id)).not.toHaveProperty("heldSince");
  });
});
