import { beforeAll, describe, expect, test } from "vitest";
import { OPENFEATURE_REASONS, REASONS } from "../../../shared/features/flags/evaluation.ts";
import { OFREP_ERRORS, stated } from "../../../shared/features/ofrep/protocol.ts";
import { errors, InnkeepError } from "../../../shared/kernel/errors.ts";
import { type Answer, expectProblem, useApi } from "../../http/support/api.ts";

const api = useApi();
const ONE = "/ofrep/v1/evaluate/flags/late-checkout";
const ALL = "/ofrep/v1/evaluate/flags";
let tenantId = "";
let platform = "";

beforeAll(async () => {
  tenantId = (await api.tenant()).id;
  platform = api.admin("read_only");
  await api.services.FeatureFlagService.create({ key: "late-checkout", name: "Late checkout", status: "enabled" });
});

const post = (path: string, token: string, json: unknown, headers = {}) => api.send("POST", path, { token, json, headers });

/** An error of the API that has the members of OFREP too. */
function expectOfrep(answer: Answer, status: number, code: string, errorCode: string, key?: string): void {
  expectProblem(answer, status, code);
  expect({ errorCode: answer.body.errorCode, key: answer.body.key }).toEqual({ errorCode, key });
  expect(answer.body.errorDetails).toBe(answer.body.detail);
}

describe("OFREP", () => {
  test("F16: states every reason in the vocabulary of OpenFeature, with its own in the metadata", () => {
    const evaluation = { key: "a", flagId: "ff_1", type: "boolean", enabled: true, value: true, variant: "on", ruleId: "r" } as const;
    for (const reason of REASONS) {
      expect(stated({ ...evaluation, reason }, true)).toEqual({
        key: "a",
        reason: OPENFEATURE_REASONS[reason],
        variant: "on",
        value: true,
        metadata: { flagId: "ff_1", enabled: true, reason, ruleId: "r" },
      });
    }
    const { metadata } = stated({ ...evaluation, reason: "TARGETING_MATCH" }, false);
    expect(metadata).toEqual({ flagId: "ff_1", enabled: true, reason: "TARGETING_MATCH" });
  });

  test("F14: omits the value of a flag without a variant, so that the program's default applies, but keeps a false one", () => {
    const base = { key: "a", flagId: "ff_1", type: "string", enabled: false, reason: "DISABLED" } as const;
    expect(stated({ ...base, value: null, variant: null }, false)).not.toHaveProperty("value");
    expect(stated({ ...base, value: false, variant: "off" }, false)).toMatchObject({ value: false, variant: "off" });
  });

  test.each([
    [errors.notFound("flag", "a"), "FLAG_NOT_FOUND", "INVALID_CONTEXT"],
    [new InnkeepError("invalid_json", "not JSON"), "PARSE_ERROR", "PARSE_ERROR"],
    [errors.validation([{ path: "/context/a", message: "m", code: "c" }]), "INVALID_CONTEXT", "INVALID_CONTEXT"],
    [errors.validation([{ path: "/other", message: "m", code: "c" }]), "PARSE_ERROR", "PARSE_ERROR"],
    [new InnkeepError("bad_request", "m", [], { errorCode: "TARGETING_KEY_MISSING" }), "TARGETING_KEY_MISSING", "TARGETING_KEY_MISSING"],
    [new InnkeepError("internal", "m"), "GENERAL", "GENERAL"],
    [new InnkeepError("store_unavailable", "m"), "GENERAL", "GENERAL"],
  ])("F14: states %s as %s for one flag and %s for all", (error, one, all) => {
    expect(OFREP_ERRORS.membersOf(error, { key: "a" })).toEqual({ key: "a", errorCode: one, errorDetails: error.message });
    expect(OFREP_ERRORS.membersOf(error, {})).toEqual({ errorCode: all, errorDetails: error.message });
  });

  test("F14: refuses an invalid body with 400, and with the errors of each field", async () => {
    for (const [path, key] of [[ONE, "late-checkout"], [ALL, undefined]] as const) {
      expectOfrep(await post(path, platform, { context: 5 }), 400, "bad_request", "INVALID_CONTEXT", key);
      expectOfrep(await post(path, platform, { context: { targetingKey: 5 } }), 400, "bad_request", "INVALID_CONTEXT", key);
      expectOfrep(await post(path, platform, []), 400, "bad_request", "PARSE_ERROR", key);
      const unknown = await post(path, platform, { context: {}, other: 1 });
      expectOfrep(unknown, 400, "bad_request", "PARSE_ERROR", key);
      expect(unknown.body.errors).toEqual([{ path: "/other", message: "is not a known field", code: "unknown_field" }]);
      const headers = { "content-type": "application/json" };
      expectOfrep(await api.send("POST", path, { token: platform, raw: "{", headers }), 400, "invalid_json", "PARSE_ERROR", key);
      for (const json of [{}, { context: {} }, { context: { targetingKey: "" } }, { context: { targetingKey: null } }]) {
        const missing = await post(path, platform, json);
        expectOfrep(missing, 400, "bad_request", "TARGETING_KEY_MISSING", key);
        expect(missing.body.errors).toMatchObject([{ path: "/context/targetingKey", code: "required" }]);
      }
    }
  });

  test("F14: refuses a caller without a credential with 401 and without the scope or tenant with 403, in both formats", async () => {
    expectOfrep(await api.send("POST", ONE, { json: {} }), 401, "unauthenticated", "GENERAL", "late-checkout");
    const other = await api.tenant();
    const two = await post(ONE, platform, { context: { targetingKey: tenantId } }, { "x-tenant-id": other.id });
    expectOfrep(two, 403, "tenant_mismatch", "GENERAL", "late-checkout");
  });

  test("T14: takes the tenant of X-Tenant-Id without a targeting key, and gives a tenant's user only its own", async () => {
    const own = { "x-tenant-id": tenantId };
    expect((await post(ONE, platform, {}, own)).body).toMatchObject({ key: "late-checkout", value: true });
    const token = await api.user(tenantId);
    const foreign = await api.tenant();
    for (const path of [ONE, ALL]) {
      const [known, unknown, malformed] = await Promise.all(
        [foreign.id, "tn_none", "a:b"].map((targetingKey) => post(path, token, { context: { targetingKey } })),
      );
      for (const answer of [known, unknown, malformed]) expectProblem(answer as Answer, 404, "not_found");
      expect(known?.text.replaceAll(foreign.id, "…").replace(/req_\w+/, "")).toBe(
        unknown?.text.replaceAll("tn_none", "…").replace(/req_\w+/, ""),
      );
    }
  });

  test("F12: compares a context of nested, numeric and hostile members as data", async () => {
    const context = {
      targetingKey: tenantId,
      deep: { a: [1, { b: null }] },
      n: 0.5,
      pattern: "(a+)+$",
      "constructor": "x",
      tenantId: "tn_x",
      text: "x".repeat(2_000),
    };
    expect((await post(ONE, platform, { context })).body).toMatchObject({ value: true });
    const long = await post(ONE, platform, { context: { ...context, text: "x".repeat(2_001) } });
    expectOfrep(long, 400, "bad_request", "INVALID_CONTEXT", "late-checkout");
    expect(long.body.errors).toMatchObject([{ path: "/context/text" }]);
    const named = await api.send("POST", ONE, {
      token: platform,
      raw: `{"context":{"targetingKey":"${tenantId}","__proto__":{"plan":"Pro"}}}`,
      headers: { "content-type": "application/json" },
    });
    expectOfrep(named, 400, "bad_request", "INVALID_CONTEXT", "late-checkout");
  });
});
