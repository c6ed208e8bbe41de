import { OFREPProvider } from "@openfeature/ofrep-provider";
import { OFREPWebProvider } from "@openfeature/ofrep-web-provider";
import * as server from "@openfeature/server-sdk";
import * as web from "@openfeature/web-sdk";
import { afterAll, beforeAll, expect, test, vi } from "vitest";
import { expectProblem, useApi } from "../../http/support/api.ts";
import { useServed } from "./served.ts";

const LIMIT = 3;
const quota = { limit: LIMIT, windowSeconds: 86_400 };
const api = useApi({ rateLimits: { user: quota, key: quota, address: quota } });
const served = useServed(api);
let tenantId = "";

beforeAll(async () => {
  tenantId = (await api.tenant()).id;
  await api.services.FeatureFlagService.create({ key: "late-checkout", name: "Late checkout", status: "enabled" });
});
afterAll(async () => void (await Promise.all([server.OpenFeature.close(), web.OpenFeature.close()])));

test("F14: over its rate limit, the provider of the server SDK gets 429 once and then waits, and the program its default", async () => {
  const headers: [string, string][] = [["Authorization", `Bearer ${await api.user(tenantId, "viewer", "server")}`]];
  await server.OpenFeature.setProviderAndWait("limited", new OFREPProvider({ baseUrl: served.url, headers }));
  const client = server.OpenFeature.getClient("limited");
  const from = served.seen.length;
  const values: boolean[] = [];
  for (let n = 0; n < LIMIT + 3; n++) values.push(await client.getBooleanValue("late-checkout", false));
  expect(values).toEqual([true, true, true, false, false, false]);
  expect(served.seen.slice(from).map(({ status }) => status)).toEqual([200, 200, 200, 429]);
});

test("F15: over its rate limit, the provider of the web SDK keeps what it has loaded", async () => {
  const token = await api.user(tenantId, "viewer", "web");
  const headers: [string, string][] = [["Authorization", `Bearer ${token}`]];
  const provider = new OFREPWebProvider({ baseUrl: served.url, headers, pollInterval: 10, cacheMode: "disabled" });
  const from = served.seen.length;
  // Its types are not written for exactOptionalPropertyTypes.
  await web.OpenFeature.setProviderAndWait("limited", provider as web.Provider);
  const statuses = () => served.seen.slice(from).map(({ status }) => status);
  await vi.waitFor(() => expect(statuses()).toContain(429), 20_000);
  await new Promise((resolve) => setTimeout(resolve, 100));
  expect(statuses()).toEqual([200, 304, 304, 429]);
  expect(web.OpenFeature.getClient("limited").getBooleanValue("late-checkout", false)).toBe(true);
  const denied = await api.send("POST", "/ofrep/v1/evaluate/flags/late-checkout", { token, json: {} });
  expectProblem(denied, 429, "rate_limited");
  expect(denied.body).toMatchObject({ key: "late-checkout", errorCode: "GENERAL", errorDetails: denied.body.detail });
  expect(denied.headers.get("retry-after")).toMatch(/^\d+$/);
});
