import { describe, expect, test } from "vitest";
import { MAX_CHANGES } from "../../../shared/features/configuration/service.ts";
import type { ConfigurationInput } from "../../../shared/features/configuration/document.ts";
import { isInnkeepError } from "../../../shared/kernel/errors.ts";
import { expectProblem, useApi } from "../../http/support/api.ts";

const api = useApi();
const PATH = "/v1/configuration";
const token = () => api.admin("super_admin");
const call = (verb: "plan" | "apply", json: object, headers = {}) => api.send("POST", `${PATH}/${verb}`, { token: token(), json, headers });
const configuration = () => api.services.ConfigurationService;

const PLAN = { id: "Code", name: "Code", price: 900, currency: "USD", interval: "monthly", limits: { rooms: 5, users: null } } as const;
const FLAG = { key: "from-code", name: "From code", scope: "plan", status: "enabled", enabledForPlans: ["Code"] } as const;
const ADMIN = { userId: "coded", email: "coded@innkeep.example", name: "Coded", role: "support" } as const;
const WANTED = {
  settings: { trialDurationDays: 21, maxTenantsPerPlan: { Code: 5 }, platformUrl: "https://code.example" },
  plans: [PLAN],
  flags: [{ ...FLAG, rules: [{ id: "eu", when: [{ attribute: "region", operator: "in", values: ["eu-west-1"] }] }] }],
  admins: [ADMIN],
} satisfies ConfigurationInput;

async function faultsOf(input: ConfigurationInput): Promise<string[]> {
  const error = await configuration().plan(input).then(() => null, (thrown: unknown) => thrown);
  if (!isInnkeepError(error, "validation_failed")) throw error;
  return error.fields.map(({ path, code }) => `${path} ${code}`);
}

describe("configuration as code", () => {
  test("S10: what is exported, planned and applied again changes nothing, and has no secret", async () => {
    await api.services.PlatformSettingsService.update({ slackWebhookUrl: "https://hooks.slack.example/T000/secret-4711" });
    const exported = await api.send("GET", PATH, { token: token() });
    expect(exported.body).toMatchObject({ formatVersion: 1, settings: { trialDurationDays: expect.any(Number) as number } });
    expect((exported.body.plans as { id: string }[]).map(({ id }) => id)).toContain("Pro");
    for (const hidden of ["4711", "sealed", "Slack", "createdAt", "revision", "lastLoginAt"]) expect(exported.text).not.toContain(hidden);
    const before = await api.auditCount();
    const plan = await call("plan", { ...exported.body, prune: true });
    expect(plan.body).toEqual({ version: expect.any(String) as string, changes: [], remaining: 0 });
    const etag = `"${plan.body.version}"`;
    expect(exported.headers.get("etag")).toBe(etag);
    expect((await call("apply", { ...exported.body, prune: true }, { "if-match": etag })).body).toMatchObject({
      applied: [],
      remaining: 0,
    });
    expect(await api.auditCount()).toBe(before);
    expect((await api.send("GET", PATH, { token: token(), headers: { "if-none-match": etag } })).status).toBe(304);
  });

  test("S10: a plan shows each change and writes nothing; applying it makes and audits them, and the second time changes nothing", async () => {
    const before = await api.auditCount();
    const plan = await call("plan", WANTED);
    expect(plan.status, plan.text).toBe(200);
    const changes = plan.body.changes as { section: string; id: string; action: string; before: object; after: object }[];
    expect(changes.map(({ section, id, action }) => [section, id, action])).toEqual([
      ["plans", "Code", "create"],
      ["settings", "settings", "update"],
      ["flags", "from-code", "create"],
      ["admins", "coded", "create"],
    ]);
    expect(changes[1]).toMatchObject({
      before: { trialDurationDays: 14 },
      after: { trialDurationDays: 21, maxTenantsPerPlan: { Code: 5 } },
    });
    expect(await api.auditCount()).toBe(before);
    expect(await api.services.PlanService.get("Code")).toBeNull();
    const stale = await call("apply", WANTED, { "if-match": '"1"' });
    expectProblem(stale, 412, "precondition_failed");
    const applied = await call("apply", WANTED, { "if-match": `"${plan.body.version}"` });
    expect(applied.body).toMatchObject({ remaining: 0, applied: changes.map(({ section, id, action }) => ({ section, id, action })) });
    expect(applied.body).not.toHaveProperty("failed");
    const requestId = String(applied.headers.get("x-request-id"));
    const { data } = await api.services.AuditService.list(undefined, { limit: 100 });
    expect(data.filter((entry) => entry.requestId === requestId).map(({ action }) => action).sort()).toEqual([
      "admin.created",
      "flag.created",
      "plan.created",
      "platform-settings.updated",
    ]);
    expect(await api.auditCount()).toBe(before + 4);
    expect(await api.services.AdminUserService.get("coded")).toMatchObject(ADMIN);
    const again = await call("apply", WANTED);
    expect(again.body).toEqual({ version: applied.body.version, applied: [], remaining: 0 });
    expect(await api.auditCount()).toBe(before + 4);
  });

  test("S10: an item is complete, so what it omits is removed, and settings that are omitted stay", async () => {
    const plan = { ...PLAN, id: "Whole", name: "Whole" };
    await configuration().apply({
      plans: [{ ...plan, trialDays: 7, metadata: { tier: "a", note: "b" } }],
      settings: { sessionTimeoutMinutes: 45 },
    });
    const { applied } = await configuration().apply({ plans: [{ ...plan, limits: { rooms: 9 }, metadata: { tier: "a" } }], settings: {} });
    expect(applied).toEqual([{ section: "plans", id: "Whole", action: "update", fields: ["limits", "metadata", "trialDays"] }]);
    const stored = await api.services.PlanService.get("Whole");
    expect(stored).toMatchObject({ limits: { rooms: 9 }, metadata: { tier: "a" }, planVersion: 2 });
    expect(stored).not.toHaveProperty("trialDays");
    expect(await api.services.PlatformSettingsService.get()).toMatchObject({ sessionTimeoutMinutes: 45 });
    await configuration().apply({ settings: { platformUrl: null } });
    expect((await api.services.PlatformSettingsService.get()).platformUrl).toBeNull();
  });

  test("S10: everything is checked before the first change, and each error names its field", async () => {
    const plan = { ...PLAN, id: "Bad", name: "Bad" };
    const before = await api.auditCount();
    expect(await faultsOf({ plans: [plan, plan], flags: [{ ...FLAG, key: "typed" }] })).toEqual(["/plans/1/id not_unique"]);
    const wrong = {
      plans: [{ ...plan, limits: { nothing: 1 } }, { ...plan, id: "Euro", currency: "EUR" }],
      flags: [{ ...FLAG, key: "bad", enabledForPlans: ["Code", "Missing"], weights: { on: 40 } }],
      settings: { maxTenantsPerPlan: { Nowhere: 1 } },
    };
    expect(await faultsOf(wrong)).toEqual([
      "/plans/0/limits/nothing unknown_metric",
      "/plans/1/currency other_currency",
      "/settings/maxTenantsPerPlan/Nowhere unknown_plan",
      "/flags/0/weights invalid",
    ]);
    await configuration().apply({ flags: [{ ...FLAG, key: "typed", enabledForPlans: [] }] });
    const typed = { ...FLAG, key: "typed", type: "string", variants: { a: "x" }, onVariant: "a", enabledForPlans: [] } as const;
    expect(await faultsOf({ flags: [typed] })).toEqual(["/flags/0/type immutable"]);
    expectProblem(
      await call("apply", { plans: [{ ...plan, limits: { nothing: 1 } }], settings: { trialDurationDays: 99 } }),
      422,
      "validation_failed",
    );
    expect(await api.auditCount()).toBe(before + 1);
    await api.tenant({ plan: "Trial", status: "trial" });
    expect(await faultsOf({ plans: [PLAN], prune: true })).toContain("/plans plan_in_use");
  });

  test("S10: deletes only with prune, and of the sections of the document only", async () => {
    await configuration().apply({ flags: [{ ...FLAG, key: "pruned", enabledForPlans: [] }] });
    const { document } = await configuration().export();
    const flags = (document["flags"] as { readonly key: string }[]).filter(({ key }) => key !== "pruned") as ConfigurationInput["flags"];
    expect(await configuration().apply({ flags })).toMatchObject({ applied: [] });
    const { applied } = await configuration().apply({ flags, prune: true });
    expect(applied.map(({ section, id, action }) => [section, id, action])).toEqual([["flags", "pruned", "delete"]]);
    expect((await configuration().export()).document["plans"]).toEqual(document["plans"]);
  });

  test("S10: refuses a plan whose id cannot be the name of a member, as the plans' own route does", async () => {
    const token = api.admin("admin");
    const { body } = await api.send("POST", `${PATH}/plan`, { token, json: { plans: [{ ...PLAN, id: "__proto__" }] } });
    expect(body).toMatchObject({ code: "validation_failed", errors: [{ path: "/plans/0/id" }] });
    for (const odd of [{ ...PLAN, id: "__proto__" }, { ...PLAN, id: undefined, name: "__proto__" }]) {
      const own = await api.send("POST", "/v1/plans", { token, json: { ...odd, limits: {} } });
      expect(own.body).toMatchObject({ code: "validation_failed", errors: [{ path: "/id" }] });
    }
  });

  test("S10: a section needs the scope of its records, and an unreadable one is not exported", async () => {
    const admin = api.admin("admin");
    const asAdmin = await api.send("POST", `${PATH}/apply`, { token: admin, json: { admins: [{ ...ADMIN, userId: "other" }] } });
    expectProblem(asAdmin, 403, "insufficient_scope");
    const key = await api.key(["read:settings", "write:settings", "read:plans"]);
    expect(Object.keys((await api.send("GET", PATH, { token: key })).body)).toEqual(["formatVersion", "plans", "settings"]);
    const unread = await api.send("POST", `${PATH}/plan`, { token: key, json: { flags: [] } });
    expectProblem(unread, 403, "insufficient_scope");
    const unwritten = await api.send("POST", `${PATH}/apply`, { token: key, json: { plans: [{ ...PLAN, id: "Key", name: "Key" }] } });
    expectProblem(unwritten, 403, "insufficient_scope");
    expect(unwritten.body.requiredScope).toBe("write:plans");
  });

  test(`S10: makes at most ${MAX_CHANGES} changes in a call, and a repeated call goes on`, async () => {
    const admins = Array.from({ length: MAX_CHANGES + 2 }, (_, i) => ({ ...ADMIN, userId: `many-${i}` }));
    const first = await configuration().apply({ admins });
    expect([first.applied.length, first.remaining]).toEqual([MAX_CHANGES, 2]);
    const second = await configuration().apply({ admins }, { ifMatch: [first.version] });
    expect([second.applied.length, second.remaining]).toEqual([2, 0]);
    expect(await configuration().apply({ admins })).toMatchObject({ applied: [], version: second.version });
  });
});
