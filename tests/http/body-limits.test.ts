import { describe, expect, test } from "vitest";
import { assertJsonLimits, MAX_VALUES } from "../../functions/api/json-limits.ts";
import { isInnkeepError } from "../../shared/kernel/errors.ts";
import { findUnstorable, MAX_DEPTH } from "../../shared/kernel/json.ts";
import { expectProblem, useApi } from "./support/api.ts";
import { invalidBody, pathOf } from "./support/samples.ts";

const api = useApi();
const MIB = 1024 * 1024;
const send = (method: string, path: string, raw: string) =>
  api.send(method, path, { token: api.admin("super_admin"), raw, headers: { "content-type": "application/json" } });
const post = (raw: string) => send("POST", "/v1/tenants", raw);
const nested = (levels: number, inside = "1") => "[".repeat(levels) + inside + "]".repeat(levels);
const inMetadata = (value: string) => `{"metadata":{"a":${value}}}`;

function codeOf(text: string): string | null {
  try {
    assertJsonLimits(new TextEncoder().encode(text));
    return null;
  } catch (error) {
    if (isInnkeepError(error, "validation_failed")) return error.fields[0]?.code ?? "";
    throw error;
  }
}

describe("the limits of a body", () => {
  test("H22: are 64 levels and 20,000 members and elements", () => {
    expect([MAX_DEPTH, MAX_VALUES]).toEqual([64, 20_000]);
    expect([codeOf(nested(64)), codeOf(nested(65))]).toEqual([null, "too_deep"]);
    expect([codeOf('{"a":'.repeat(64) + "1" + "}".repeat(64)), codeOf('{"a":'.repeat(65))]).toEqual([null, "too_deep"]);
    const list = (count: number) => `[${Array(count).fill("1").join(",")}]`;
    // The list counts as one more value, and so does its first place.
    expect([codeOf(list(MAX_VALUES - 1)), codeOf(list(MAX_VALUES))]).toEqual([null, "too_many_values"]);
    expect(codeOf(`[${Array(MAX_VALUES / 2).fill("[]").join(",")}]`)).toBe("too_many_values");
    expect(codeOf(`{${Array(MAX_VALUES).fill('"a":1').join(",")}}`)).toBe("too_many_values");
  });

  test("H22: ignore the contents of strings, with escapes, quotes and non-ASCII characters", () => {
    for (const text of ["[".repeat(1_000), ",".repeat(50_000), '"[,{'.repeat(9_000), "\\".repeat(9_000), "🏨,[é".repeat(9_000), '\\"[,']) {
      expect(codeOf(JSON.stringify({ name: text, [text]: text }))).toBeNull();
    }
    expect(codeOf(`["\\\\",${nested(65)}]`)).toBe("too_deep");
    expect(codeOf('{"a":"never closed [[[[')).toBeNull();
    expect(codeOf("")).toBeNull();
    expect(codeOf(nested(60) + nested(60))).toBeNull();
  });

  test("H22: are checked before parsing, on every route that can receive a body", async () => {
    const { id } = await api.tenant();
    const deep = `{"a":\u0000${"[".repeat(MIB - 10)}`;
    const wide = `{"a":\u0000[${"1,".repeat(MIB / 2 - 10)}`;
    for (const route of api.routes.filter(({ method }) => method !== "GET" && method !== "DELETE")) {
      for (const [body, code, limit] of [[deep, "too_deep", MAX_DEPTH], [wide, "too_many_values", MAX_VALUES]] as const) {
        const answer = await send(route.method, pathOf(route, { tenantId: id }), body);
        expectProblem(answer, ...invalidBody(route));
        expect(answer.body).toMatchObject({ limit, errors: [{ path: "", code }] });
        expect(answer.body.detail).toContain(String(limit));
      }
    }
  });

  test("H22: apply after a U+0000, a lone surrogate and a forbidden name, without a stack overflow", async () => {
    for (const first of ['"\\u0000"', '"\\ud800"', '{"__proto__":1}', "9007199254740993"]) {
      for (const levels of [65, 20_000]) {
        const answer = await post(`{"name":${first},"metadata":{"a":${nested(levels)}}}`);
        expectProblem(answer, 422, "validation_failed");
        expect(answer.body.errors).toMatchObject([{ code: "too_deep" }]);
      }
    }
    expect(api.logs.filter(({ level }) => level === "error")).toEqual([]);
  });

  test("H22: apply to library callers as well", () => {
    const deep = JSON.parse(nested(20_000)) as unknown;
    for (const first of ["\u0000", "\ud800", 2 ** 53, "fine"]) expect(findUnstorable([first, deep])?.code).toBe("too_deep");
    expect(findUnstorable({ a: ["\u0000"], b: [1, Infinity] })).toMatchObject({ path: "/b/1", code: "not_finite" });
    expect(findUnstorable({ a: [{ "x/y": "\u0000" }] }, "/at")).toMatchObject({ path: "/at/a/0/x~1y", code: "null_character" });
  });
});

describe("a hostile body of 1 MiB within the limits", () => {
  const some = (count: number, part: (i: number) => string) => Array.from({ length: count }, (_, i) => part(i)).join(",");
  const bodies: Readonly<Record<string, string>> = {
    "unknown members": `{${some(19_000, (i) => `"${"k".repeat(40)}${i}":1`)}}`,
    "numbers beyond a double": inMetadata(`[${some(19_000, () => "1e400")}]`),
    "numbers beyond a double, deep": inMetadata(nested(60, some(19_000, () => "1e400"))),
    "members with too long names": `{"metadata":{${some(8_000, (i) => `"${"k".repeat(110)}${i}":1`)}}}`,
    "one name of slashes": `{"metadata":{"${"/".repeat(MIB - 40)}":"\\u0000"}}`,
    "long names on every level": inMetadata(
      `{"${"~".repeat(15_000)}":`.repeat(60) + `[${some(9_000, () => "1")},"\\u0000"]` + "}".repeat(60),
    ),
    "__proto__ on every level": `${'{"__proto__":'.repeat(64)}1${"}".repeat(64)}`,
    "__proto__ in every element": inMetadata(`[${some(9_000, () => '{"__proto__":1}')}]`),
    "one name given again and again": `{${some(19_000, () => '"name":1')}}`,
    "a wrong value in every element": `{"permissions":[${some(19_000, () => "1")}]}`,
    "escapes": `{"name":"${"\\u0041".repeat(MIB / 6 - 10)}"}`,
    "a number of a million digits": `{"mrr":${"9".repeat(MIB - 20)}}`,
    "an address without an end": `{"owner":"${"a.".repeat(MIB / 2 - 80)}@x","branding":{"logoUrl":"http://["}}`,
  };

  test.each(Object.keys(bodies))("H23: %s: gets at most 100 errors with short paths, in a short response", async (name) => {
    const token = api.admin("super_admin");
    const { id } = await api.tenant();
    for (
      const [method, path] of [["POST", "/v1/tenants"], ["POST", "/v1/admins"], ["POST", "/v1/plans"], [
        "POST",
        `/v1/tenants/${id}/unsuspend`,
      ]]
    ) {
      const answer = await send(method ?? "", path ?? "", bodies[name] ?? "");
      expectProblem(answer, 422, "validation_failed");
      expect(answer.body.errors.length).toBeLessThanOrEqual(100);
      expect(Math.max(...answer.body.errors.map((error: { path: string }) => error.path.length))).toBeLessThanOrEqual(300);
      expect(answer.text.length).toBeLessThan(100_000);
    }
    expect((await api.send("GET", `/v1/tenants/${id}`, { token })).status).toBe(200);
  });

  test("H23: a query string over 32 KiB is refused before it is parsed", async () => {
    const token = api.admin("super_admin");
    for (const query of ["a=1&".repeat(9_000), `search=${"x".repeat(40_000)}`, "&".repeat(40_000)]) {
      const answer = await api.send("GET", `/v1/tenants?${query}`, { token });
      expectProblem(answer, 400, "bad_request");
      expect(answer.body).toMatchObject({ limit: 32_768 });
    }
    const many = await api.send("GET", `/v1/tenants?${"a=1&".repeat(8_000)}`, { token });
    expectProblem(many, 400, "invalid_parameter");
    expect(many.body.errors).toHaveLength(100);
  });
});
