import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { codeOf } from "../../support/store.ts";
import { openTestContext, userOf } from "../../support/test-context.ts";

let context: Awaited<ReturnType<typeof openTestContext>>;
beforeAll(async () => void (context = await openTestContext()));
afterAll(() => context.close());

let made = 0;
const on = { status: "enabled" } as const;
function flags() {
  return context.FeatureFlagService;
}
async function newFlag(fields: Partial<Parameters<ReturnType<typeof flags>["create"]>[0]> = {}) {
  const key = `flag-${++made}`;
  return await flags().create({ key, name: `Flag ${made}`, ...on, ...fields });
}

describe("a flag", () => {
  it("F01: is created, read, listed, changed and deleted, each with one audit entry and event", async () => {
    const created = await newFlag({ key: "early-check-in", description: "Before 15:00." });
    expect(created).toMatchObject({
      ...{ key: "early-check-in", scope: "global", status: "enabled", type: "boolean", stickiness: "tenantId", serverOnly: false },
      ...{ created: context.clock.iso(), updated: context.clock.iso(), createdBy: "admin-1" },
    });
    expect(created.id).toMatch(/^ff_\d+_[0-9a-z]{12}$/);
    expect(await flags().get(created.id)).toEqual(created);
    expect(await flags().get(`flag:${created.id}`)).toEqual(created);
    context.clock.advance(1_000);
    const updated = await flags().update(created.id, { rolloutPercentage: 12.5, description: "" });
    expect(updated).toMatchObject({ rolloutPercentage: 12.5, updated: context.clock.iso(), created: created.created });
    expect((await flags().update(created.id, { rolloutPercentage: null }))?.rolloutPercentage).toBeUndefined();
    expect((await flags().list({ key: "early-check-in" })).data.map(({ id }) => id)).toEqual([created.id]);
    expect(await flags().delete(created.id)).toBe(true);
    expect(await flags().delete(created.id)).toBe(false);
    expect(await flags().get(created.id)).toBeNull();
    const audit = (await context.auditOf(null)).filter(({ resourceId }) => resourceId === created.id);
    expect(audit.map(({ action }) => action)).toEqual(["flag.created", "flag.updated", "flag.updated", "flag.deleted"]);
    const events = (await context.dump("outbox")).map(({ value }) => value as { subject: string; type: string });
    expect(events.filter(({ subject }) => subject === created.id)).toHaveLength(4);
  });

  it("F01: a change that changes nothing writes nothing", async () => {
    const { id, version } = await newFlag();
    const before = await context.store.get("flagset:current");
    expect((await flags().update(id, { status: "enabled" }))?.version).toBe(version);
    expect(await context.store.get("flagset:current")).toEqual(before);
  });

  it("F01: its key is unique and never changes, and a deleted flag's key is taken only on purpose", async () => {
    const { id, key } = await newFlag();
    expect(await codeOf(flags().create({ key, name: "Again", ...on }))).toBe("flag_key_taken");
    expect(await codeOf(flags().create({ key, name: "Again", ...on, reuseKey: true }))).toBe("flag_key_taken");
    expect(await codeOf(flags().update(id, { key: "other" } as object))).toBe("validation_failed");
    await flags().delete(id);
    expect(await codeOf(flags().create({ key, name: "Again", ...on }))).toBe("flag_key_reserved");
    const again = await flags().create({ key, name: "Again", ...on, reuseKey: true });
    expect(again.id).not.toBe(id);
    expect(await codeOf(flags().create({ key, name: "Third", ...on, reuseKey: true }))).toBe("flag_key_taken");
  });

  it("F01: one of 16 racers for a key gets it, in 10 rounds", async () => {
    const racers = (await context.racers(16)).map((store) => context.over(store).FeatureFlagService);
    for (let round = 0; round < 10; round++) {
      const key = `race-${round}`;
      const codes = await Promise.all(racers.map((service) => codeOf(service.create({ key, name: "Race", ...on }))));
      expect(codes.filter((code) => code.startsWith("no error")), codes.join()).toHaveLength(1);
      expect(codes.filter((code) => code === "flag_key_taken"), codes.join()).toHaveLength(15);
      expect((await flags().list({ key })).pagination.total).toBe(1);
    }
  });

  it("F06: names existing plans, by id or key, and another change is not refused for a plan that was deleted since", async () => {
    await expect(newFlag({ scope: "plan", enabledForPlans: ["Pro", "Gold"] })).rejects.toMatchObject({
      code: "validation_failed",
      fields: [{ path: "/enabledForPlans/1", code: "unknown_plan" }],
    });
    await context.PlanService.create({ name: "Silver", price: 1, currency: "USD", interval: "monthly", limits: {} });
    const { id, key, enabledForPlans } = await newFlag({ scope: "plan", enabledForPlans: ["plan:Pro", "Silver"] });
    expect(enabledForPlans).toEqual(["Pro", "Silver"]);
    await context.PlanService.delete("Silver");
    expect((await flags().update(id, { name: "Renamed" }))?.name).toBe("Renamed");
    const tenant = await context.tenant();
    expect(await flags().isEnabled(key, tenant.id)).toBe(true);
    const other = await context.tenant({ plan: "Basic" });
    expect(await flags().evaluate(key, other.id)).toMatchObject({ enabled: false, reason: "PLAN_NOT_INCLUDED" });
  });
});

describe("isEnabled", () => {
  it("F05: takes key, tenant and an optional plan, which replaces the tenant's own", async () => {
    const { id } = await context.tenant({ plan: "Basic" });
    const { key } = await newFlag({ scope: "plan", enabledForPlans: ["Pro"] });
    expect(await flags().isEnabled(key, id)).toBe(false);
    expect(await flags().isEnabled(key, id, "Pro")).toBe(true);
    expect(await flags().isEnabled(key, `tenant:${id}`, "plan:Pro")).toBe(true);
    expect(await flags().isEnabled(key, id, "Gold")).toBe(false);
    expect(await flags().isEnabled("no-such-flag", id)).toBe(false);
    expect(await flags().isEnabled(key, "tn_none", "Pro")).toBe(false);
    for (const odd of ["__proto__", "constructor", "", "a b", "x".repeat(300)]) expect(await flags().isEnabled(odd, id)).toBe(false);
  });
});

describe("an override", () => {
  it("F04: is set, replaced, listed by flag and cleared, in the tenant's audit log", async () => {
    const [one, other] = [await context.tenant(), await context.tenant()];
    const { id, key } = await newFlag({ rolloutPercentage: 0 });
    await flags().setOverride(id, one.id, { enabled: true, reason: "Asked for it." });
    expect(await flags().evaluate(key, one.id)).toMatchObject({ enabled: true, reason: "OVERRIDE" });
    expect(await flags().evaluate(key, other.id)).toMatchObject({ enabled: false, reason: "SPLIT" });
    const replaced = await flags().setOverride(`flag:${id}`, `tenant:${one.id}`, { enabled: false });
    expect(replaced).toMatchObject({ flagId: id, tenantId: one.id, enabled: false });
    expect(replaced.reason).toBeUndefined();
    await flags().setOverride(id, other.id, { enabled: true });
    const listed = (await flags().overridesOf(id)).data.map(({ tenantId, enabled }) => [tenantId, enabled]);
    expect(Object.fromEntries(listed)).toEqual({ [one.id]: false, [other.id]: true });
    expect(await flags().clearOverride(id, one.id)).toBe(true);
    expect(await flags().clearOverride(id, one.id)).toBe(false);
    const audit = (await context.auditOf(one.id)).filter(({ resource }) => resource === "flag-override");
    expect(audit.map(({ action }) => action)).toEqual(["flag-override.created", "flag-override.updated", "flag-override.deleted"]);
  });

  it("F04: ends exactly at its instant, also while the clock moves with each reading", async () => {
    const { id: tenantId } = await context.tenant();
    const { id, key } = await newFlag({ rolloutPercentage: 0 });
    const expiresAt = context.clock.iso(10);
    await flags().setOverride(id, tenantId, { enabled: true, expiresAt });
    context.clock.advance(9);
    expect(await flags().isEnabled(key, tenantId)).toBe(true);
    context.clock.advance(1);
    expect(await flags().isEnabled(key, tenantId)).toBe(false);
    expect(await codeOf(flags().setOverride(id, tenantId, { enabled: true, expiresAt: context.clock.iso(-1) }))).toBe("validation_failed");
    let reading = 0;
    const start = context.clock.now();
    const moving = context.as({ clock: { now: () => start + reading++ } }).FeatureFlagService;
    const later = await moving.setOverride(id, tenantId, { enabled: true, expiresAt: context.clock.iso(60_000) });
    expect(later.updatedAt >= later.createdAt).toBe(true);
    expect(await moving.isEnabled(key, tenantId)).toBe(true);
  });

  it("F04: is refused without its flag, its tenant or its variant", async () => {
    const { id: tenantId } = await context.tenant();
    const { id } = await newFlag();
    expect(await codeOf(flags().setOverride("ff_none", tenantId, { enabled: true }))).toBe("not_found");
    expect(await codeOf(flags().setOverride(id, "tn_none", { enabled: true }))).toBe("not_found");
    await expect(flags().setOverride(id, tenantId, { enabled: true, variant: "blue" })).rejects.toMatchObject({
      fields: [{ path: "/variant" }],
    });
    expect(await codeOf(flags().overridesOf("ff_none"))).toBe("not_found");
  });

  it("F04: goes with its tenant and with its flag, and none is left behind by racing writers, in 10 rounds", async () => {
    const stores = await context.racers(4);
    const tenants = await Promise.all(stores.map(() => context.tenant()));
    for (let round = 0; round < 10; round++) {
      const { id } = await newFlag();
      await flags().setOverride(id, tenants[0]?.id ?? "", { enabled: true });
      const codes = await Promise.all([
        codeOf(flags().delete(id)),
        ...stores.map((store, i) =>
          codeOf(context.over(store).FeatureFlagService.setOverride(id, tenants[i]?.id ?? "", { enabled: false }))
        ),
      ]);
      const left = (await context.dump("flag")).filter(({ key }) => key.endsWith(`:${id}`));
      expect(await flags().get(id), codes.join()).toBeNull();
      expect(left, codes.join()).toEqual([]);
    }
    const { id } = await newFlag();
    const [gone] = tenants;
    await flags().setOverride(id, gone?.id ?? "", { enabled: true });
    const report = await context.TenantService.remove(gone?.id ?? "");
    expect(report?.removed["flag-override"]).toBe(1);
    expect((await flags().overridesOf(id)).data).toEqual([]);
    expect(await flags().evaluate(id, gone?.id ?? "")).toBeNull();
  });
});

describe("a tenant's own caller", () => {
  it("F24: evaluates flags, but sees no server-only flag, rule or record, and changes nothing", async () => {
    const { id } = await context.tenant();
    const other = await context.tenant();
    const shown = await newFlag({ rules: [{ id: "secret-rule", when: [] }], enabledForTenants: [other.id] });
    const hidden = await newFlag({ serverOnly: true });
    const bound = context.as(userOf(id)).FeatureFlagService;
    const all = await bound.evaluateAll(id);
    expect(all?.data.find(({ key }) => key === shown.key)).toMatchObject({ enabled: true, reason: "TARGETING_MATCH" });
    expect(all?.data.map(({ key }) => key)).not.toContain(hidden.key);
    const text = JSON.stringify([all, await bound.evaluate(shown.key, id)]);
    for (const secret of ["secret-rule", other.id, hidden.id]) expect(text).not.toContain(secret);
    expect(await bound.evaluate(hidden.key, id)).toMatchObject({ enabled: false, reason: "FLAG_NOT_FOUND", flagId: null });
    expect(await bound.isEnabled(hidden.key, id)).toBe(false);
    expect(await bound.evaluate(shown.key, other.id)).toBeNull();
    expect(await bound.evaluateAll(other.id)).toBeNull();
    const calls = [
      () => bound.list(),
      () => bound.get(shown.id),
      () => bound.create({ key: "mine", name: "Mine" }),
      () => bound.update(shown.id, { status: "disabled" }),
      () => bound.delete(shown.id),
      () => bound.setOverride(shown.id, id, { enabled: true }),
      () => bound.clearOverride(shown.id, id),
      () => bound.overridesOf(shown.id),
      () => bound.explain(shown.key, id),
    ];
    for (const call of calls) expect(await codeOf(call), String(call)).toBe("forbidden");
    const client = await flags().evaluateAll(id, {}, { clientOnly: true });
    expect(client?.data.map(({ key }) => key)).not.toContain(hidden.key);
    expect((await flags().evaluateAll(id))?.data.map(({ key }) => key)).toContain(hidden.key);
  });

  it("F24: cannot choose its plan, region or status by the context", async () => {
    const { id } = await context.tenant({ plan: "Basic" });
    const when = [{ attribute: "plan", operator: "in" as const, values: ["Enterprise"] }];
    const { key } = await newFlag({ rules: [{ id: "large", when }], rolloutPercentage: 0 });
    const bound = context.as(userOf(id)).FeatureFlagService;
    expect(await bound.evaluate(key, id, { plan: "Enterprise" })).toMatchObject({ enabled: false, reason: "SPLIT" });
    const none = [{ attribute: "region", operator: "in" as const, values: ["eu-west-1"] }];
    const ofRegion = await newFlag({ rules: [{ id: "europe", when: none }], rolloutPercentage: 0 });
    expect(await bound.evaluate(ofRegion.key, id, { region: "eu-west-1" })).toMatchObject({ enabled: false });
  });
});
