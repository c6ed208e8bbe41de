import { describe, expect, test } from "vitest";
import { expectProblem, useApi } from "../../http/support/api.ts";

const api = useApi();
let made = 0;
const admin = () => api.admin("admin");
const body = (fields: object = {}) => ({ key: `of-http-${++made}`, name: "Flag", status: "enabled", ...fields });
async function create(fields: object = {}) {
  const answer = await api.send("POST", "/v1/flags", { token: admin(), json: body(fields) });
  expect(answer.status, answer.text).toBe(201);
  return answer.body as { id: string; key: string };
}
const rule = (condition: object, fields: object = {}) => ({
  rules: [{ id: "r", when: [{ attribute: "a", operator: "in", values: ["x"], ...condition }], ...fields }],
});

describe("POST and PATCH /v1/flags", () => {
  test.each<[string, object, string, string?]>([
    ["a key with a capital", { key: "Late" }, "/key"],
    ["a key of dots", { key: ".." }, "/key"],
    ["a key with a space", { key: "a b" }, "/key"],
    ["a long key", { key: "x".repeat(101) }, "/key"],
    ["an unknown scope", { scope: "planet" }, "/scope"],
    ["an unknown status", { status: "on" }, "/status"],
    ["an unknown type", { type: "integer" }, "/type"],
    ["an unknown plan", { scope: "plan", enabledForPlans: ["Gold"] }, "/enabledForPlans/0", "unknown_plan"],
    ["a variant of another type", { type: "number", variants: { a: 1, b: "2" }, onVariant: "a" }, "/variants/b", "type_mismatch"],
    ["a text as JSON", { type: "json", variants: { a: "text" }, onVariant: "a" }, "/variants/a", "type_mismatch"],
    ["a boolean flag with a text", { variants: { blue: "#00f" } }, "/variants/blue", "type_mismatch"],
    ["an onVariant that is not declared", { onVariant: "blue" }, "/onVariant", "unknown_variant"],
    ["an inherited name as offVariant", { offVariant: "constructor" }, "/offVariant", "unknown_variant"],
    ["no onVariant of a string flag", { type: "string", variants: { a: "x" } }, "/onVariant", "required"],
    ["weights that sum to 99.99", { weights: { on: 50, off: 49.99 } }, "/weights"],
    ["weights of an unknown variant", { weights: { on: 50, blue: 50 } }, "/weights/blue", "unknown_variant"],
    ["a weight with 3 decimals", { weights: { on: 50.005, off: 49.995 } }, "/weights/on"],
    ["a variant with a space", { variants: { "a b": true } }, "/variants/a b"],
    ["a variant named __proto__", JSON.parse('{"variants":{"__proto__":true}}') as object, "/variants/__proto__"],
    ["a percentage of 101", { rolloutPercentage: 101 }, "/rolloutPercentage"],
    ["a percentage with 3 decimals", { rolloutPercentage: 0.001 }, "/rolloutPercentage"],
    ["an unknown operator", rule({ operator: "matches" }), "/rules/0/when/0/operator"],
    ["no values", rule({ values: [] }), "/rules/0/when/0/values"],
    ["201 values", rule({ values: Array.from({ length: 201 }, () => "x") }), "/rules/0/when/0/values"],
    ["a value of 201 characters", rule({ values: ["x".repeat(201)] }), "/rules/0/when/0/values/0"],
    ["a text for gt", rule({ operator: "gt", values: ["5"] }), "/rules/0/when/0/values/0"],
    ["a version that is none", rule({ operator: "semverGt", values: ["1.x"] }), "/rules/0/when/0/values/0"],
    ["a misspelled member of a rule", rule({}, { variants: "on" }), "/rules/0/variants", "unknown_field"],
    ["an unknown variant of a rule", rule({}, { variant: "blue" }), "/rules/0/variant", "unknown_variant"],
    ["a rollout of a rule that says off", rule({}, { enabled: false, rolloutPercentage: 5 }), "/rules/0/rolloutPercentage"],
    ["two rules with one id", { rules: [{ id: "r", when: [] }, { id: "r", when: [] }] }, "/rules/1/id", "not_unique"],
    ["101 rules", { rules: Array.from({ length: 101 }, (_, n) => ({ id: `r${n}`, when: [] })) }, "/rules"],
    [
      "21 conditions",
      { rules: [{ id: "r", when: Array.from({ length: 21 }, () => ({ attribute: "a", operator: "in", values: [1] })) }] },
      "/rules/0/when",
    ],
  ])("F12: refuse %s with a pointer", async (_, fields, path, code) => {
    const answer = await api.send("POST", "/v1/flags", { token: admin(), json: body(fields) });
    expectProblem(answer, 422, "validation_failed");
    expect(answer.body.errors).toContainEqual(expect.objectContaining({ path, ...(code ? { code } : {}) }));
    if (["/key", "/type"].includes(path)) return;
    const { id } = await create(
      "type" in fields
        ? { type: fields.type, variants: { z: { string: "z", number: 1, json: {} }[String(fields.type)] }, onVariant: "z" }
        : {},
    );
    const { type: _type, ...patch } = fields as Readonly<Record<string, unknown>>;
    const changed = await api.send("PATCH", `/v1/flags/${id}`, {
      token: admin(),
      json: path === "/onVariant" && code === "required" ? { onVariant: null } : patch,
    });
    expectProblem(changed, 422, "validation_failed");
    expect(changed.body.errors).toContainEqual(expect.objectContaining({ path }));
  });

  test("F12: refuse a flag of more than 100 kB, although each of its rules is allowed", async () => {
    const rules = Array.from({ length: 100 }, (_, n) => ({
      id: `r${n}`,
      when: [{ attribute: "a", operator: "in", values: Array.from({ length: 10 }, (_, i) => `${n}-${i}-`.padEnd(100, "x")) }],
    }));
    const answer = await api.send("POST", "/v1/flags", { token: admin(), json: body({ rules }) });
    expectProblem(answer, 413, "payload_too_large");
    expect(answer.body.limit).toBe(100_000);
    const { id } = await create({ rules: rules.slice(0, 70) });
    expectProblem(await api.send("PATCH", `/v1/flags/${id}`, { token: admin(), json: { rules } }), 413, "payload_too_large");
  });

  test("F01: a key in use and a key that was used are two conflicts, and reuseKey resolves the second", async () => {
    const { id, key } = await create();
    const again = (fields = {}) => api.send("POST", "/v1/flags", { token: admin(), json: body({ key, ...fields }) });
    expectProblem(await again(), 409, "flag_key_taken");
    expect((await api.send("DELETE", `/v1/flags/${id}`, { token: admin() })).status).toBe(204);
    expectProblem(await again(), 409, "flag_key_reserved");
    const made = await again({ reuseKey: true });
    expect([made.status, made.body.reuseKey]).toEqual([201, undefined]);
  });
});

describe("overrides", () => {
  test("F04: PUT creates with 201 and replaces with 200, by short id or full key, and the list names the tenants", async () => {
    const { id: tenantId } = await api.tenant();
    const { id } = await create({ rolloutPercentage: 0 });
    const place = `/v1/tenants/${tenantId}/flags/${id}`;
    const put = await api.send("PUT", place, { token: admin(), json: { enabled: true, reason: "Asked." } });
    expect([put.status, put.headers.get("location")]).toEqual([201, place]);
    const again = await api.send("PUT", `/v1/tenants/tenant:${tenantId}/flags/flag:${id}`, { token: admin(), json: { enabled: true } });
    expect([again.status, again.body.reason]).toEqual([200, undefined]);
    const listed = await api.send("GET", `/v1/flags/${id}/overrides`, { token: admin() });
    expect(listed.body.data).toMatchObject([{ tenantId, enabled: true }]);
    expectProblem(
      await api.send("PUT", place, { token: admin(), json: { enabled: true, expiresAt: api.clock.iso() } }),
      422,
      "validation_failed",
    );
    expectProblem(
      await api.send("PUT", `/v1/tenants/${tenantId}/flags/ff_none`, { token: admin(), json: { enabled: true } }),
      404,
      "not_found",
    );
    expect((await api.send("DELETE", place, { token: admin() })).status).toBe(204);
    expectProblem(await api.send("DELETE", place, { token: admin() }), 404, "not_found");
  });
});

describe("evaluation", () => {
  test("F16: one flag by id or key, with the value, the reason and the rule, and explain with every step", async () => {
    const { id: tenantId } = await api.tenant();
    const { id, key } = await create({ ...rule({ attribute: "userId", values: ["u1"] }), rolloutPercentage: 0 });
    const json = { context: { userId: "u1", nested: { ignored: true } } };
    for (const name of [id, key, `flag:${id}`]) {
      const answer = await api.send("POST", `/v1/tenants/${tenantId}/flags/${name}/evaluate`, { token: admin(), json });
      expect(answer.body).toEqual({
        ...{ key, flagId: id, type: "boolean", enabled: true, value: true, variant: "on", reason: "TARGETING_MATCH", ruleId: "r" },
      });
    }
    const without = await api.send("POST", `/v1/tenants/${tenantId}/flags/${id}/evaluate`, { token: admin() });
    expect(without.body).toMatchObject({ enabled: false, value: false, reason: "SPLIT" });
    const explained = await api.send("POST", `/v1/tenants/${tenantId}/flags/${id}/explain`, { token: admin() });
    expect(explained.body.steps.map((step: { outcome: string }) => step.outcome)).toEqual([
      ...Array(7).fill("passed"),
      "decided",
      "not_reached",
    ]);
    expect(explained.body.steps[6].detail).toBe("rule r does not match: userId in");
    const many = Object.fromEntries(Array.from({ length: 101 }, (_, n) => [`a${n}`, n]));
    expectProblem(
      await api.send("POST", `/v1/tenants/${tenantId}/flags/${id}/evaluate`, { token: admin(), json: { context: many } }),
      422,
      "validation_failed",
    );
    expectProblem(await api.send("POST", `/v1/tenants/${tenantId}/flags/none/evaluate`, { token: admin() }), 404, "not_found");
  });

  test("F15: all flags have an ETag, which answers 304 until a flag changes", async () => {
    const { id: tenantId } = await api.tenant();
    const { id } = await create();
    const get = (tag = "") => api.send("GET", `/v1/tenants/${tenantId}/flags`, { token: admin(), headers: { "if-none-match": tag } });
    const first = await get('"none"');
    const tag = first.headers.get("etag") ?? "";
    expect([first.status, tag]).toEqual([200, `"${first.body.version}"`]);
    expect((await get(tag)).status).toBe(304);
    await api.send("PATCH", `/v1/flags/${id}`, { token: admin(), json: { status: "disabled" } });
    expect((await get(tag)).status).toBe(200);
  });

  test("F24: a tenant's users see no server-only flag, rule, list or other tenant's name, on any route", async () => {
    const [own, other] = [await api.tenant(), await api.tenant()];
    const shown = await create({ ...rule({ attribute: "tenantId", values: [own.id] }), enabledForTenants: [other.id] });
    const hidden = await create({ serverOnly: true, enabledForTenants: [own.id] });
    for (const role of ["viewer", "owner"] as const) {
      const token = await api.user(own.id, role);
      const list = await api.send("GET", `/v1/tenants/${own.id}/flags`, { token });
      const keys = list.body.data.map(({ key }: { key: string }) => key);
      expect([keys.includes(shown.key), keys.includes(hidden.key)]).toEqual([true, false]);
      const one = await api.send("POST", `/v1/tenants/${own.id}/flags/${shown.key}/evaluate`, { token });
      expect(one.body).toEqual({
        key: shown.key,
        flagId: shown.id,
        type: "boolean",
        enabled: true,
        value: true,
        variant: "on",
        reason: "TARGETING_MATCH",
      });
      for (const text of [list.text, one.text]) {
        for (const secret of [other.id, hidden.id, "ruleId", "rules"]) expect(text).not.toContain(secret);
      }
      expectProblem(await api.send("POST", `/v1/tenants/${own.id}/flags/${hidden.key}/evaluate`, { token }), 404, "not_found");
      const refused: [string, string][] = [
        ...[["GET", "/v1/flags"], ["GET", `/v1/flags/${shown.id}`], ["GET", `/v1/flags/${shown.id}/overrides`]] as [string, string][],
        ...[["DELETE", `/v1/flags/${shown.id}`], ["DELETE", `/v1/tenants/${own.id}/flags/${shown.id}`]] as [string, string][],
        ["POST", `/v1/tenants/${own.id}/flags/${shown.id}/explain`],
      ];
      for (const [method, path] of refused) expect((await api.send(method, path, { token })).status, `${method} ${path}`).toBe(403);
    }
  });
});
