import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { changedFields, mergePatch } from "../../shared/core/merge-patch.ts";
import { seededRandom } from "../support/random.ts";

/** RFC 7396, appendix A, in its order. */
const RFC_EXAMPLES = [
  ['{"a":"b"}', '{"a":"c"}', '{"a":"c"}'],
  ['{"a":"b"}', '{"b":"c"}', '{"a":"b","b":"c"}'],
  ['{"a":"b"}', '{"a":null}', "{}"],
  ['{"a":"b","b":"c"}', '{"a":null}', '{"b":"c"}'],
  ['{"a":["b"]}', '{"a":"c"}', '{"a":"c"}'],
  ['{"a":"c"}', '{"a":["b"]}', '{"a":["b"]}'],
  ['{"a":{"b":"c"}}', '{"a":{"b":"d","c":null}}', '{"a":{"b":"d"}}'],
  ['{"a":[{"b":"c"}]}', '{"a":[1]}', '{"a":[1]}'],
  ['["a","b"]', '["c","d"]', '["c","d"]'],
  ['{"a":"b"}', '["c"]', '["c"]'],
  ['{"a":"foo"}', "null", "null"],
  ['{"a":"foo"}', '"bar"', '"bar"'],
  ['{"e":null}', '{"a":1}', '{"e":null,"a":1}'],
  ["[1,2]", '{"a":"b","c":null}', '{"a":"b"}'],
  ["{}", '{"a":{"bb":{"ccc":null}}}', '{"a":{"bb":{}}}'],
] as const;

/** Objects as JSON.parse returns them, also with the members `__proto__` and `constructor`. */
const json = fc.json({ maxDepth: 4 }).map((text) => JSON.parse(text) as unknown);
const name = fc.oneof(fc.constantFrom("a", "b", "c", "__proto__", "constructor", "toString"), fc.string({ maxLength: 3 }));
const members = fc.array(fc.tuple(name, fc.oneof(json, fc.array(fc.tuple(name, json), { maxLength: 4 }).map(Object.fromEntries))), {
  maxLength: 6,
})
  .map((entries) => Object.fromEntries(entries) as Record<string, unknown>);

describe("merge patch", () => {
  test.each(RFC_EXAMPLES)("H06: %s patched with %s is %s (RFC 7396, appendix A)", (target, patch, result) => {
    expect(mergePatch(JSON.parse(target) as unknown, JSON.parse(patch))).toEqual(JSON.parse(result));
  });

  test("H06: a patch sets what it names, clears what it nulls, leaves the rest, changes neither argument and is idempotent", () => {
    const { seed } = seededRandom("merge patch");
    fc.assert(
      fc.property(members, members, (target, patch) => {
        const before = JSON.stringify([target, patch]);
        const result = mergePatch(target, patch);
        expect(JSON.stringify([target, patch])).toBe(before);
        for (const [member, change] of Object.entries(patch)) {
          expect(Object.hasOwn(result, member)).toBe(change !== null);
          if (typeof change !== "object") expect(result[member]).toBe(change);
        }
        for (const [member, value] of Object.entries(target)) {
          if (!Object.hasOwn(patch, member)) expect(Object.getOwnPropertyDescriptor(result, member)?.value).toBe(value);
        }
        expect(Object.keys(result).every((member) => Object.hasOwn(patch, member) || Object.hasOwn(target, member))).toBe(true);
        expect(JSON.stringify(mergePatch(result, patch))).toBe(JSON.stringify(result));
        expect(Object.getPrototypeOf(result)).toBe(Object.prototype);
      }),
      { seed, numRuns: 3_000 },
    );
    expect(({} as Record<string, unknown>)["polluted"]).toBeUndefined();
  });

  test("H06: a member called __proto__ stays data at every depth and reaches no prototype", () => {
    const patch = JSON.parse(
      '{"__proto__":{"polluted":1},"settings":{"__proto__":{"polluted":1},"constructor":{"prototype":{"polluted":1}}}}',
    ) as Record<string, Record<string, unknown>>;
    const result = mergePatch({ settings: { theme: "dark" } }, patch);
    expect(({} as Record<string, unknown>)["polluted"]).toBeUndefined();
    expect(result["polluted"]).toBeUndefined();
    expect(JSON.parse(JSON.stringify(result))).toEqual({ ...patch, settings: { theme: "dark", ...patch["settings"] } });
  });

  test("H06: a member that is undefined, which JSON does not have, changes nothing", () => {
    expect(mergePatch({ a: 1 }, { a: undefined, b: undefined })).toEqual({ a: 1 });
  });
});

describe("changed fields", () => {
  test.each([
    ["a changed, an added and a removed field", { a: 1, b: 2, c: 3 }, { a: 1, b: 5, d: 4 }, { b: 2, c: 3 }, { b: 5, d: 4 }],
    ["a nested change, whole", { s: { x: 1, y: 2 } }, { s: { x: 1, y: 3 } }, { s: { x: 1, y: 2 } }, { s: { x: 1, y: 3 } }],
    ["a list in another order", { l: [1, 2] }, { l: [2, 1] }, { l: [1, 2] }, { l: [2, 1] }],
    ["null and absent, which differ", { a: null }, {}, { a: null }, {}],
  ])("A04: a diff names %s", (_what, before, after, was, is) => {
    expect(changedFields(before, after)).toEqual({ before: was, after: is });
  });

  test.each([
    ["members in another order", { s: { x: 1, y: 2 } }, { s: { y: 2, x: 1 } }],
    ["undefined and absent", { a: undefined }, {}],
    ["version and times of update", { version: "1", updatedAt: "2026-01-01T00:00:00.000Z", updated: "2026-01-01" }, {
      version: "2",
      updatedAt: "2026-01-02T00:00:00.000Z",
      updated: "2026-01-02",
    }],
  ])("A04: a diff does not name %s", (_what, before, after) => {
    expect(changedFields(before, after)).toEqual({ before: {}, after: {} });
  });

  test("A04: a member that is undefined on one side is absent there", () => {
    expect(changedFields({ a: undefined, b: 1 }, { a: 1, b: undefined })).toStrictEqual({ before: { b: 1 }, after: { a: 1 } });
  });

  test("A04: a member with the identical value is not serialized for the comparison", () => {
    const value = {
      toJSON: () => {
        throw new Error("was written out");
      },
    };
    expect(changedFields({ value }, { value })).toEqual({ before: {}, after: {} });
  });
});
