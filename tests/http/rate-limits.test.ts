import { describe, expect, test } from "vitest";
import { networkOf } from "../../functions/api/rate-limit.ts";
import { loadConfig } from "../../shared/config.ts";
import { type Answer, expectProblem, useApi } from "./support/api.ts";
import { ROOT_KEY_TEXT } from "../support/root-key.ts";

const DAY = 86_400;
const api = useApi({
  rateLimits: {
    user: { limit: 40, windowSeconds: DAY },
    key: { limit: 1_000, windowSeconds: DAY },
    address: { limit: 5, windowSeconds: DAY },
  },
});

/** The parameters of a header such as `"default";r=1;t=2`. */
function parametersOf(answer: Answer, name: string): Record<string, number> {
  const [, text = ""] = /^"default"((?:;[a-z]=\d+)+)$/.exec(answer.headers.get(name) ?? "") ?? [];
  return Object.fromEntries(text.split(";").slice(1).map((part) => [part[0] ?? "", Number(part.slice(2))]));
}

const limitOf = (answer: Answer) => ({ ...parametersOf(answer, "ratelimit-policy"), ...parametersOf(answer, "ratelimit") });
const me = (token: string) => api.send("GET", "/v1/me", { token });

test("H10: every answer has the limit, what is left of it and when it is full again, also one that is an error", async () => {
  const { id } = await api.tenant();
  const token = await api.user(id, "viewer", "headers");
  const first = await me(token);
  expect(first.status).toBe(200);
  expect(limitOf(first)).toMatchObject({ q: 40, w: DAY, r: 39, t: expect.closeTo(DAY / 40, -1) });
  const missing = await api.send("GET", "/v1/tenants/tn_none", { token });
  expectProblem(missing, 404, "not_found");
  expect(limitOf(missing)).toMatchObject({ q: 40, w: DAY, r: 38 });
  const stranger = await me(await api.signer.sign("nobody"));
  expectProblem(stranger, 403, "forbidden");
  expect(limitOf(stranger)).toMatchObject({ q: 40, r: 39 });
});

test("H10: a browser may read the headers", async () => {
  const answer = await api.send("GET", "/v1/me", { token: api.admin("read_only"), headers: { origin: "https://admin.example" } });
  const exposed = answer.headers.get("access-control-expose-headers")?.toLowerCase().split(",") ?? [];
  expect(exposed).toEqual(expect.arrayContaining(["ratelimit", "ratelimit-policy", "retry-after"]));
});

test("H10, AK11: over the limit the answer is 429 with the seconds to wait, changes nothing and is charged too", async () => {
  const { id } = await api.tenant();
  const token = await api.user(id, "owner", "over");
  const answers: Answer[] = [];
  for (let i = 0; i < 45; i++) answers.push(await me(token));
  expect(answers.map(({ status }) => status)).toEqual(answers.map((_, i) => i < 40 ? 200 : 429));
  expect(answers.slice(0, 40).map((answer) => limitOf(answer)["r"])).toEqual(Array.from({ length: 40 }, (_, i) => 39 - i));
  const denied = answers.slice(40);
  for (const [i, answer] of denied.entries()) {
    expectProblem(answer, 429, "rate_limited");
    const waitSeconds = Number(answer.headers.get("retry-after"));
    expect(limitOf(answer)).toMatchObject({ q: 40, w: DAY, r: 0, t: waitSeconds });
    expect(answer.body.retryAfterSeconds).toBe(waitSeconds);
    // The second denied call owes what the first one cost, and so on.
    expect(Math.abs(waitSeconds - (i + 2) * DAY / 40)).toBeLessThan(DAY / 40 + 30);
  }
  const entries = await api.auditCount();
  expectProblem(await api.send("PATCH", `/v1/tenants/${id}`, { token, json: { name: "No" } }), 429, "rate_limited");
  expect(await api.auditCount()).toBe(entries);
});

test("H10: a person has one bucket in each tenant, whatever token it sends, and others do not share it", async () => {
  const [one, two] = [await api.tenant(), await api.tenant()];
  const left = async (tenantId: string, subject: string) => limitOf(await me(await api.user(tenantId, "viewer", subject)))["r"];
  expect(await left(one.id, "shared")).toBe(39);
  api.clock.advance(1_000);
  expect(await left(one.id, "shared")).toBe(38);
  expect(await left(two.id, "shared")).toBe(39);
  expect(await left(one.id, "another")).toBe(39);
});

test("H10: two processes share the buckets: of 500 requests at the same time no more than the limit are answered", async () => {
  const other = await api.over(api.open.another());
  const token = await api.user((await api.tenant()).id, "viewer", "race");
  const sends = [api.send, other];
  const answers = await Promise.all(Array.from({ length: 500 }, (_, i) => sends[i % 2]?.("GET", "/v1/me", { token })));
  const statuses = answers.map((answer) => answer?.status);
  const answered = statuses.filter((status) => status === 200).length;
  expect(answered).toBeLessThanOrEqual(40);
  // Each process may take a twentieth of what is left in advance and not use it.
  expect(answered).toBeGreaterThanOrEqual(34);
  expect(statuses.filter((status) => status === 429).length).toBe(500 - answered);
});

test("H10: a new limit of a key counts from the next request on, in every process", async () => {
  const other = await api.over(api.open.another());
  const keys = api.services.ApiKeyService;
  const { id, secret: token } = await keys.generate("Throttled", ["read:plans"], { rateLimit: { limit: 50, windowSeconds: DAY } });
  const send = async () => await Promise.all([api.send, other].map((to) => to("GET", "/v1/plans", { token })));
  for (let i = 0; i < 3; i++) expect((await send()).map((answer) => [answer.status, limitOf(answer)["q"]])).toEqual([[200, 50], [200, 50]]);
  await keys.update(id, { rateLimit: { limit: 60 } });
  expect((await send()).map((answer) => limitOf(answer)["q"])).toEqual([60, 60]);
  await keys.update(id, { rateLimit: { limit: 1 } });
  const lowered = [...await send(), ...await send()];
  expect(lowered.map((answer) => limitOf(answer)["q"])).toEqual([1, 1, 1, 1]);
  expect(lowered.filter(({ status }) => status === 200).length).toBeLessThanOrEqual(1);
});

describe("an address", () => {
  const from = (address: string) => ({ "x-forwarded-for": `203.0.113.9, ${address}` });

  test("H10: that sends no valid credential has a limit, which tokens and keys that are guessed count against", async () => {
    const send = (token?: string) => api.send("GET", "/v1/me", { token, headers: from("198.51.100.1") });
    const guessed = await Promise.all([undefined, "a.b.c", "guess", undefined, "x"].map(send));
    expect(guessed.map(({ status }) => status)).toEqual([401, 401, 401, 401, 401]);
    expect(limitOf(guessed[0] as Answer)).toMatchObject({ q: 5, w: DAY });
    expectProblem(await send("guess"), 429, "rate_limited");
    // A valid credential is charged to its owner, so a neighbour behind the same address goes on.
    expect((await send(api.admin("support"))).status).toBe(200);
  });

  test("H10: that sends a revoked key, or one that it may not use, has a limit too, and does not use up that of the key", async () => {
    const keys = api.services.ApiKeyService;
    const revoked = await keys.generate("Revoked", ["read:plans"]);
    await keys.revoke(revoked.id);
    const bound = await keys.generate("Bound", ["read:plans"], { allowedIps: ["198.51.100.3"] });
    const send = ({ secret = "" }: { readonly secret?: string }, address: string) =>
      api.send("GET", "/v1/plans", { token: secret, headers: from(address) });
    expect(limitOf(await send(bound, "198.51.100.3"))).toMatchObject({ q: 1_000, r: 999 });
    for (const left of [4, 3, 2]) expect(limitOf(await send(bound, "198.51.100.4"))).toMatchObject({ q: 5, r: left });
    expect(limitOf(await send(bound, "198.51.100.3"))).toMatchObject({ q: 1_000, r: 998 });
    for (const left of [1, 0]) {
      const answer = await send(revoked, "198.51.100.4:4711");
      expectProblem(answer, 401, "key_revoked");
      expect(limitOf(answer)).toMatchObject({ q: 5, r: left });
    }
    for (const key of [revoked, bound]) expectProblem(await send(key, "198.51.100.4"), 429, "rate_limited");
  });

  test("H10: has the same limit on routes that need no credential", async () => {
    const send = (address: string) => api.send("GET", "/openapi.json", { headers: from(address) });
    for (const left of [4, 3, 2, 1, 0]) expect(limitOf(await send("2001:db8:0:1::1"))["r"]).toBe(left);
    expectProblem(await send("2001:db8:0:1:ffff::2"), 429, "rate_limited");
    expect((await send("2001:db8:0:2::1")).status).toBe(200);
  });

  test("H10: is not limited on health checks, and without an address nobody is mistaken for another", async () => {
    for (const path of ["/health", "/ready"]) {
      for (let i = 0; i < 8; i++) {
        const answer = await api.send("GET", path, { headers: from("198.51.100.2") });
        expect([answer.status, answer.headers.get("ratelimit")]).toEqual([200, null]);
      }
    }
    for (let i = 0; i < 8; i++) expect((await api.send("GET", "/openapi.json")).headers.get("ratelimit")).toBeNull();
  });

  test.each([
    ["192.0.2.1", "192.0.2.1"],
    ["2001:db8::1", "2001:db8:0:0"],
    ["2001:0DB8:0000:0000:0001::", "2001:db8:0:0"],
    ["2001:db8:1:2:3:4:5:6", "2001:db8:1:2"],
    ["::1", "0:0:0:0"],
    ["::ffff:192.0.2.1", "::ffff:c000:201"],
    ["12:34", "12:34"],
  ])("H10: %s counts as %s", (address, network) => expect(networkOf(address)).toBe(network));
});

test("H10: one variable turns the limits off, and one for each kind of caller sets its limit", () => {
  const base = {
    DATABASE_URL: "postgres://localhost/innkeep",
    INNKEEP_JWT_ISSUER: "https://auth.example",
    INNKEEP_JWT_SECRET: "s".repeat(32),
    INNKEEP_ROOT_KEY: ROOT_KEY_TEXT,
  };
  const limitsOf = (env: Record<string, string>) => loadConfig({ ...base, ...env }).rateLimits;
  expect(limitsOf({})).toEqual({
    user: { limit: 1_200, windowSeconds: 60 },
    key: { limit: 6_000, windowSeconds: 60 },
    address: { limit: 600, windowSeconds: 60 },
  });
  expect(limitsOf({ INNKEEP_RATE_LIMITS: "off", INNKEEP_RATE_LIMIT_USER: "5/1" })).toBeNull();
  const set = limitsOf({ INNKEEP_RATE_LIMITS: "on", INNKEEP_RATE_LIMIT_USER: " 5/1 ", INNKEEP_RATE_LIMIT_ADDRESS: "9999999/86400" });
  expect([set?.user, set?.address]).toEqual([{ limit: 5, windowSeconds: 1 }, { limit: 9_999_999, windowSeconds: 86_400 }]);
  for (const wrong of ["600", "0/60", "600/0", "1/86401", "10000000/60", "-1/60", "6e2/60"]) {
    expect(() => limitsOf({ INNKEEP_RATE_LIMIT_KEY: wrong })).toThrow(expect.objectContaining({
      fields: [expect.objectContaining({ path: "INNKEEP_RATE_LIMIT_KEY" })],
    }));
  }
});
