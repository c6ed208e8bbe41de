import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { cascadePlan } from "../../../shared/core/cascade.ts";
import { DEFAULT_METRICS } from "../../../shared/features/metrics/default-metrics.ts";
import { registry } from "../../../shared/features/registry.ts";
import { familyOf, keyOf, tenantIdOf } from "../../../shared/kv/define.ts";
import type { Entry } from "../../../shared/kv/store.ts";
import { exampleFor } from "../../support/examples.ts";
import { codeOf } from "../../support/store.ts";
import { ADMIN, openTestContext } from "../../support/test-context.ts";

let context: Awaited<ReturnType<typeof openTestContext>>;
beforeAll(async () => void (context = await openTestContext()));
afterAll(() => context.close());

const NEIGHBOURS = ["tn_1", "tn_10", "tn_1_", "tnX1"] as const;

const owned = registry.filter((entity) => entity.owner !== "platform" && !entity.appendOnly);
const ownedBy = async (tenantId: string): Promise<Entry[]> => (await context.dump()).filter((entry) => entry.tenantId === tenantId);

describe("deleting a tenant", () => {
  it("T10: removes one record of every declared tenant-owned kind, and no neighbour loses one", async () => {
    for (const id of NEIGHBOURS) {
      await context.tenant({ id, customDomain: `stay.${id.replaceAll("_", "-").toLowerCase()}0.example` });
      for (const entity of owned.filter(({ owner }) => owner !== "self")) {
        const record = exampleFor(entity, id);
        const key = entity.naturalKey ? String(record["id"]) : keyOf(entity, record as Record<string, never>);
        expect(tenantIdOf(entity, record), entity.name).toBe(id);
        await context.store.set(key, record, { tenantId: id, cascades: entity.onTenantDelete !== "retain" });
      }
    }
    for (const entity of registry.filter(({ owner }) => owner !== "platform")) {
      for (const id of NEIGHBOURS) {
        expect((await ownedBy(id)).some(({ key }) => key.startsWith(`${familyOf(entity)}:`)), `${entity.name} of ${id}`).toBe(true);
      }
    }
    const neighbours = NEIGHBOURS.filter((id) => id !== "tn_1");
    const before = await Promise.all(neighbours.map(ownedBy));
    expect(await context.TenantService.delete("tn_1")).toBe(true);
    const kept = cascadePlan(registry).filter(({ rule }) => rule === "retain").map(({ family }) => family);
    expect((await ownedBy("tn_1")).filter(({ key }) => !kept.includes(key.split(":")[0] ?? ""))).toEqual([]);
    expect((await context.auditOf("tn_1")).length).toBeGreaterThan(0);
    expect(await Promise.all(neighbours.map(ownedBy))).toEqual(before);
  });

  it("T10: with alerts, reservations, usage events, overrides and keys that services made, leaves its id in audit and events only", async () => {
    const { id } = await context.tenant();
    await context.UsageService.increment(id, "bookings", 950, 1_000);
    await context.ReservationService.reserve(id, "users", 1);
    await context.UsageEventService.track(id, { meter_id: "api_calls", event_value: 5, dimensions: { endpoint: "rooms" } });
    const flag = await context.FeatureFlagService.create({ key: "removal", name: "Removal", status: "enabled" });
    await context.FeatureFlagService.setOverride(flag.id, id, { enabled: true });
    const key = await context.ApiKeyService.generate("Removal", ["read:usage"], { tenantId: id });
    await context.ApiKeyService.rotate(key.id, { overlapSeconds: 600 });
    await context.JobService.run("usage");
    const families = () => ownedBy(id).then((entries) => new Set(entries.map(({ key: name }) => name.split(":")[0])));
    const made = ["alert", "reservation", "usageevent", "usagegroups", "usagechange", "usagelevel", "flag", "apikey", "apikeyhash"];
    expect([...await families()]).toEqual(expect.arrayContaining(made));
    expect(await context.TenantService.delete(id)).toBe(true);
    // Also no record of the platform, and no key, names it.
    const naming = (await context.dump()).filter((entry) => JSON.stringify(entry).includes(id)).map(({ key: name }) => name.split(":")[0]);
    expect([...new Set(naming)].sort()).toEqual(["audit", "outbox"]);
    expect(await context.ApiKeyService.verify(key.secret ?? "")).toMatchObject({ code: "NOT_FOUND" });
  });

  it("T10: frees its names, is gone for every read, and its id is never accepted again", async () => {
    const { id } = await context.tenant({ subdomain: "leaving", customDomain: "stay.leaving.example" });
    await context.TenantService.delete(`tenant:${id}`);
    expect(await context.TenantService.get(id)).toBeNull();
    expect(await context.SubscriptionService.get(id)).toBeNull();
    expect(await context.UsageService.get(id, "rooms")).toBeNull();
    expect(await context.TenantService.delete(id)).toBe(false);
    expect(await codeOf(context.tenant({ id }))).toBe("tenant_deleted");
    expect((await context.tenant({ subdomain: "leaving", customDomain: "stay.leaving.example" })).subdomain).toBe("leaving");
  });

  it("T10: reports the deleted records by kind, and a dry run reports the same and deletes nothing", async () => {
    const { id } = await context.tenant({ customDomain: "stay.report.example" });
    const before = await ownedBy(id);
    const dry = await context.TenantService.remove(id, { dryRun: true });
    expect(await ownedBy(id)).toEqual(before);
    const real = await context.TenantService.remove(id);
    expect(real?.removed).toEqual({
      "tenant": 1,
      "subdomain-claim": 1,
      "domain-claim": 1,
      "movement": 1,
      "subscription": 1,
      "entitlements": 1,
      "usage-record": DEFAULT_METRICS.length,
    });
    expect(dry).toEqual({ ...real, dryRun: true });
    expect(real?.kept).toContain("audit-entry");
    expect(await context.TenantService.remove(id)).toBeNull();
  });

  it("A05: the deletion is in the tenant's chain and in the platform's, and its event is stored", async () => {
    const { id, name } = await context.tenant();
    await context.TenantService.delete(id);
    const last = (await context.auditOf(id)).at(-1);
    expect(last).toMatchObject({
      action: "tenant.deleted",
      resourceId: id,
      tenantId: id,
      seq: 2,
      changes: { before: { id, name }, after: {} },
      userId: ADMIN.id,
    });
    const platform = (await context.auditOf(null)).at(-1);
    expect(platform).toMatchObject({ action: "tenant.deleted", resourceId: id });
    expect(platform).not.toHaveProperty("tenantId");
    expect(await context.AuditService.verify(id)).toEqual({ ok: true, checked: 2 });
    expect((await context.AuditService.verify()).ok).toBe(true);
    const events = (await context.dump("outbox")).filter(({ value }) => (value as { subject: string }).subject === id);
    expect(events.map(({ value }) => (value as { type: string }).type).sort()).toEqual(["tenant.created", "tenant.deleted"]);
  });

  it("C09: a legal hold refuses the deletion and its dry run until it is lifted", async () => {
    const { id } = await context.tenant({ metadata: { legalHold: true } });
    expect(await codeOf(context.TenantService.delete(id))).toBe("legal_hold");
    expect(await codeOf(context.TenantService.remove(id, { dryRun: true }))).toBe("legal_hold");
    expect(await ownedBy(id)).not.toEqual([]);
    await context.TenantService.update(id, { metadata: { legalHold: false } });
    expect(await context.TenantService.delete(id)).toBe(true);
  });

  it("C09: a hold set at the same moment as the deletion either comes too late or stops it", async () => {
    for (let round = 0; round < 20; round++) {
      const { id } = await context.tenant();
      const [hold, removal] = await Promise.all([
        codeOf(context.TenantService.update(id, { metadata: { legalHold: true } })),
        codeOf(context.TenantService.delete(id)),
      ]);
      const survived = await context.TenantService.get(id) !== null;
      expect([hold.startsWith("no error"), removal], `round ${round}`).toEqual(
        survived ? [true, "legal_hold"] : [hold.startsWith("no error, but null"), "no error, but true"],
      );
    }
  });

  it("T10: 40 writers racing a deletion are refused afterwards and leave no orphan", async () => {
    const stores = await context.racers(40);
    for (let round = 0; round < 5; round++) {
      const { id } = await context.tenant();
      let removed = false;
      const writers = stores.map(async (store, i) => {
        const { UsageService } = context.over(store);
        let refusedAfter: string | null = null;
        for (let n = 0; n < 200 && refusedAfter === null; n++) {
          const late = removed;
          const code = await codeOf(
            UsageService.increment(
              id,
              DEFAULT_METRICS[i % DEFAULT_METRICS.length]?.id ?? "rooms",
              1,
              undefined,
              `2026-${String(3 + (n % 10)).padStart(2, "0")}`,
            ),
          );
          if (late || !code.startsWith("no error")) refusedAfter = code;
        }
        return refusedAfter;
      });
      await new Promise((resolve) => setTimeout(resolve, 15));
      expect(await context.TenantService.delete(id)).toBe(true);
      removed = true;
      for (const code of await Promise.all(writers)) expect(code).toBe("not_found");
      expect((await ownedBy(id)).filter(({ key }) => !/^(audit|outbox):/.test(key)), `round ${round}`).toEqual([]);
    }
  });

  it("T10: a stale If-Match stops the deletion", async () => {
    const created = await context.tenant();
    await context.TenantService.update(created.id, { name: "Renamed" });
    expect(await codeOf(context.TenantService.remove(created.id, { ifMatch: [created.version] }))).toBe("precondition_failed");
    expect(await context.TenantService.get(created.id)).not.toBeNull();
  });
});
