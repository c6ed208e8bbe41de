import { createHash } from "node:crypto";
import { describe, expect, test } from "vitest";
import { auditEntry } from "../../../shared/core/audit-entry.ts";
import { MAX_OPEN } from "../../../shared/features/audit-exports/rules.ts";
import { ExportSteps } from "../../../shared/features/audit-exports/steps.ts";
import { verifyExport } from "../../../shared/features/audit/exported.ts";
import { createBackend } from "../../../shared/container.ts";
import { systemContext } from "../../../shared/kernel/context.ts";
import { InnkeepError } from "../../../shared/kernel/errors.ts";
import type { JsonObject } from "../../../shared/kernel/json.ts";
import { silentLogger } from "../../../shared/kernel/logger.ts";
import type { Store } from "../../../shared/kv/store.ts";
import { expectProblem, useApi } from "../../http/support/api.ts";
import { KEYS } from "../../support/test-context.ts";

const api = useApi();
const PATH = "/v1/audit/exports";
const DAY = 86_400_000;
const exports = () => api.services.AuditExportService;
const runJob = () => api.services.JobService.run("audit-exports");
/** Of the length that an entry can have. */
const LONG = Object.fromEntries(Array.from({ length: 7 }, (_, i) => [`member${i}`, "x".repeat(8_000)]));
const linesOf = (text: string) => text.trimEnd().split("\n").map((line) => JSON.parse(line) as JsonObject);

/** A tenant with so many entries, of which one is on a room that a spreadsheet would take for a formula. */
async function tenantWith(entries: number): Promise<string> {
  const { id } = await api.tenant();
  for (let i = 1; i < entries; i++) await api.services.AuditService.log("room.opened", "room", "=1+1", { tenantId: id });
  return id;
}

/** The lines of a file that are not of the export itself, which the stream has and the file has not. */
async function streamed(tenantId: string, accept: string, to: number): Promise<string> {
  const { text } = await api.send("GET", `/v1/audit/export?tenantId=${tenantId}`, { token: api.admin("support"), headers: { accept } });
  const ending = accept === "text/csv" ? "\r\n" : "\n";
  return text.split(ending).slice(0, to).join(ending) + ending;
}

describe("an export of the audit log by the job", () => {
  test("A13: answers 202 with the place of its progress, and its file has the bytes of the stream and verifies", async () => {
    const id = await tenantWith(4);
    const token = await api.user(id, "owner");
    for (const [format, accept, lines] of [["ndjson", "application/x-ndjson", 4], ["csv", "text/csv", 6]] as const) {
      const answer = await api.send("POST", PATH, { token, json: { format } });
      expect([answer.status, answer.headers.get("location")]).toEqual([202, `${PATH}/${answer.body.id}`]);
      expect(answer.body).toMatchObject({ status: "queued", progress: 0, entries: 0, tenantId: id, requestedBy: `user-of-${id}` });
      expect(answer.body).not.toHaveProperty("downloadUrl");
      expect(await runJob()).toMatchObject({ complete: true, remaining: 0, errors: [] });
      const { body } = await api.send("GET", answer.headers.get("location") ?? "", { token });
      expect(body).toMatchObject({ status: "completed", progress: 100, entries: format === "csv" ? 8 : 5 });
      expect(body).not.toHaveProperty("run");
      const file = await api.send("GET", body.downloadUrl);
      expect([file.status, file.headers.get("content-type")]).toEqual([200, accept]);
      expect(file.headers.get("content-disposition")).toBe(`attachment; filename="audit.${format}"`);
      expect(file.text.startsWith(await streamed(id, accept, lines))).toBe(true);
      expect(createHash("sha256").update(file.text).digest("hex")).toBe(body.sha256);
      if (format === "csv") {
        expect(file.text).toContain(",'=1+1");
        continue;
      }
      const entries = (async function* () {
        for (const [i, entry] of linesOf(file.text).entries()) yield await Promise.resolve({ line: i + 1, entry });
      })();
      expect(await verifyExport(entries)).toMatchObject({ chains: [{ scope: id, from: 1, to: 5 }] });
    }
  });

  test("A13: is audited when it is requested and each time its file is downloaded, in the chain of its tenant", async () => {
    const id = await tenantWith(2);
    const made = await exports().create({ tenantId: id, action: "tenant.*", actorEmail: "eve@person.example" });
    await runJob();
    const { downloadUrl = "" } = await exports().get(made.id) ?? {};
    for (let i = 0; i < 2; i++) expect((await api.send("GET", downloadUrl)).status).toBe(200);
    const { data } = await api.services.AuditService.list(id, { limit: 4 });
    expect(data.map(({ action, resourceId, data: about }) => [action, resourceId, about]).reverse()).toEqual([
      ["audit.exported", id, { format: "ndjson", filters: ["userEmail", "action"], exportId: made.id }],
      ["audit-export.completed", made.id, undefined],
      ...[0, 1].map(() => ["file.downloaded", made.fileId ?? expect.any(String), expect.objectContaining({ name: "audit.ndjson" })]),
    ]);
    const stored = await api.open.store.query({ entity: auditEntry, scope: id, limit: 500 });
    expect(JSON.stringify(stored.entries)).not.toContain("eve@person.example");
    expect(await api.services.AuditService.verify(id)).toMatchObject({ ok: true });
  });

  test("A13: takes the filters of the list, and without a tenant has the entries of all chains", async () => {
    const [id, other] = [await tenantWith(3), await tenantWith(2)];
    const of = async (filters: object) => {
      const { id: exportId } = await exports().create(filters);
      await runJob();
      const { downloadUrl = "", entries } = await exports().get(exportId) ?? {};
      const { text } = await api.send("GET", downloadUrl);
      return { entries, lines: text === "" ? [] : linesOf(text) };
    };
    const created = await of({ tenantId: id, action: "tenant.created" });
    expect(created.lines.map(({ action, tenantId }) => [action, tenantId])).toEqual([["tenant.created", id]]);
    expect(await of({ tenantId: id, actorId: "nobody" })).toEqual({ entries: 0, lines: [] });
    api.clock.advance(1_000);
    const all = await of({ from: new Date(api.clock.now() - DAY).toISOString(), resource: "tenant" });
    expect(new Set(all.lines.map(({ tenantId }) => tenantId))).toEqual(expect.objectContaining(new Set([id, other])));
    const wrong = await api.send("POST", PATH, {
      token: api.admin("admin"),
      json: { from: "2026-02-01T00:00:00.000Z", to: "2026-01-01T00:00:00.000Z" },
    });
    expectProblem(wrong, 422, "validation_failed");
  });

  test("A13: of a tenant's users has that tenant's entries only, and is seen by no other tenant", async () => {
    const [id, other] = [await tenantWith(2), await tenantWith(2)];
    const token = await api.user(id, "admin");
    expectProblem(await api.send("POST", PATH, { token, json: { tenantId: other } }), 404, "not_found");
    expectProblem(await api.send("POST", PATH, { token: await api.user(id, "viewer"), json: {} }), 403, "insufficient_scope");
    const { body } = await api.send("POST", PATH, { token, json: {} });
    await runJob();
    const { body: done } = await api.send("GET", `${PATH}/${body.id}`, { token });
    expect(new Set(linesOf((await api.send("GET", done.downloadUrl)).text).map(({ tenantId }) => tenantId))).toEqual(new Set([id]));
    expectProblem(await api.send("GET", done.downloadUrl.replace(id, other)), 404, "not_found");
    const foreign = await api.user(other, "owner");
    expectProblem(await api.send("GET", `${PATH}/${body.id}`, { token: foreign }), 404, "not_found");
    expect((await api.send("GET", PATH, { token: foreign })).body.data).toEqual([]);
    expect((await exports().list(id)).data.map((found) => found.id)).toEqual([body.id]);
  });

  test(`A13: waits with at most ${MAX_OPEN} of its tenant, is cancelled while it waits, and the job then leaves it`, async () => {
    const id = await tenantWith(2);
    const token = await api.user(id, "owner");
    const post = (headers = {}) => api.send("POST", PATH, { token, json: {}, headers });
    const made = [];
    for (let i = 0; i < MAX_OPEN; i++) made.push(await post({ "idempotency-key": `export-${i}` }));
    expect((await post({ "idempotency-key": "export-0" })).body.id).toBe(made[0]?.body.id);
    expectProblem(await post(), 409, "too_many_exports");
    const cancelled = await api.send("POST", `${PATH}/${made[0]?.body.id}/cancel`, { token });
    expect(cancelled.body).toMatchObject({ status: "cancelled" });
    expect((await post()).status).toBe(202);
    await runJob();
    expect((await exports().list(id)).data.map(({ status }) => status).sort()).toEqual([
      "cancelled",
      "completed",
      "completed",
      "completed",
    ]);
    expectProblem(await api.send("POST", `${PATH}/${made[1]?.body.id}/cancel`, { token }), 409, "invalid_transition");
    expect(await exports().get(String(made[0]?.body.id))).not.toHaveProperty("downloadUrl");
  });

  test(`A13: has at most ${MAX_OPEN} of its tenant, and of the platform, when 12 are requested at the same time`, async () => {
    const id = await tenantWith(1);
    for (const token of [await api.user(id, "owner"), api.admin("admin")]) {
      const made = await Promise.all(Array.from({ length: 12 }, () => api.send("POST", PATH, { token, json: {} })));
      expect(made.filter(({ status }) => status === 202)).toHaveLength(MAX_OPEN);
      for (const refused of made.filter(({ status }) => status !== 202)) expectProblem(refused, 409, "too_many_exports");
    }
    await runJob();
  });

  test("A13: has a link that ends after 7 days, and its file is then removed", async () => {
    const id = await tenantWith(2);
    const { id: exportId } = await exports().create({ tenantId: id });
    await runJob();
    const { downloadUrl = "", expiresAt } = await exports().get(exportId) ?? {};
    expect(Date.parse(expiresAt ?? "") - api.clock.now()).toBe(7 * DAY);
    api.clock.advance(7 * DAY);
    expectProblem(await api.send("GET", downloadUrl), 410, "link_expired");
    expect(await exports().get(exportId)).not.toHaveProperty("downloadUrl");
    await api.services.JobService.run("cleanup");
    for (const prefix of ["file", "filechunk"]) expect((await api.open.store.list({ prefix })).entries).toEqual([]);
  });

  test("A13: goes on after a crash at any of its commits, has no entry twice, and none that was written meanwhile", async () => {
    const id = await tenantWith(2);
    const entries = Array.from({ length: 60 }, (_, i) => i);
    await Promise.all(
      entries.map((i) => api.services.AuditService.log("room.opened", "room", `r${i}`, { tenantId: id, data: LONG })),
    );
    const { id: exportId } = await exports().create({ tenantId: id, format: "csv" });
    let crashes = 0;
    for (let status = ""; status !== "completed"; crashes++) {
      await stepsThatCrash().run(exportId, 100).catch((error: InnkeepError) => expect(error.code).toBe("commit_unknown"));
      await api.services.AuditService.log("room.closed", "room", "later", { tenantId: id });
      const found = await exports().get(exportId);
      expect(found?.progress).toBeGreaterThanOrEqual(0);
      status = found?.status ?? "";
    }
    // 3 MB need two commits besides the first.
    expect(crashes).toBeGreaterThanOrEqual(3);
    const { downloadUrl = "", entries: written } = await exports().get(exportId) ?? {};
    const { text } = await api.send("GET", downloadUrl);
    expect(written).toBe(63);
    expect(text.trimEnd().split("\r\n").slice(1).map((line) => Number(line.split(",")[2]))).toEqual(
      Array.from({ length: 63 }, (_, i) => i + 1),
    );
  });
});

/** The steps of a process that ends with its second commit. */
function stepsThatCrash(): ExportSteps {
  let commits = 0;
  const commit: Store["commit"] = async (checks, mutations) => {
    if (++commits > 1) throw new InnkeepError("commit_unknown", "The process has ended.");
    return await api.open.store.commit(checks, mutations);
  };
  const get = (store: Store, name: keyof Store): unknown => {
    if (name === "commit") return commit;
    const member = store[name];
    return typeof member === "function" ? member.bind(store) : member;
  };
  const store = new Proxy(api.open.store, { get } as ProxyHandler<Store>);
  return new ExportSteps(createBackend({ store, clock: api.clock, logger: silentLogger, ...KEYS }).bind(systemContext(api.clock)));
}
