import { OFREPProvider } from "@openfeature/ofrep-provider";
import { type Client, type EvaluationContext, OpenFeature } from "@openfeature/server-sdk";
import { afterAll, beforeAll, describe, expect, test, vi } from "vitest";
import { useApi } from "../../http/support/api.ts";
import { programOf, useServed } from "./served.ts";

const api = useApi();
const served = useServed(api);
let tenantId = "";
let neighborId = "";
let made = 0;

beforeAll(async () => {
  tenantId = (await api.tenant({ plan: "Pro" })).id;
  neighborId = (await api.tenant({ plan: "Basic" })).id;
  const { FeatureFlagService: flags } = api.services;
  const on = { status: "enabled" } as const;
  await flags.create({ key: "late-checkout", name: "Late checkout", ...on });
  await flags.create({ key: "dark", name: "Dark" });
  const texts = { short: "Hello", long: "Welcome to our house" };
  const rules = [{ id: "long-for-pro", when: [{ attribute: "plan", operator: "in" as const, values: ["Pro"] }], variant: "long" }];
  await flags.create({ key: "greeting", name: "Greeting", ...on, type: "string", variants: texts, onVariant: "short", rules });
  await flags.create({ key: "page-size", name: "Page size", ...on, type: "number", variants: { many: 50 }, onVariant: "many" });
  const theme = { color: "#123456", fonts: ["serif"] };
  await flags.create({ key: "theme", name: "Theme", ...on, type: "json", variants: { blue: theme }, onVariant: "blue" });
  await flags.create({ key: "half", name: "Half", ...on, rolloutPercentage: 50 });
  await flags.create({ key: "no-value", name: "No value", type: "string", variants: { a: "a" }, onVariant: "a" });
  await flags.create({ key: "nightly-export", name: "Nightly export", ...on, serverOnly: true });
});
afterAll(() => OpenFeature.close());

/** A client of the official SDK over the official provider, as a program on a server has it. */
async function clientOf(token: string, context: EvaluationContext = {}, name = "Authorization"): Promise<Client> {
  const domain = `domain-${++made}`;
  const headers: [string, string][] = [[name, name === "Authorization" ? `Bearer ${token}` : token]];
  await OpenFeature.setProviderAndWait(domain, new OFREPProvider({ baseUrl: served.url, headers }));
  return OpenFeature.getClient(domain, context);
}
const ofPlatform = (context?: EvaluationContext) => clientOf(api.admin("read_only"), context ?? { targetingKey: tenantId });

describe("the official OFREP provider of the server SDK", () => {
  test("F14: evaluates flags of every type with variant, reason and metadata", async () => {
    const client = await ofPlatform();
    const idOf = async (key: string) => (await api.services.FeatureFlagService.list({ key })).data[0]?.id;
    expect(await client.getBooleanDetails("late-checkout", false)).toMatchObject({
      value: true,
      variant: "on",
      reason: "DEFAULT",
      flagMetadata: { flagId: await idOf("late-checkout"), enabled: true, reason: "DEFAULT" },
    });
    expect(await client.getBooleanDetails("dark", true)).toMatchObject({ value: false, variant: "off", reason: "DISABLED" });
    expect(await client.getStringDetails("greeting", "")).toMatchObject({
      value: "Welcome to our house",
      variant: "long",
      reason: "TARGETING_MATCH",
      flagMetadata: { ruleId: "long-for-pro" },
    });
    expect(await client.getNumberDetails("page-size", 10)).toMatchObject({ value: 50, variant: "many" });
    expect(await client.getObjectDetails("theme", {})).toMatchObject({ value: { color: "#123456", fonts: ["serif"] }, variant: "blue" });
  });

  test("F16: shows the rule, the override and the rollout that decided in the flag's metadata", async () => {
    const client = await ofPlatform();
    const { value } = await client.getBooleanDetails("half", false);
    expect(await client.getBooleanDetails("half", false)).toMatchObject({ value, reason: "SPLIT", flagMetadata: { reason: "SPLIT" } });
    const { id = "" } = (await api.services.FeatureFlagService.list({ key: "half" })).data[0] ?? {};
    await api.services.FeatureFlagService.setOverride(id, tenantId, { enabled: !value });
    expect(await client.getBooleanDetails("half", value)).toMatchObject({ value: !value, flagMetadata: { reason: "OVERRIDE" } });
    await api.services.FeatureFlagService.clearOverride(id, tenantId);
  });

  test("F14: gets other results for another tenant, which the targeting key of one call names", async () => {
    const client = await ofPlatform();
    expect(await client.getStringValue("greeting", "", { targetingKey: neighborId })).toBe("Hello");
    expect(await client.getStringValue("greeting", "", { targetingKey: `tenant:${tenantId}` })).toBe("Welcome to our house");
  });

  const refusals: [
    name: string,
    ask: (client: Client) => Promise<unknown>,
    context: () => EvaluationContext,
    code: string,
    text: RegExp,
  ][] = [
    ["unknown flag", (c) => c.getBooleanDetails("no-such", true), () => ({ targetingKey: tenantId }), "FLAG_NOT_FOUND", /flag no-such/],
    ["flag of another type", (c) => c.getBooleanDetails("greeting", true), () => ({ targetingKey: tenantId }), "TYPE_MISMATCH", /string/],
    ["missing targeting key", (c) => c.getBooleanDetails("late-checkout", true), () => ({}), "TARGETING_KEY_MISSING", /targetingKey/],
    ["unknown tenant", (c) => c.getBooleanDetails("late-checkout", true), () => ({ targetingKey: "tn_none" }), "FLAG_NOT_FOUND", /tn_none/],
    [
      "context that is too large",
      (c) => c.getBooleanDetails("late-checkout", true),
      () => ({ targetingKey: tenantId, ...Object.fromEntries(Array.from({ length: 101 }, (_, i) => [`a${i}`, i])) }),
      "INVALID_CONTEXT",
      /at most 100/,
    ],
    ["flag without a value", (c) => c.getStringDetails("no-value", "mine"), () => ({ targetingKey: tenantId }), "GENERAL", /./],
  ];
  test.each(refusals)(
    "F14: returns the program's default with the error code of OpenFeature for an %s",
    async (_, ask, context, code, text) => {
      const details = await ask(await ofPlatform(context())) as { value: unknown; reason: string; errorCode: string; errorMessage: string };
      expect(details).toMatchObject({ reason: "ERROR", errorCode: code, errorMessage: expect.stringMatching(text) });
      expect([true, "mine"]).toContain(details.value);
    },
  );

  test("F14: returns the program's default without a valid credential, and with one that has not the scope", async () => {
    expect(await (await clientOf("garbled", { targetingKey: tenantId })).getBooleanDetails("late-checkout", false))
      .toMatchObject({ value: false, reason: "ERROR", errorCode: "GENERAL" });
    expect(served.seen.at(-1)?.status).toBe(401);
    const suspended = await api.tenant();
    const token = await api.user(suspended.id, "owner");
    await api.services.TenantService.suspend(suspended.id, "unpaid");
    expect(await (await clientOf(token)).getBooleanDetails("late-checkout", false)).toMatchObject({ value: false, errorCode: "GENERAL" });
    expect(served.seen.at(-1)?.status).toBe(403);
  });

  test("F14: of a tenant needs no targeting key, and sees another tenant as if there were none", async () => {
    const token = await api.user(tenantId, "viewer");
    const client = await clientOf(token);
    expect(await client.getStringDetails("greeting", "")).toMatchObject({ value: "Welcome to our house", variant: "long" });
    expect((await client.getStringDetails("greeting", "")).flagMetadata).not.toHaveProperty("ruleId");
    const asked = async (targetingKey: string) => {
      const { errorCode, errorMessage = "" } = await client.getBooleanDetails("late-checkout", false, { targetingKey });
      return [errorCode, errorMessage.replace(targetingKey, "…")];
    };
    expect(await asked(neighborId)).toEqual(await asked("tn_none"));
    expect((await asked(neighborId))[0]).toBe("FLAG_NOT_FOUND");
  });

  test("F14: takes an API key as the credential, with the scope read:flags alone, in both headers", async () => {
    const secret = await api.key(["read:flags"]);
    for (const name of ["Authorization", "X-API-Key"]) {
      const client = await clientOf(secret, { targetingKey: tenantId }, name);
      expect(await client.getStringDetails("greeting", "")).toMatchObject({ variant: "long", flagMetadata: { ruleId: "long-for-pro" } });
      expect(await client.getBooleanValue("nightly-export", false)).toBe(true);
    }
    expect((await api.send("GET", "/v1/tenants", { token: secret })).status).toBe(403);
    expect((await (await clientOf(await api.key(["read:plans"]))).getBooleanDetails("late-checkout", false)).errorCode).toBe("GENERAL");
    expect(served.seen.at(-1)?.status).toBe(403);
  });

  test("F24: with a tenant's API key sees the tenant's flags and no other's, as its users do", async () => {
    const client = await clientOf(await api.key(["read:flags"], tenantId));
    const { variant, flagMetadata } = await client.getStringDetails("greeting", "");
    expect({ variant, rule: flagMetadata?.["ruleId"] }).toEqual({ variant: "long", rule: undefined });
    expect((await client.getBooleanDetails("nightly-export", false)).errorCode).toBe("FLAG_NOT_FOUND");
    expect((await client.getBooleanDetails("late-checkout", false, { targetingKey: neighborId })).errorCode).toBe("FLAG_NOT_FOUND");
    expect(await client.getBooleanValue("late-checkout", false, { targetingKey: tenantId })).toBe(true);
  });

  test("F24: of a tenant does not find a server-only flag, which a platform caller evaluates", async () => {
    const asked = async (client: Client, key: string) => {
      const { value, errorCode, errorMessage = "" } = await client.getBooleanDetails(key, false);
      return [value, errorCode, errorMessage.replace(key, "…")];
    };
    const tenants = await clientOf(await api.user(tenantId, "owner"));
    expect(await asked(tenants, "nightly-export")).toEqual(await asked(tenants, "no-such"));
    expect((await asked(await ofPlatform(), "nightly-export"))[0]).toBe(true);
  });

  test("F14: does not accept the plan of a context: a tenant cannot choose its own", async () => {
    const client = await clientOf(await api.user(neighborId, "owner"), { plan: "Pro", tenantId });
    expect(await client.getStringValue("greeting", "")).toBe("Hello");
  });

  test("F14: gets the value or the default while the flag is deleted and created again, and nothing else", async () => {
    const client = await ofPlatform();
    const { FeatureFlagService: flags } = api.services;
    const seen = new Set<string>();
    let isOver = false;
    const reading = Promise.all(Array.from({ length: 4 }, async () => {
      while (!isOver) {
        const { value, errorCode = "" } = await client.getBooleanDetails("short-lived", false);
        seen.add(`${value} ${errorCode}`);
      }
    }));
    for (let round = 0; round < 5; round++) {
      const { id } = await flags.create({ key: "short-lived", name: "Short-lived", status: "enabled", reuseKey: round > 0 });
      expect(await client.getBooleanValue("short-lived", false)).toBe(true);
      await flags.delete(id);
      expect((await client.getBooleanDetails("short-lived", false)).errorCode).toBe("FLAG_NOT_FOUND");
    }
    isOver = true;
    await reading;
    expect([...seen].sort()).toEqual(["false FLAG_NOT_FOUND", "true "]);
  });

  test("F14: runs the program of docs/ofrep.md, which offers the feature only where the flag is on", async () => {
    const { FeatureFlagService: flags } = api.services;
    const { id } = await flags.create({ key: "offered", name: "Offered", status: "disabled" });
    const offerLateCheckout = vi.fn();
    const credential = await api.key(["read:flags"]);
    const names = { OpenFeature, OFREPProvider, baseUrl: served.url, credential, tenantId, userId: "guest-1", offerLateCheckout };
    const program = programOf("@openfeature/server-sdk").replaceAll(/^import .*$/gm, "").replace("late-checkout", "offered");
    const AsyncFunction = (async () => {}).constructor as new (...parts: string[]) => (...values: unknown[]) => Promise<void>;
    const run = () => new AsyncFunction(...Object.keys(names), program)(...Object.values(names));
    await run();
    expect(offerLateCheckout).not.toHaveBeenCalled();
    await flags.update(id, { status: "enabled" });
    await run();
    expect(offerLateCheckout).toHaveBeenCalledOnce();
  });
});
