import { afterAll, beforeAll, describe, expect, it } from "vitest";
import type { GrantCreate } from "../../../shared/features/entitlements/service.ts";
import { isInnkeepError } from "../../../shared/kernel/errors.ts";
import type { JsonObject } from "../../../shared/kernel/json.ts";
import { codeOf } from "../../support/store.ts";
import { openTestContext, userOf } from "../../support/test-context.ts";

let context: Awaited<ReturnType<typeof openTestContext>>;
beforeAll(async () => void (context = await openTestContext()));
afterAll(() => context.close());

const HOUR = 3_600_000;
const check = async (id: string, key: string) => await context.EntitlementService.check(id, key);
const limitOf = async (id: string, metric: string, period?: string) => (await context.UsageService.get(id, metric, period))?.limit;
const grantTo = (id: string, data: GrantCreate) => context.GrantService.create(id, data);
async function eventsOf(id: string): Promise<JsonObject[]> {
  const all = (await context.dump("outbox")).map(({ value }) => value as JsonObject);
  return all.filter(({ tenantId }) => tenantId === id).map(({ type = null, data }) => ({ type, ...data as JsonObject }));
}
/** Repeats a call that lost its races, as the error advises. */
async function repeated<T>(call: () => Promise<T>): Promise<T> {
  for (;;) {
    try {
      return await call();
    } catch (error) {
      if (!isInnkeepError(error, "write_conflict")) throw error;
    }
  }
}

describe("a grant", () => {
  it("B04: adds to a limit of the plan, changes by patch, and ends when it is deleted, each with event and audit entry", async () => {
    const { id } = await context.tenant({ plan: "Basic" });
    context.clock.advance(1); // Ids of events are in the order of their milliseconds.
    const { id: grantId } = await grantTo(id, { kind: "limit", key: "rooms", value: 20, reason: "A second building." });
    expect(await check(id, "rooms")).toMatchObject({ kind: "limit", limit: 80, source: "grant", grantIds: [grantId], revision: 2 });
    context.clock.advance(1);
    await context.GrantService.update(id, grantId, { value: 30 });
    expect(await check(id, "rooms")).toMatchObject({ limit: 90, revision: 3 });
    context.clock.advance(1);
    await context.GrantService.update(id, grantId, { reason: "Two buildings." });
    expect(await check(id, "rooms")).toMatchObject({ limit: 90, revision: 3 });
    context.clock.advance(1);
    await context.GrantService.update(id, grantId, { value: null });
    expect(await check(id, "rooms")).toMatchObject({ limit: null, source: "grant", revision: 4 });
    context.clock.advance(1);
    expect(await context.GrantService.delete(id, grantId)).toBe(true);
    expect(await check(id, "rooms")).toMatchObject({ limit: 60, source: "plan", revision: 5 });
    expect(await context.GrantService.delete(id, grantId)).toBe(false);
    const actions = ["tenant.created", "grant.created", "grant.updated", "grant.updated", "grant.updated", "grant.deleted"];
    expect((await context.auditOf(id)).map(({ action }) => action)).toEqual(actions);
    const events = await eventsOf(id);
    expect(events.map(({ type }) => type)).toEqual(actions);
    expect(events.map(({ entitlements }) => (entitlements as JsonObject | undefined)?.["revision"])).toEqual([1, 2, 3, undefined, 4, 5]);
    expect(events[1]).toMatchObject({ grant: { id: grantId, value: 20 } });
  });

  it("B04: adds a feature, and an override takes one away", async () => {
    const { id } = await context.tenant({ plan: "Basic" });
    await grantTo(id, { kind: "feature", key: "sso", value: true, source: "trial" });
    const taken = await grantTo(id, { kind: "feature", key: "housekeeping", value: false, source: "override" });
    expect(await check(id, "sso")).toMatchObject({ kind: "feature", allowed: true, source: "trial" });
    expect(await check(id, "housekeeping")).toMatchObject({ allowed: false, source: "override", grantIds: [taken.id] });
    const keys = (await context.EntitlementService.get(id))?.features.map(({ key }) => key);
    expect(keys).toEqual(["booking-engine", "email-support", "front-desk", "sso"]);
  });

  it("B04: of a limit changes the current usage record in the same commit, and later months, and no other metric", async () => {
    const { id } = await context.tenant({ plan: "Basic" });
    await context.UsageService.record(id, "users", 3, 7);
    const { id: grantId } = await grantTo(id, { kind: "limit", key: "bookings", value: 500 });
    expect([await limitOf(id, "bookings"), await limitOf(id, "users"), await limitOf(id, "rooms")]).toEqual([1_500, 7, 60]);
    // The record of the next month does not exist yet.
    expect(await limitOf(id, "bookings", "2026-04")).toBe(1_500);
    expect(await context.UsageService.consume(id, "bookings", 1_500, "2026-04")).toMatchObject({ allowed: true, limit: 1_500 });
    await context.GrantService.update(id, grantId, { value: 600 });
    expect([await limitOf(id, "bookings"), await limitOf(id, "bookings", "2026-04")]).toEqual([1_600, 1_600]);
    await context.TenantService.update(id, { plan: "Pro" });
    expect([await limitOf(id, "bookings"), await limitOf(id, "users")]).toEqual([10_600, 50]);
    await context.GrantService.delete(id, grantId);
    expect([await limitOf(id, "bookings"), await limitOf(id, "bookings", "2026-04")]).toEqual([10_000, 10_000]);
  });

  it("B24: never changes the revenue of a tenant", async () => {
    const { id, mrr } = await context.tenant({ plan: "Basic" });
    const before = await context.TenantService.calculateTotalMRR();
    for (const key of ["rooms", "users", "customDomains"]) await grantTo(id, { kind: "limit", key, value: null, source: "override" });
    expect(await context.TenantService.get(id)).toMatchObject({ mrr, mrrSource: "plan" });
    expect(await context.TenantService.calculateTotalMRR()).toBe(before);
    const overview = await context.TenantService.overview(id);
    expect(overview?.entitlements?.limits).toContainEqual(expect.objectContaining({ key: "rooms", limit: null, source: "override" }));
  });

  it("B04: counts until its instant, is then left out by reads, and the job writes that once", async () => {
    const { id } = await context.tenant({ plan: "Basic" });
    await context.UsageService.increment(id, "bookings", 1);
    await grantTo(id, { kind: "limit", key: "bookings", value: 5, expiresAt: context.clock.iso(HOUR) });
    await grantTo(id, { kind: "feature", key: "sso", value: true, source: "trial", expiresAt: context.clock.iso(HOUR) });
    const { version } = await context.EntitlementService.get(id) ?? {};
    context.clock.advance(HOUR - 1);
    expect(await check(id, "bookings")).toMatchObject({ limit: 1_005, revision: 3, version });
    context.clock.advance(1);
    expect(await check(id, "bookings")).toMatchObject({ limit: 1_000, source: "plan", revision: 5, version: `${version}-2` });
    expect(await check(id, "sso")).toMatchObject({ allowed: false, source: "plan" });
    // A month that begins before the job has run has the limit of the present instant.
    expect([await limitOf(id, "bookings"), await limitOf(id, "bookings", "2026-05")]).toEqual([1_005, 1_000]);
    const read = await context.EntitlementService.get(id);
    const events = (await eventsOf(id)).length;
    expect(await context.JobService.run("entitlements", { dryRun: true })).toMatchObject({ processed: 1 });
    expect(await context.JobService.run("entitlements")).toMatchObject({ processed: 1, errors: [], remaining: 0 });
    expect(await context.JobService.run("entitlements")).toMatchObject({ processed: 0 });
    expect(await context.EntitlementService.get(id)).toMatchObject({ revision: 5, features: read?.features, limits: read?.limits });
    expect(await limitOf(id, "bookings")).toBe(1_000);
    const added = (await eventsOf(id)).filter(({ type }) => type === "entitlements.updated");
    expect((await eventsOf(id)).length).toBe(events + 1);
    const { revision, active, features, limits } = await context.EntitlementService.get(id) ?? {};
    expect(added).toEqual([{ type: "entitlements.updated", entitlements: { revision, active, features, limits } }]);
    expect((await context.auditOf(id)).map(({ action }) => action).filter((action) => action === "entitlements.updated")).toHaveLength(1);
  });

  it("B04: that has expired is written by whatever changes the entitlements first, and counts again when it is extended", async () => {
    const { id } = await context.tenant({ plan: "Basic" });
    await context.UsageService.increment(id, "rooms", 1);
    const { id: grantId } = await grantTo(id, { kind: "limit", key: "rooms", value: 5, expiresAt: context.clock.iso(HOUR) });
    context.clock.advance(HOUR);
    await context.TenantService.suspend(id, "unpaid");
    expect(await context.EntitlementService.get(id)).toMatchObject({ revision: 4, active: false });
    expect(await limitOf(id, "rooms")).toBe(60);
    expect(await context.JobService.run("entitlements")).toMatchObject({ processed: 0 });
    await context.GrantService.update(id, grantId, { expiresAt: context.clock.iso(HOUR) });
    expect([await check(id, "rooms"), await limitOf(id, "rooms")]).toMatchObject([{ limit: 65, revision: 5 }, 65]);
    await context.GrantService.update(id, grantId, { expiresAt: null });
    const { limits } = await context.EntitlementService.get(id) ?? {};
    expect(limits).toContainEqual({ key: "rooms", limit: 65, source: "grant", grantIds: [grantId] });
  });

  it("B04: of 7 that race with a change of plan and the first counts of a month, all take effect", async () => {
    const stores = await context.racers(8);
    const { id } = await context.tenant({ plan: "Basic" });
    await context.store.del(`usage:${id}:bookings:${context.clock.iso().slice(0, 7)}`);
    const more: GrantCreate = { kind: "limit", key: "bookings", value: 1 };
    await Promise.all([
      ...stores.slice(1).map((store) => repeated(() => context.over(store).GrantService.create(id, more))),
      repeated(() => context.TenantService.update(id, { plan: "Pro" })),
      ...stores.map((store) => repeated(() => context.over(store).UsageService.increment(id, "bookings", 1))),
    ]);
    expect(await check(id, "bookings")).toMatchObject({ limit: 10_007, revision: 9 });
    expect(await context.UsageService.get(id, "bookings")).toMatchObject({ limit: 10_007, current: 8 });
  });

  it("B04: names a metric that cannot be deleted while the grant exists", async () => {
    const { id } = await context.tenant();
    await context.MetricService.create({ id: "spas", name: "Spas", unit: "spas", kind: "gauge" });
    const { id: grantId } = await grantTo(id, { kind: "limit", key: "spas", value: 1, source: "override" });
    const refused = context.MetricService.delete("spas");
    await expect(refused).rejects.toMatchObject({
      code: "metric_in_use",
      message: expect.stringContaining("1 grant of tenants") as string,
    });
    await context.GrantService.delete(id, grantId);
    expect(await context.MetricService.delete("spas")).toBe(true);
  });

  it("B04: above 100 that have not expired is refused", async () => {
    const { id } = await context.tenant();
    for (let i = 0; i < 99; i++) await grantTo(id, { kind: "feature", key: `f${i}`, value: true });
    const { id: last } = await grantTo(id, { kind: "feature", key: "f99", value: true, expiresAt: context.clock.iso(HOUR) });
    const more: GrantCreate = { kind: "feature", key: "more", value: true };
    await expect(grantTo(id, more)).rejects.toMatchObject({ code: "validation_failed", fields: [{ path: "/key", code: "too_many" }] });
    expect(await context.GrantService.update(id, last, { reason: "still 100" })).toMatchObject({ reason: "still 100" });
    context.clock.advance(HOUR);
    await grantTo(id, more);
  });

  it("R11: cannot be created, changed or deleted by a tenant's own user", async () => {
    const { id } = await context.tenant();
    const { id: grantId } = await grantTo(id, { kind: "feature", key: "sso", value: true });
    const { GrantService } = context.as({ ...userOf(id), role: "owner" });
    expect(await codeOf(GrantService.create(id, { kind: "limit", key: "rooms", value: null }))).toBe("forbidden");
    expect(await codeOf(GrantService.update(id, grantId, { value: false }))).toBe("forbidden");
    expect(await codeOf(GrantService.delete(id, grantId))).toBe("forbidden");
    expect(await GrantService.get(id, grantId)).toMatchObject({ key: "sso" });
    expect(await codeOf(grantTo("tn_none", { kind: "feature", key: "sso", value: true }))).toBe("not_found");
  });
});
