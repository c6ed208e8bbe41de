import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { currentSettings } from "../../../shared/features/settings/current.ts";
import { InnkeepError } from "../../../shared/kernel/errors.ts";
import { codeOf } from "../../support/store.ts";
import { hotel, openTestContext, userOf } from "../../support/test-context.ts";

let context: Awaited<ReturnType<typeof openTestContext>>;
beforeAll(async () => {
  context = await openTestContext();
});
afterAll(() => context.close());

const DAY = 86_400_000;
const settings = () => context.PlatformSettingsService;
/** Calls with settings of their own, which are reverted after them. */
async function having(patch: Parameters<ReturnType<typeof settings>["update"]>[0], calls: () => Promise<void>): Promise<void> {
  const { revision } = await settings().update(patch);
  try {
    await calls();
  } finally {
    await settings().revert(String(revision));
  }
}
const codeOfError = (error: unknown) => error instanceof InnkeepError ? error.code : String(error);
const subscription = (planId: string) => (id: string) => context.SubscriptionService.upsert(id, { planId });
const patched = (plan: string) => (id: string) => context.TenantService.update(id, { plan });
const created = (data: Partial<ReturnType<typeof hotel>> = {}) => context.tenant(data).then(() => "created", codeOfError);

describe("the platform's settings", () => {
  test("S01: are complete before anything is stored", async () => {
    expect(await context.store.get("platform:settings")).toBeNull();
    expect(await settings().get()).toEqual({
      id: "platform:settings",
      platformName: "Innkeep",
      platformUrl: null,
      supportEmail: null,
      currency: "USD",
      enableSignups: true,
      enableTrials: true,
      trialDurationDays: 14,
      selfServicePlans: "none",
      maxTenantsPerPlan: {},
      enforceSSO: false,
      require2FA: false,
      sessionTimeoutMinutes: 60,
      gdprEnabled: true,
      ccpaEnabled: true,
      dataRetentionDays: 730,
      emailNotifications: true,
      revision: 0,
      version: "unstored",
    });
    expect(await settings().update({ enableTrials: true })).toMatchObject({ revision: 0, version: "unstored" });
    expect((await context.SettingsHistoryService.list()).data).toEqual([]);
  });

  test("S02: are merged with an update, which records who made it; an invalid one changes nothing", async () => {
    const { version } = await settings().get();
    const first = await settings().update({ platformName: "Staywell", maxTenantsPerPlan: { Pro: 5 } }, "user-ada", { ifMatch: [version] });
    expect(first).toMatchObject({ platformName: "Staywell", updatedBy: "user-ada", revision: 1, trialDurationDays: 14 });
    expect(first.version).not.toBe(version);
    const second = await settings().update({ maxTenantsPerPlan: { Basic: 7 } });
    expect(second).toMatchObject({ platformName: "Staywell", maxTenantsPerPlan: { Pro: 5, Basic: 7 }, updatedBy: "admin-1", revision: 2 });
    expect(await codeOf(() => settings().update({ platformName: "x" }, undefined, { ifMatch: [first.version] }))).toBe(
      "precondition_failed",
    );
    for (
      const wrong of [
        { trialDurationDays: 0 },
        { selfServicePlans: "all" },
        { currency: "EUR" },
        { maxTenantsPerPlan: { None: 1 } },
        { platformUrl: "javascript:alert(1)" },
        { maintenance: { endsAt: context.clock.iso(-1) } },
      ]
    ) expect(await codeOf(() => settings().update(wrong as object)), JSON.stringify(wrong)).toBe("validation_failed");
    expect(await settings().update({ platformName: "Staywell" })).toEqual(second);
    const third = await settings().update({ platformName: "Innkeep", maxTenantsPerPlan: { Pro: null, Basic: null } });
    expect(third).toMatchObject({ platformName: "Innkeep", maxTenantsPerPlan: {}, revision: 3 });
  });

  test("S02: have an audit entry for each change, with what differs and without secrets", async () => {
    const url = "https://hooks.slack.com/services/T000/B000/verysecretslackhook";
    await settings().update({ slackWebhookUrl: url, require2FA: true });
    const entry = (await context.auditOf(null)).at(-1);
    expect(entry).toMatchObject({ action: "platform-settings.updated", resourceId: "platform:settings" });
    expect(entry?.["changes"]).toMatchObject({
      before: { require2FA: false },
      after: { require2FA: true, sealedSlackWebhookUrl: "[redacted]" },
    });
    expect(JSON.stringify(await context.dump())).not.toContain("verysecretslackhook");
    const shown = await settings().get();
    expect(shown).toMatchObject({ slackWebhookUrlLast4: "hook" });
    expect(shown).not.toHaveProperty("sealedSlackWebhookUrl");
    expect(await settings().update({ slackWebhookUrl: null })).not.toHaveProperty("slackWebhookUrlLast4");
  });

  test("S03: have a history, in which each change shows what differs and can be reverted by one call", async () => {
    const before = await settings().get();
    const changed = await settings().update({ trialDurationDays: 30, branding: { primaryColor: "#112233" } });
    await settings().update({ supportEmail: "help@innkeep.example" });
    const { data } = await context.SettingsHistoryService.list({}, undefined, { limit: 2 });
    expect(data.map(({ number, changes, changedBy }) => [number, changes, changedBy])).toEqual([
      [changed.revision + 1, { before: { supportEmail: null }, after: { supportEmail: "help@innkeep.example" } }, "admin-1"],
      [
        changed.revision,
        { before: { trialDurationDays: 14 }, after: { trialDurationDays: 30, branding: { primaryColor: "#112233" } } },
        "admin-1",
      ],
    ]);
    const reverted = await settings().revert(String(changed.revision));
    expect(reverted).toMatchObject({ trialDurationDays: before.trialDurationDays, supportEmail: "help@innkeep.example" });
    expect(reverted).not.toHaveProperty("branding");
    expect(await context.SettingsHistoryService.get(String(reverted.revision))).toMatchObject({ reverts: String(changed.revision) });
    expect(await codeOf(() => settings().revert("1000"))).toBe("not_found");
  });

  test("S03: a branding fits the history beside the next one; a longer one is refused with its field", async () => {
    const branding = (sign: string, length: number) => ({ branding: { terms: sign.repeat(length) } });
    const { revision } = await settings().update(branding("x", 65_000));
    await settings().update(branding("y", 65_000));
    const refused = await settings().update(branding("z", 66_000)).catch((error: unknown) => error as InnkeepError);
    expect(refused).toMatchObject({ code: "validation_failed", fields: [{ path: "/branding", code: "too_big" }] });
    expect(await settings().revert(String(revision))).not.toHaveProperty("branding");
  });

  test("S03: a revert leaves what other changes have set in the same object", async () => {
    const pro = await settings().update({ maxTenantsPerPlan: { Pro: 10 } });
    await settings().update({ maxTenantsPerPlan: { Basic: 5 } });
    expect(await settings().revert(String(pro.revision))).toMatchObject({ maxTenantsPerPlan: { Basic: 5 } });
    expect((await settings().update({ maxTenantsPerPlan: { Basic: null } } as never)).maxTenantsPerPlan).toEqual({});
  });

  test("S06: a maintenance that is set after one that is over begins at once, and a revert does not bring one back that is over", async () => {
    const message = "We move the database.";
    await settings().update({ maintenance: { message, endsAt: context.clock.iso(60_000) } });
    context.clock.advance(120_000);
    const again = await settings().update({ maintenance: { message } });
    expect(again.maintenance).toEqual({ message });
    const ended = await settings().update({ maintenance: { endsAt: context.clock.iso(60_000) } });
    context.clock.advance(120_000);
    const last = await settings().update({ maintenance: { endsAt: context.clock.iso(60_000) }, trialDurationDays: 21 });
    expect(await settings().revert(String(last.revision))).toMatchObject({ trialDurationDays: 14 });
    expect(await settings().revert(String(ended.revision))).not.toMatchObject({ maintenance: { endsAt: expect.anything() as string } });
    await settings().update({ maintenance: null });
  });

  test("S02: without trials, no subscription becomes a trial, and tenants with the status suspended can still be imported", async () => {
    const { id } = await context.tenant({ plan: "Pro" });
    await settings().update({ enableTrials: false });
    const trial = { planId: "Pro", status: "trialing", currentPeriodEnd: context.clock.iso(864_000_000) } as const;
    expect(await codeOf(() => context.SubscriptionService.upsert(id, trial))).toBe("trials_disabled");
    expect(await context.tenant({ plan: "Trial", status: "suspended", suspensionReason: "Import" })).toMatchObject({ plan: "Trial" });
    await settings().update({ enableTrials: true });
  });

  test("S03: a change that replaced a secret cannot be reverted, one that set the first secret can", async () => {
    const set = await settings().update({ slackWebhookUrl: "https://hooks.slack.com/services/one" });
    const replaced = await settings().update({ slackWebhookUrl: "https://hooks.slack.com/services/two" });
    expect(await codeOf(() => settings().revert(String(replaced.revision)))).toBe("not_revertible");
    expect(await settings().revert(String(set.revision))).not.toHaveProperty("slackWebhookUrlLast4");
  });

  test("S02, S03: changes at the same time are all kept, and each has its own number", async () => {
    const { revision } = await settings().get();
    const made = await Promise.all(
      [{ require2FA: false }, { enforceSSO: true }, { ccpaEnabled: false }, { dataRetentionDays: 400 }].map((patch) =>
        settings().update(patch)
      ),
    );
    expect(made.map((one) => one.revision).sort((a, b) => a - b)).toEqual([1, 2, 3, 4].map((n) => revision + n));
    expect(await settings().get()).toMatchObject({ require2FA: false, enforceSSO: true, ccpaEnabled: false, dataRetentionDays: 400 });
  });

  test("S04: a change is seen by its process at once, and by another one within 10 seconds", async () => {
    const [own, other] = [context.container, context.over(context.store)];
    const of = (services: typeof other) => services.PlatformSettingsService.public().then(({ shown }) => shown.platformName);
    const writer = own.services({ actor: { type: "admin", id: "admin-2" }, tenantId: null, requestId: "req_s04", clock: context.clock });
    expect([await of(other), (await currentSettings(own)).platformName]).toEqual(["Innkeep", "Innkeep"]);
    await writer.PlatformSettingsService.update({ platformName: "Renamed" });
    expect([await of(other), (await currentSettings(own)).platformName]).toEqual(["Innkeep", "Renamed"]);
    context.clock.advance(10_000);
    expect(await of(other)).toBe("Renamed");
    await settings().update({ platformName: "Innkeep" });
  });

  test("S05: of them, anybody sees only what is named as public", async () => {
    await having(
      { slackWebhookUrl: "https://hooks.slack.com/services/three", branding: { primaryColor: "#445566", internal: 1 } },
      async () => {
        const { shown } = await settings().public();
        expect(Object.keys(shown).sort()).toEqual([
          "branding",
          "enableSignups",
          "enableTrials",
          "maintenance",
          "platformName",
          "platformUrl",
          "regions",
          "supportEmail",
        ]);
        expect(shown).toMatchObject({ branding: { primaryColor: "#445566" }, maintenance: null });
        expect(shown.branding).not.toHaveProperty("internal");
        expect(shown.regions).toContain("eu-west-1");
      },
    );
  });
});

describe("what the settings enforce", () => {
  test("S02, T01: no tenant can be created while sign-ups are off", async () => {
    const before = (await context.dump()).length;
    await having({ enableSignups: false }, async () => {
      expect(await created()).toBe("signups_disabled");
      expect((await context.dump()).length - before).toBeLessThan(6);
    });
    expect(await created()).toBe("created");
  });

  test("S02, B10: no trial starts while trials are off, and those that run go on", async () => {
    const [running, pending, paying] = [
      await context.tenant({ status: "trial" }),
      await context.tenant({ status: "pending" }),
      await context.tenant(),
    ];
    await having({ enableTrials: false }, async () => {
      expect(await created({ status: "trial" })).toBe("trials_disabled");
      expect(await created({ plan: "Trial" })).toBe("trials_disabled");
      expect(await codeOf(() => context.TenantService.update(pending.id, { status: "trial" }))).toBe("trials_disabled");
      for (const move of [subscription("Trial"), patched("Trial")]) expect(await codeOf(() => move(paying.id))).toBe("trials_disabled");
      const { status: _, ...unsaid } = hotel("unsaid");
      expect(await context.TenantService.create(unsaid)).toMatchObject({ status: "active" });
      expect(await context.TenantService.update(running.id, { name: "Goes on" })).toMatchObject({ status: "trial" });
    });
  });

  test("S02, B10: a trial of a plan without trialDays has the length of the setting", async () => {
    await context.PlanService.create({ name: "Plain", price: 100, currency: "USD", interval: "monthly", limits: {} });
    await having({ trialDurationDays: 5 }, async () => {
      expect(await context.tenant({ plan: "Plain", status: "trial" })).toMatchObject({ trialEndsAt: context.clock.iso(5 * DAY) });
      const { id } = await context.tenant({ plan: "Plain", status: "pending" });
      expect(await context.TenantService.update(id, { status: "trial" })).toMatchObject({ trialEndsAt: context.clock.iso(5 * DAY) });
    });
  });

  test("S02, B02: a plan takes no more tenants than its maximum, by creation, by a move or by a reactivation", async () => {
    await context.PlanService.create({ name: "Small", price: 100, currency: "USD", interval: "monthly", limits: {} });
    const other = await context.tenant({ plan: "Basic" });
    await having({ maxTenantsPerPlan: { Small: 1 }, selfServicePlans: "any" }, async () => {
      const { id } = await context.tenant({ plan: "Small" });
      expect(await created({ plan: "Small" })).toBe("plan_full");
      for (const move of [subscription("Small"), patched("Small")]) expect(await codeOf(() => move(other.id))).toBe("plan_full");
      const owner = context.as({ ...userOf(other.id), role: "owner" });
      context.clock.advance(10_000);
      expect(await codeOf(() => owner.SubscriptionService.upsert(other.id, { planId: "Small" }))).toBe("plan_full");
      await context.TenantService.cancel(id);
      await subscription("Small")(other.id);
      expect(await codeOf(() => context.TenantService.reactivate(id))).toBe("plan_full");
    });
  });

  test("S02, B02: of tenants that are created at the same time, no more than the maximum get the plan", async () => {
    await context.PlanService.create({ name: "Racing", price: 100, currency: "USD", interval: "monthly", limits: {} });
    await having({ maxTenantsPerPlan: { Racing: 3 } }, async () => {
      const codes = await Promise.all(Array.from({ length: 8 }, () => created({ plan: "Racing" })));
      expect(codes.filter((code) => code === "created")).toHaveLength(3);
      expect(new Set(codes)).toEqual(new Set(["created", "plan_full"]));
    });
  });
});
