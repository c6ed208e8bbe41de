import { describe, expect, test } from "vitest";
import { parseInput } from "../../../shared/core/collection.ts";
import type { JsonObject } from "../../../shared/kernel/json.ts";
import { InnkeepError } from "../../../shared/kernel/errors.ts";
import { isSegment } from "../../../shared/kv/key.ts";
import { urlFault } from "../../../shared/core/outbound-url.ts";
import { DEFAULT_OUTBOUND_RULES } from "../../../shared/core/outbound.ts";
import { providerOf, PROVIDERS, shownProviders } from "../../../shared/features/integrations/providers.ts";
import { Ajv2020 } from "ajv/dist/2020.js";
import formats from "ajv-formats";

const OAUTH = { accessToken: "planted-access-token", refreshToken: "planted-refresh-token" };
/** A valid connection of each provider. Each credential contains "planted". */
const CONNECTIONS: Readonly<Record<string, { readonly config?: JsonObject; readonly credentials: Readonly<Record<string, string>> }>> = {
  stripe: { config: { accountId: "acct_1a2B3c" }, credentials: { secretKey: "sk_test_planted", webhookSecret: "whsec_planted" } },
  paypal: { config: { environment: "sandbox" }, credentials: { clientId: "planted-id", clientSecret: "planted-secret" } },
  quickbooks: { config: { realmId: "123" }, credentials: OAUTH },
  xero: { config: { organisationId: "5f0c3a52-6c43" }, credentials: OAUTH },
  salesforce: { config: { host: "aurora.my.salesforce.com" }, credentials: OAUTH },
  hubspot: { credentials: { accessToken: "planted-token" } },
  google_analytics: { config: { propertyId: "123456" }, credentials: OAUTH },
  sendgrid: { config: { region: "eu", fromEmail: "desk@aurora.example" }, credentials: { apiKey: "SG.planted" } },
  gmail: { credentials: OAUTH },
  twilio: { config: { accountSid: `AC${"0".repeat(32)}`, fromNumber: "+15005550006" }, credentials: { authToken: "planted-token" } },
  slack: { config: { channel: "#desk", logMessages: true }, credentials: { botToken: "xoxb-planted", signingSecret: "planted-secret" } },
  siteminder: {
    config: { host: "pmsx.siteminder.com", pmsCode: "INN", hotelCode: "AUR1" },
    credentials: { username: "planted-user", password: "planted pässword" },
  },
  cloudbeds: { config: { propertyId: "4711" }, credentials: { apiKey: "cbat_planted" } },
};

describe("the catalogue of providers", () => {
  test("I02: has the common providers of a hotel platform, each once, with a name, a type and a page on its credentials", () => {
    expect(PROVIDERS.map(({ id }) => id)).toEqual(Object.keys(CONNECTIONS));
    for (const { id, name, type, docs } of PROVIDERS) {
      expect(isSegment(id), id).toBe(true);
      expect([name, type].every(Boolean)).toBe(true);
      expect(docs).toMatch(/^https:\/\//);
    }
  });

  test.each(PROVIDERS.map((each) => [each.id, each] as const))(
    "I02: %s accepts a valid connection, and refuses other members",
    (id, provider) => {
      const { config, credentials } = CONNECTIONS[id] ?? { credentials: {} };
      expect(parseInput(provider.connection, { config, credentials })).toMatchObject({ enabled: true, credentials });
      for (const wrong of [{ config: { ...config, secret: "x" }, credentials }, { config, credentials: { ...credentials, other: "x" } }]) {
        expect(() => parseInput(provider.connection, wrong)).toThrow(/is not a known field/);
      }
      expect(() => parseInput(provider.connection, { config, credentials: {} })).toThrow(/is required/);
    },
  );

  test.each(PROVIDERS.map((each) => [each.id, each] as const))("I04: %s never repeats a wrong credential in its errors", (id, provider) => {
    const { config, credentials } = CONNECTIONS[id] ?? { credentials: {} };
    for (const name of Object.keys(credentials)) {
      for (const value of ["planted\nsecret", "", 4_711_471_147, ["planted"], "planted".repeat(2_000), { planted: 1 }]) {
        const refused = refusal(() => parseInput(provider.connection, { config, credentials: { ...credentials, [name]: value } }));
        expect(refused.fields.length, `${name}: ${JSON.stringify(value).slice(0, 40)}`).toBeGreaterThan(0);
        expect(refused.fields.every(({ path }) => path === `/credentials/${name}`)).toBe(true);
        expect(JSON.stringify([refused.message, refused.fields])).not.toMatch(/planted|4711471147/);
      }
    }
  });

  test.each(PROVIDERS.map((each) => [each.id, each] as const))(
    "I15: %s is tested at its own public host, and no credential is in the URL",
    async (id, provider) => {
      const { config = {}, credentials } = CONNECTIONS[id] ?? { credentials: {} };
      const input = parseInput(provider.connection, { config, credentials });
      const { url, headers, body = "" } = provider.test(input.config, credentials);
      expect(await urlFault(url, DEFAULT_OUTBOUND_RULES)).toBeNull();
      expect(url).not.toContain("planted");
      expect(body).not.toContain("planted");
      const sent = Object.values(headers).map((value) => value.startsWith("Basic ") ? decoded(value) : value).join(" ");
      expect(sent).toContain("planted");
      for (const value of Object.values(headers)) expect(value).toMatch(/^[\x20-\x7e]+$/);
    },
  );

  test.each([
    ["salesforce", { host: "salesforce.com.evil.example" }],
    ["salesforce", { host: "evilsalesforce.com" }],
    ["salesforce", { host: "aurora.my.salesforce.com/x?" }],
    ["salesforce", { host: "a@aurora.my.salesforce.com" }],
    ["siteminder", { host: "siteminder.com.evil.example", pmsCode: "INN", hotelCode: "AUR1" }],
    ["siteminder", { host: "pmsx.siteminder.com", pmsCode: "../..", hotelCode: "AUR1" }],
    ["quickbooks", { realmId: "1/../2" }],
    ["stripe", { accountId: "acct_1\r\nx: y" }],
    ["xero", { organisationId: "a\r\nb: c" }],
  ])("I02: %s refuses the config %j, which would send credentials elsewhere", (id, config) => {
    const refused = refusal(() => parseInput(providerOf(id).connection, { config, credentials: CONNECTIONS[id]?.credentials }));
    expect(refused.fields[0]?.path).toMatch(/^\/config\//);
  });

  test("I02: shows JSON Schemas that accept and refuse what the program does", () => {
    const ajv = formats.default(new Ajv2020({ strict: false }));
    for (const { id, config, credentials } of shownProviders()) {
      const connection = CONNECTIONS[id];
      const [ofConfig, ofCredentials] = [ajv.compile(config), ajv.compile(credentials)];
      expect([ofConfig(connection?.config ?? {}), ofCredentials(connection?.credentials)], id).toEqual([true, true]);
      expect([ofConfig({ other: 1 }), ofCredentials({ other: "x" }), ofCredentials({})], id).toEqual([false, false, false]);
    }
  });

  test("I02: an unknown provider is refused with the list of providers", () => {
    expect(() => providerOf("fax")).toThrow(expect.objectContaining({ code: "unknown_provider", status: 422 }) as Error);
    expect(() => providerOf("constructor")).toThrow(/The providers are: stripe, paypal,/);
  });
});

function refusal(run: () => unknown): InnkeepError {
  try {
    run();
  } catch (error) {
    if (error instanceof InnkeepError) return error;
    throw error;
  }
  throw new Error("it was accepted");
}

function decoded(header: string): string {
  return new TextDecoder().decode(Uint8Array.from(atob(header.slice("Basic ".length)), (char) => char.charCodeAt(0)));
}
