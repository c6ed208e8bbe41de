import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { codeOf } from "../../support/store.ts";
import { withClient } from "../../support/client.ts";
import { scopes } from "../../../shared/features/index.ts";
import { ADMIN, openTestContext, userOf } from "../../support/test-context.ts";

let context: Awaited<ReturnType<typeof openTestContext>>;
beforeAll(async () => void (context = await openTestContext()));
afterAll(() => context.close());

describe("the audit log", () => {
  it("A01: log stores action, actor, target, before and after, address, user agent and request", async () => {
    const { id } = await context.tenant();
    const { AuditService } = context.as({ ipAddress: "203.0.113.7", userAgent: "curl/8", requestId: "req_abc" });
    await AuditService.log("room.opened", "report", "r-1", {
      tenantId: id,
      changes: { before: { a: 1 }, after: { a: 2 } },
      data: { rows: 7 },
    });
    const { data: [entry] } = await AuditService.list(id);
    expect(entry).toMatchObject({
      action: "room.opened",
      resource: "report",
      resourceId: "r-1",
      tenantId: id,
      actor: ADMIN,
      userId: ADMIN.id,
      userEmail: ADMIN.email,
      changes: { before: { a: 1 }, after: { a: 2 } },
      data: { rows: 7 },
      ipAddress: "203.0.113.7",
      userAgent: "curl/8",
      requestId: "req_abc",
      timestamp: context.clock.iso(),
      seq: 2,
    });
    expect(entry?.id).toMatch(new RegExp(`^audit:${id}:2026-03-01T12:00:00\\.000Z:[0-9a-z]{12}$`));
    expect(await codeOf(AuditService.log("not dotted", "report", "r-1"))).toBe("validation_failed");
    expect(await codeOf(AuditService.log("room.opened", "", "r-1"))).toBe("validation_failed");
  });

  it("A01: the platform's own entries are in the platform's chain", async () => {
    await context.AuditService.log("platform.ticked", "platform", "settings");
    const entry = (await context.auditOf(null)).at(-1);
    expect(entry).toMatchObject({ action: "platform.ticked" });
    expect(entry?.["id"]).toMatch(/^audit:2026-03-01T12:00:00\.000Z:[0-9a-z]{12}$/);
  });

  it("A02: lists a tenant's entries newest first by cursor, each once, filtered by time, actor, action and resource", async () => {
    const { id } = await context.tenant();
    const start = context.clock.iso();
    for (let i = 0; i < 30; i++) {
      context.clock.advance(1_000);
      await context.as({ actor: { type: "admin", id: `clerk-${i % 3}` } }).AuditService.log(
        i % 2 ? "room.opened" : "room.closed",
        "room",
        `room-${i % 5}`,
        { tenantId: id },
      );
    }
    const seqs: number[] = [];
    let cursor: string | undefined;
    do {
      const { data, pagination } = await context.AuditService.list(id, cursor === undefined ? { limit: 7 } : { limit: 7, cursor });
      seqs.push(...data.map(({ seq }) => seq));
      cursor = pagination.nextCursor;
      if (seqs.length === 14) await context.AuditService.log("room.opened", "room", "late", { tenantId: id }); // newer: not in the rest
    } while (cursor !== undefined);
    expect(seqs).toEqual(Array.from({ length: 31 }, (_, i) => 31 - i));
    const total = async (filters: object) => (await context.AuditService.list(id, { limit: 100 }, filters)).pagination.total;
    expect(await total({ userId: "clerk-1" })).toBe(10);
    expect(await total({ action: "room.closed" })).toBe(15);
    expect(await total({ action: "room.*" })).toBe(31);
    expect(await total({ action: "roo*" })).toBe(31);
    expect(await total({ action: "*" })).toBe(32);
    expect(await total({ action: "tenant.*" })).toBe(1);
    expect(await total({ resource: "room", resourceId: "room-2" })).toBe(6);
    expect(await total({ from: start, to: new Date(Date.parse(start) + 5_000).toISOString(), action: "room.*" })).toBe(4);
    expect(await codeOf(context.AuditService.list(id, {}, { action: "*.opened" }))).toBe("invalid_parameter");
    expect(await codeOf(context.AuditService.list(id, {}, { action: "%" }))).not.toBe("internal");
  });

  it("A02: a platform caller without a tenant sees every chain, a tenant's caller only its own", async () => {
    const [a, b] = [await context.tenant(), await context.tenant()];
    const all = await context.AuditService.list(undefined, { limit: 100 });
    expect(all.data.map(({ tenantId }) => tenantId)).toEqual(expect.arrayContaining([a.id, b.id, undefined]));
    const { AuditService } = context.as(userOf(a.id));
    expect((await AuditService.list()).data.map(({ tenantId }) => tenantId)).toEqual([a.id]);
    expect(await codeOf(AuditService.list(b.id))).toBe("not_found");
    expect((await AuditService.getByResource("tenant", b.id)).data).toEqual([]);
  });

  it("A02: leaves out what is logged of API keys and compliance requests for a caller who may not read those", async () => {
    const { id } = await context.tenant();
    const key = await context.ApiKeyService.generate("Till", ["read:plans"], { tenantId: id });
    await context.ComplianceService.createRequest(id, "export", "u", undefined);
    for (const [role, count] of [["viewer", 1], ["owner", 3]] as const) {
      const { AuditService } = context.as({ ...userOf(id), scopes: scopes.ofTenant(role) });
      expect((await AuditService.list()).pagination.total, role).toBe(count);
      expect((await AuditService.getByResource("api-key", key.id)).data, role).toHaveLength(role === "viewer" ? 0 : 1);
      const exported = [];
      for await (const { resource } of AuditService.export()) exported.push(resource);
      expect(exported, role).toHaveLength(count);
    }
  });

  it("A03: getByResource crosses periods and scopes", async () => {
    const { id } = await context.tenant();
    context.clock.advance(40 * 86_400_000);
    await context.TenantService.update(id, { name: "Forty days later" });
    await context.TenantService.delete(id);
    const { data } = await context.AuditService.getByResource("tenant", id);
    expect(data.map(({ action }) => action).sort()).toEqual(["tenant.created", "tenant.deleted", "tenant.deleted", "tenant.updated"]);
  });

  it("A03: getByResource reads by an index", async () => {
    const plan = await withClient(context.database.superUrl, async (client) => {
      await client.query("set enable_seqscan = off");
      const { rows: [field] } = await client.query<Record<"resource" | "id" | "at", string>>(
        "select kv.field_sql('resource', 'text') as resource, kv.field_sql('resourceId', 'text') as id, kv.field_sql('timestamp', 'time') as at",
      );
      const { rows } = await client.query<Record<string, string>>(
        `explain (costs off) select key from kv.entries e where e.key >= 'audit:' and e.key < 'audit;' and ${field?.resource} = 'tenant'
           and ${field?.id} = 'tn_1' and ${field?.at} is not null order by ${field?.at} desc, e.key desc limit 21`,
      );
      return rows.map((row) => Object.values(row)[0]).join("\n");
    });
    expect(plan).toContain("audit_entry_resource_resource_id_timestamp");
    expect(plan).not.toContain("Sort");
  });

  it("A04: changes are the minimal difference", async () => {
    const { id } = await context.tenant({ name: "Old", region: "eu-west-1", metadata: { a: 1, b: 2 } });
    context.clock.advance(1_000);
    await context.TenantService.update(id, { name: "New", region: null });
    const entry = (await context.auditOf(id)).at(-1) as { changes: { before: object; after: object } };
    const { updatedAt: _b, ...before } = entry.changes.before as Record<string, unknown>;
    const { updatedAt: _a, ...after } = entry.changes.after as Record<string, unknown>;
    expect(before).toEqual({ name: "Old", region: "eu-west-1" });
    expect(after).toEqual({ name: "New" });
  });

  it("A05: every changing call writes exactly one entry in its tenant's chain, and a refused one none", async () => {
    const { id } = await context.tenant();
    const calls: [string, () => Promise<unknown>][] = [
      ["tenant.updated", () => context.TenantService.update(id, { name: "x" })],
      ["tenant.updated", () => context.TenantService.update(id, { plan: "Basic" })],
      ["tenant.suspended", () => context.TenantService.suspend(id, "x")],
      ["tenant.unsuspended", () => context.TenantService.unsuspend(id)],
      ["subscription.updated", () => context.SubscriptionService.upsert(id, { planId: "Pro" })],
      ["subscription.updated", () => context.SubscriptionService.cancel(id)],
      ["subscription.reactivated", () => context.SubscriptionService.reactivate(id)],
      ["tenant.cancelled", () => context.TenantService.cancel(id)],
      ["tenant.reactivated", () => context.TenantService.reactivate(id)],
    ];
    for (const [i, [action, call]] of calls.entries()) {
      await call();
      const entries = await context.auditOf(id);
      expect(entries.length, action).toBe(i + 2);
      expect(entries.at(-1)).toMatchObject({ action, userId: ADMIN.id, requestId: "req_test", tenantId: id });
    }
    const before = await context.dump("audit");
    for (
      const refused of [
        () => context.TenantService.update(id, { subdomain: "www" }),
        () => context.TenantService.update(id, { status: "pending" }),
      ]
    ) await codeOf(refused());
    expect(await context.dump("audit")).toEqual(before);
  });

  it("A05: changes of the platform are in its chain, one entry each", async () => {
    const count = async () => (await context.auditOf(null)).length;
    const start = await count();
    const limits = { users: 1, properties: 1, rooms: 1, bookings: 1, api_calls: 1, storage: 1, customDomains: 1 };
    await context.PlanService.create({ name: "Audited", price: 1, currency: "USD", interval: "monthly", limits });
    await context.PlanService.update("Audited", { price: 2 });
    await context.PlanService.update("Audited", { price: 2 });
    await context.AdminUserService.create({ userId: "audited", email: "a@innkeep.example", name: "A", role: "support" });
    await context.AdminUserService.update("audited", { role: "read_only" });
    await context.AdminUserService.remove("audited");
    expect(await count() - start).toBe(5);
  });
});
