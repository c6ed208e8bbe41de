import { OFREPWebProvider } from "@openfeature/ofrep-web-provider";
import { type EvaluationContext, OpenFeature, type Provider, ProviderEvents } from "@openfeature/web-sdk";
import { afterAll, beforeAll, describe, expect, test, vi } from "vitest";
import { useApi } from "../../http/support/api.ts";
import { useServed } from "./served.ts";

const api = useApi();
const served = useServed(api);
const POLL_MS = 20;
let tenantId = "";
let made = 0;
const flags = () => api.services.FeatureFlagService;

beforeAll(async () => {
  tenantId = (await api.tenant({ plan: "Pro" })).id;
  await flags().create({ key: "late-checkout", name: "Late checkout", status: "enabled" });
  await flags().create({
    key: "page-size",
    name: "Page size",
    status: "enabled",
    type: "number",
    variants: { many: 50 },
    onVariant: "many",
  });
  await flags().create({ key: "nightly-export", name: "Nightly export", status: "enabled", serverOnly: true });
});
afterAll(() => OpenFeature.close());

/** A client of the official SDK for browsers over the official provider, which loads all flags and then polls. */
async function clientOf(token: string, context: EvaluationContext = {}, pollInterval = 0) {
  const domain = `domain-${++made}`;
  const provider = new OFREPWebProvider({
    baseUrl: served.url,
    headers: [["Authorization", `Bearer ${token}`]],
    pollInterval,
    cacheMode: "disabled",
  });
  // Its types are not written for exactOptionalPropertyTypes.
  await OpenFeature.setProviderAndWait(domain, provider as Provider, context);
  return OpenFeature.getClient(domain);
}
const bulk = (token: string, headers: Record<string, string> = {}, context: Record<string, unknown> = {}) =>
  api.send("POST", "/ofrep/v1/evaluate/flags", { token, headers, json: { context } });

describe("the official OFREP provider of the web SDK", () => {
  test("F15: loads all flags of the tenant at once, and evaluates them without further requests", async () => {
    const client = await clientOf(await api.user(tenantId, "viewer"));
    const before = served.seen.length;
    expect(client.getBooleanDetails("late-checkout", false)).toMatchObject({ value: true, variant: "on", reason: "DEFAULT" });
    expect(client.getNumberDetails("page-size", 10)).toMatchObject({ value: 50, variant: "many" });
    expect(client.getStringDetails("page-size", "")).toMatchObject({ value: "", errorCode: "TYPE_MISMATCH" });
    expect(client.getBooleanDetails("no-such", true)).toMatchObject({ value: true, errorCode: "FLAG_NOT_FOUND" });
    expect(client.getBooleanDetails("nightly-export", false)).toMatchObject({ value: false, errorCode: "FLAG_NOT_FOUND" });
    expect(served.seen.length).toBe(before);
  });

  test("F15: polls with 304 until a flag changes, and then tells the program which one", async () => {
    const flag = await flags().create({ key: "polled", name: "Polled", status: "disabled" });
    const client = await clientOf(api.admin("read_only"), { targetingKey: tenantId }, POLL_MS);
    const changed: string[][] = [];
    client.addHandler(ProviderEvents.ConfigurationChanged, (details) => void changed.push(details?.flagsChanged ?? []));
    const from = served.seen.length;
    await vi.waitFor(() => expect(served.seen.length).toBeGreaterThan(from + 3), 20_000);
    expect([...new Set(served.seen.slice(from).map(({ status }) => status))]).toEqual([304]);
    expect(client.getBooleanValue("polled", true)).toBe(false);
    const [before] = served.seen.slice(-1);
    await flags().update(flag.id, { status: "enabled" });
    await vi.waitFor(() => expect(client.getBooleanValue("polled", false)).toBe(true), 20_000);
    expect(changed).toEqual([["polled"]]);
    const etags = new Set(served.seen.slice(from).map(({ etag }) => etag));
    expect(etags.size).toBe(2);
    expect(before?.etag).toMatch(/^"[0-9a-f]{64}"$/);
    await OpenFeature.clearProviders();
  });

  test("F14: fails to start without a valid credential, and evaluates to the program's defaults", async () => {
    await expect(clientOf("garbled", { targetingKey: tenantId })).rejects.toThrow();
    // Providers of other tests poll meanwhile.
    expect(served.seen.map(({ status }) => status)).toContain(401);
  });
});

describe("the evaluation of all flags", () => {
  test("F15: has an ETag that changes with every change of a result, and with no other", async () => {
    const token = await api.user(tenantId, "viewer");
    const first = await bulk(token);
    const etag = first.headers.get("etag") ?? "";
    const again = await bulk(token, { "if-none-match": `W/"other", ${etag}` });
    expect([again.status, again.text, again.headers.get("etag")]).toEqual([304, "", etag]);
    const flag = await flags().create({ key: "etag", name: "ETag", status: "enabled" });
    const known = new Set([etag]);
    const changes: Record<string, [run: () => Promise<unknown>, changes: boolean]> = {
      "a new flag": [() => Promise.resolve(), true],
      "a new description": [() => flags().update(flag.id, { description: "Described." }), false],
      "another status": [() => flags().update(flag.id, { status: "disabled" }), true],
      "a change of a server-only flag": [
        async () => flags().update((await flags().list({ key: "nightly-export" })).data[0]?.id ?? "", { status: "disabled" }),
        false,
      ],
      "an override of another tenant": [
        async () => flags().setOverride(flag.id, (await api.tenant()).id, { enabled: true }),
        false,
      ],
      "its status put back": [() => flags().update(flag.id, { status: "beta" }), true],
      "an override": [() => flags().setOverride(flag.id, tenantId, { enabled: true, expiresAt: api.clock.iso(60_000) }), true],
      "a clock before the expiry": [() => Promise.resolve(api.clock.advance(59_999)), false],
    };
    let last = etag;
    for (const [name, [run, isChange]] of Object.entries(changes)) {
      await run();
      const answer = await bulk(token, { "if-none-match": last });
      expect(answer.status, name).toBe(isChange ? 200 : 304);
      last = answer.headers.get("etag") ?? "";
      expect(known.has(last), name).toBe(!isChange);
      known.add(last);
    }
    api.clock.advance(1);
    expect((await bulk(token, { "if-none-match": last })).status, "the expiry itself").toBe(200);
    await flags().delete(flag.id);
    expect((await bulk(token, { "if-none-match": last })).headers.get("etag")).toBe(etag);
  });

  test("F15: has another ETag for another context, so a result is never taken for that of another guest", async () => {
    await flags().create({ key: "by-guest", name: "By guest", status: "enabled", rolloutPercentage: 50, stickiness: "userId" });
    const token = await api.user(tenantId, "viewer");
    const etags = new Set<string | null>();
    for (let n = 0; n < 20; n++) etags.add((await bulk(token, {}, { userId: `guest-${n}` })).headers.get("etag"));
    expect(etags.size).toBe(2);
  });

  test("H09: lets a web page of a listed origin send and read the headers that the provider uses", async () => {
    const origin = "https://admin.example";
    const preflight = await api.send("OPTIONS", "/ofrep/v1/evaluate/flags", {
      headers: {
        origin,
        "access-control-request-method": "POST",
        "access-control-request-headers": "authorization,content-type,if-none-match,x-api-key",
      },
    });
    expect(preflight.status).toBe(204);
    const allowed = preflight.headers.get("access-control-allow-headers") ?? "";
    for (const name of ["authorization", "content-type", "if-none-match", "x-api-key"]) expect(allowed).toContain(name);
    const answer = await bulk(await api.user(tenantId, "viewer"), { origin });
    expect(answer.headers.get("access-control-allow-origin")).toBe(origin);
    expect(answer.headers.get("access-control-expose-headers")).toMatch(/\bETag\b.*\bRetry-After\b/);
  });
});
