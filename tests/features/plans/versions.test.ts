import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { planVersion } from "../../../shared/features/plans/entity.ts";
import type { PlanCreate } from "../../../shared/features/plans/service.ts";
import { codeOf } from "../../support/store.ts";
import { openTestContext } from "../../support/test-context.ts";

let context: Awaited<ReturnType<typeof openTestContext>>;
beforeAll(async () => void (context = await openTestContext()));
afterAll(() => context.close());

const SILVER: PlanCreate = { name: "Silver", price: 5_000, currency: "USD", interval: "monthly", limits: { rooms: 20 }, features: ["api"] };
const versions = async (planId: string) =>
  (await context.dump(`planversion:${planId}`)).map(({ value }) => planVersion.schema.parse(value)).toSorted((a, b) => a.n - b.n);

describe("plan versions", () => {
  it("B02: a change of what subscribers pay or get makes a version, and other changes make none", async () => {
    const { PlanService } = context;
    expect(await PlanService.create({ ...SILVER, id: "Silver" })).toMatchObject({ planVersion: 1 });
    const steps = [
      [{ displayName: "Silver tier", active: true, metadata: { note: "x" } }, 1],
      [{ price: 5_000 }, 1],
      [{ price: 6_000 }, 2],
      [{ limits: { rooms: 30 } }, 3],
      [{ features: ["api", "sso"] }, 4],
      [{ trialDays: 7 }, 5],
      [{ trialDays: null }, 6],
      [{ interval: "weekly", intervalCount: 2 }, 7],
    ] as const;
    for (const [patch, planVersion] of steps) expect(await PlanService.update("Silver", patch as object)).toMatchObject({ planVersion });
    const kept = await versions("Silver");
    expect(kept).toHaveLength(7);
    const { name: _, ...terms } = SILVER;
    expect(kept[0]).toMatchObject({ id: "planversion:Silver:1", planId: "Silver", n: 1, ...terms, intervalCount: 1 });
    expect(kept[6]).toMatchObject({ n: 7, price: 6_000, limits: { rooms: 30 }, interval: "weekly", intervalCount: 2 });
    expect(kept[5]).not.toHaveProperty("trialDays");
  });

  it("B02: 16 racing changes make 16 versions in a row", async () => {
    const { PlanService } = context;
    await PlanService.create({ ...SILVER, id: "Race", name: "Race" });
    await Promise.all(Array.from({ length: 16 }, (_, i) => PlanService.update("Race", { price: 7_000 + i })));
    expect((await versions("Race")).map(({ n }) => n)).toEqual(
      Array.from({ length: 17 }, (_, i) => i + 1),
    );
    expect(await PlanService.get("Race")).toMatchObject({ planVersion: 17 });
  });

  it("B02: subscribers keep the version they were sold, and a new subscriber gets the newest", async () => {
    await context.PlanService.create({ ...SILVER, id: "Gold", name: "Gold" });
    const old = await context.tenant({ plan: "Gold" });
    await context.PlanService.update("Gold", { price: 8_000 });
    const recent = await context.tenant({ plan: "Gold" });
    const moved = await context.tenant({ plan: "Pro" });
    await context.SubscriptionService.upsert(moved.id, { planId: "Gold" });
    await context.SubscriptionService.upsert(old.id, { planId: "Gold", paymentMethod: "card" });
    const sold = async (id: string) => (await context.SubscriptionService.get(id))?.planVersion;
    expect([await sold(old.id), await sold(recent.id), await sold(moved.id)]).toEqual([1, 2, 2]);
    expect(await context.TenantService.get(old.id)).toMatchObject({ mrr: 50 });
    expect(await context.TenantService.get(recent.id)).toMatchObject({ mrr: 80 });
    await context.TenantService.update(old.id, { plan: "Pro" });
    expect(await sold(old.id)).toBe(1);
    expect(await context.SubscriptionService.get(old.id)).toMatchObject({ planId: "Pro" });
  });

  it("B02: an unused plan is deleted with its versions, and one with the same id starts at version 1", async () => {
    const { PlanService } = context;
    await PlanService.create({ ...SILVER, id: "Gone", name: "Gone" });
    await PlanService.update("Gone", { price: 1 });
    expect(await PlanService.delete("Gone")).toBe(true);
    expect(await versions("Gone")).toEqual([]);
    expect(await PlanService.create({ ...SILVER, id: "Gone", name: "Gone" })).toMatchObject({ planVersion: 1 });
  });

  it("B06: an interval of more than 3 years, or with a monthly revenue above the maximum, is refused", async () => {
    const { PlanService } = context;
    for (const [interval, intervalCount] of [["yearly", 4], ["monthly", 37], ["weekly", 157]] as const) {
      const refused = PlanService.create({ ...SILVER, name: "Long", interval, intervalCount });
      await expect(refused).rejects.toMatchObject({ code: "validation_failed", fields: [{ path: "/intervalCount", code: "too_big" }] });
    }
    const daily = { ...SILVER, name: "Daily", price: 10 ** 14, interval: "daily" as const };
    await expect(PlanService.create(daily)).rejects.toMatchObject({ fields: [{ path: "/price", code: "too_big" }] });
    expect(await codeOf(PlanService.create({ ...SILVER, name: "Zero", intervalCount: 0 }))).toBe("validation_failed");
  });
});
