import { afterAll, beforeAll, beforeEach, describe, expect, test } from "vitest";
import type { JsonObject } from "../../../shared/kernel/json.ts";
import { cleanup, DAY_MS, left, log, program, seqs, taskOf, usage } from "../../support/retention.ts";
import { codeOf } from "../../support/store.ts";
import { openTestContext } from "../../support/test-context.ts";

let context: Awaited<ReturnType<typeof openTestContext>>;
beforeAll(async () => void (context = await openTestContext()));
afterAll(() => context.close());

/** Each test begins without policies and without old records. */
beforeEach(async () => {
  await context.store.commit([], [{ op: "deletePrefix", prefix: "policy" }]);
  context.clock.advance(731 * DAY_MS);
  await cleanup(await program(context));
});

const put = (id: string, retentionDays: number, of: object = {}, type = "usage-record") =>
  context.RetentionService.upsert(id, { type, retentionDays, enabled: true, ...of });
const dryRun = async (type: string) => taskOf((await context.RetentionService.run({ dryRun: true })).tasks, type);

describe("policies for a tenant or a plan", () => {
  test("A17: the tenant's own applies, else that of its plan, else that for all; and the dry run counts what the run deletes", async () => {
    const [own, onPlan, other, held] = [
      await context.tenant({ plan: "Basic" }),
      await context.tenant({ plan: "Basic" }),
      await context.tenant({ plan: "Pro" }),
      await context.tenant({ plan: "Basic", metadata: { legalHold: true } }),
    ];
    await put("all", 100);
    await put("basic", 50, { planId: "plan:Basic" });
    await put("own", 200, { tenantId: `tenant:${own.id}` });
    const keys: Record<string, string[]> = {};
    for (const { id } of [own, onPlan, other, held]) {
      keys[id] = await usage(context, id, 210 * DAY_MS, 2);
      keys[id].push(
        ...await usage(context, id, 150 * DAY_MS, 3),
        ...await usage(context, id, 60 * DAY_MS, 4),
        ...await usage(context, id, DAY_MS, 5),
      );
    }
    const expected = { scanned: 2 + 9 + 5 + 9, deleted: 2 + 9 + 5, error: null };
    expect(await dryRun("usage-record")).toMatchObject(expected);
    expect(taskOf((await context.JobService.run("cleanup", { dryRun: true })).report["tasks"] as never, "usage-record")).toMatchObject(
      expected,
    );
    expect(taskOf(await cleanup(await program(context)), "usage-record")).toMatchObject(expected);
    const counts = await Promise.all([own, onPlan, other, held].map(({ id }) => left(context, keys[id] ?? [])));
    expect(counts).toEqual([12, 5, 9, 14]);
    const results = await Promise.all(["all", "basic", "own"].map((id) => context.RetentionService.get(id)));
    expect(results.map((policy) => policy?.lastDeleted)).toEqual([5, 9, 2]);
    const notes = (await context.auditOf(null)).filter(({ action, data }) =>
      action === "policy.applied" && (data as JsonObject)["type"] === "usage-record"
    );
    expect(notes.slice(-3).map(({ resourceId, data }) => [resourceId, (data as JsonObject)["deleted"]])).toEqual([
      ["all", 5],
      ["basic", 9],
      ["own", 2],
    ]);
    expect(await context.store.count("retentionrun")).toBe(0);
  });

  test("A17: for the audit entries of a tenant, of a plan and of a deleted tenant", async () => {
    const [own, onPlan, other, deleted] = [
      // Its own policy, not that of its plan, is for it.
      await context.tenant({ plan: "Basic" }),
      await context.tenant({ plan: "Basic" }),
      await context.tenant({ plan: "Pro" }),
      await context.tenant({ plan: "Basic" }),
    ];
    const ids = [own, onPlan, other, deleted].map(({ id }) => id);
    for (const id of ids) await log(context, id, 9);
    context.clock.advance(100 * DAY_MS);
    for (const id of ids) await log(context, id, 2);
    await put("own", 90, { tenantId: own.id }, "audit-entry");
    await put("basic", 60, { planId: "Basic" }, "audit-entry");
    await context.TenantService.delete(deleted.id);
    // A deleted tenant has no plan, but its kept entries can have a policy.
    const dry = await dryRun("audit-entry");
    expect(dry).toMatchObject({ deleted: 20 });
    expect(taskOf(await cleanup(await program(context)), "audit-entry")).toEqual(dry);
    expect(await Promise.all(ids.map(async (id) => (await seqs(context, id))[0]))).toEqual([11, 11, 1, 1]);
    await put("deleted", 30, { tenantId: deleted.id }, "audit-entry");
    await cleanup(await program(context));
    expect((await seqs(context, deleted.id))[0]).toBe(11);
    for (const id of ids) expect(await context.AuditService.verify(id)).toMatchObject({ ok: true });
  });

  test("A17: a tenant that moves to a plan with longer retention in the middle of a run keeps its records", async () => {
    const { id } = await context.tenant({ plan: "Basic" });
    await put("basic", 30, { planId: "Basic" });
    const keys = await usage(context, id, 60 * DAY_MS, 3);
    const moving = new Proxy(context.store, {
      get(target, name) {
        const member = Reflect.get(target, name) as unknown;
        if (name !== "commit") return typeof member === "function" ? (member as () => unknown).bind(target) : member;
        return async (...args: Parameters<typeof target.commit>) => {
          if (args[1].some((each) => each.op === "delete" && each.key === keys[0])) await context.TenantService.update(id, { plan: "Pro" });
          return await target.commit(...args);
        };
      },
    });
    await cleanup(await program(context, { store: moving }));
    expect(await left(context, keys)).toBe(3);
  });

  test("A17: a policy that is disabled in the middle of a run deletes nothing more", async () => {
    const tenants = await Promise.all([context.tenant({ plan: "Basic" }), context.tenant({ plan: "Basic" })]);
    await put("basic", 30, { planId: "Basic" });
    const keys = (await Promise.all(tenants.map(({ id }) => usage(context, id, 60 * DAY_MS, 120)))).flat();
    const jobs = await program(context);
    for (let calls = 0; calls < 100 && await left(context, keys) === 240; calls++) {
      await jobs.JobService.run("cleanup", { budget: { items: 100, ms: 60_000 } });
    }
    const before = await left(context, keys);
    await context.RetentionService.upsert("basic", { type: "usage-record", retentionDays: 30, enabled: false, planId: "Basic" });
    await cleanup(jobs);
    expect(before).toBeGreaterThan(0);
    expect(await left(context, keys)).toBe(before);
  });

  test("A17: of 25 tenants of a plan are all cleaned, some pages of tenants long, also after a tenant left the plan", async () => {
    const tenants = [];
    for (let i = 0; i < 25; i++) tenants.push(await context.tenant({ plan: "Basic" }));
    await put("basic", 30, { planId: "Basic" });
    const keys = (await Promise.all(tenants.map(({ id }) => usage(context, id, 60 * DAY_MS, 12)))).flat();
    const jobs = await program(context);
    await jobs.JobService.run("cleanup", { budget: { items: 1_000, ms: 60_000 } });
    await context.TenantService.update(tenants[3]?.id ?? "", { plan: "Pro" });
    const tasks = await cleanup(jobs);
    expect(tasks.filter(({ error }) => error !== null)).toEqual([]);
    expect(await left(context, keys)).toBeLessThanOrEqual(12);
  });

  test("C14: that anonymises leaves the records without personal data, once, and those of a tenant on hold as they are", async () => {
    const [{ id }, held] = [await context.tenant(), await context.tenant({ metadata: { legalHold: true } })];
    const ask = (tenantId: string) =>
      context.ComplianceService.createRequest(tenantId, "rectification", "eva-1", "eva@aurora.example", { details: "My name is Eva." });
    const [old, kept] = [await ask(id), await ask(held.id)];
    context.clock.advance(61 * DAY_MS);
    const young = await ask(id);
    const of = { action: "anonymise", legalBasis: "GDPR, Article 5(1)(e)." };
    await put("requests", 60, of, "compliance-request");
    expect(await dryRun("compliance-request")).toMatchObject({ scanned: 2, deleted: 1 });
    const jobs = await program(context);
    expect(taskOf(await cleanup(jobs), "compliance-request")).toMatchObject({ scanned: 2, deleted: 1, error: null });
    const stored = await context.ComplianceService.get(old.id);
    expect(stored).toMatchObject({ requestedBy: "anonymised", status: "pending", created: old.created, updatedAt: old.updatedAt });
    expect(JSON.stringify(await context.store.get(`compliance:${id}:${old.id}`))).not.toMatch(/eva/i);
    for (const request of [kept, young]) {
      expect(await context.ComplianceService.get(request.id)).toMatchObject({ requestedBy: "eva-1", details: "My name is Eva." });
    }
    expect(await dryRun("compliance-request")).toMatchObject({ scanned: 1, deleted: 0 });
    expect(taskOf(await cleanup(jobs), "compliance-request")).toMatchObject({ deleted: 0 });
    const notes = (await context.auditOf(null)).filter(({ action, resourceId }) =>
      action === "policy.applied" && resourceId === "requests"
    );
    expect(notes.map(({ data }) => data)).toMatchObject([{ type: "compliance-request", action: "anonymise", deleted: 1 }]);
    for (const type of ["audit-entry", "usage-record", "notification-preferences"]) {
      expect([type, await codeOf(put("bad", 60, of, type))]).toEqual([type, "validation_failed"]);
    }
  });

  test("C14: is refused for a tenant or plan that does not exist, for both at once, and for records of no tenant", async () => {
    const { id } = await context.tenant();
    const refused: object[] = [
      { tenantId: "tn_none" },
      { planId: "None" },
      { tenantId: id, planId: "Pro" },
      { action: "archive" },
      { action: "forget" },
    ];
    for (const members of refused) expect([members, await codeOf(put("bad", 60, members))]).toEqual([members, "validation_failed"]);
    expect(await codeOf(put("bad", 60, { tenantId: id }, "dead-letter"))).toBe("validation_failed");
    expect(await codeOf(put("bad", 29, {}, "audit-entry"))).toBe("validation_failed");
    expect(await codeOf(put("bad", 60, { action: "archive" }, "audit-entry"))).toBe("validation_failed");
    expect(await context.RetentionService.get("bad")).toBeNull();
    await put("good", 30, {}, "audit-entry");
  });
});
