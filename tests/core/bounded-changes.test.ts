import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { z } from "zod";
import { bounded, diff } from "../../shared/core/redaction.ts";
import { findUnstorable } from "../../shared/kernel/json.ts";
import type { JsonObject, JsonValue } from "../../shared/kernel/json.ts";
import { defineEntity } from "../../shared/kv/define.ts";
import { encodeCommit } from "../../shared/kv/mutation.ts";
import { seededRandom } from "../support/random.ts";

const KIB = 1_024;
const box = defineEntity({
  name: "box",
  summary: "A record that holds anything, declared for this test.",
  key: "box:{id}",
  schema: z.looseObject({ id: z.string() }),
  owner: "platform",
  example: { id: "box_1" },
});

/** The bytes of a value as jsonb text, in which PostgreSQL writes numbers such as 5e-324 in full. */
function bytesOf(value: unknown): number {
  const text = JSON.stringify(value, (_, item: unknown) => {
    if (typeof item !== "number" || !String(item).includes("e-")) return item;
    const [mantissa = "", exponent = "0"] = String(item).split("e-");
    return "0".repeat(Number(exponent) + mantissa.replace("-", "").length);
  });
  return new TextEncoder().encode(text).length;
}

function levelsOf(value: unknown): number {
  if (typeof value !== "object" || value === null) return 0;
  return 1 + Math.max(0, ...Object.values(value).map(levelsOf));
}

const isStorable = (value: JsonValue): boolean => {
  try {
    encodeCommit([], [{ op: "set", key: "box:box_1", value }], null, 0);
    return true;
  } catch {
    return false;
  }
};

const UNITS = ["x", "\u0001", "ü", "😀", '"', "\\", "\u2028", "\u007f"] as const;
const longText = fc.tuple(fc.constantFrom(...UNITS), fc.oneof(fc.nat({ max: 300 }), fc.nat({ max: 200_000 })))
  .map(([unit, count]) => unit.repeat(Math.floor(count / unit.length)));
const number = fc.oneof(fc.constantFrom(5e-324, -1.5e-7, 0.1, 9_007_199_254_740_991), fc.integer());
const small = fc.oneof(fc.constant(null), fc.boolean(), number, fc.string({ unit: "grapheme" }));
const scalar = fc.oneof(small, longText);
const list = fc.tuple(small, fc.nat({ max: 20_000 })).map(([item, count]): JsonValue => Array<JsonValue>(count).fill(item));
const many = fc.tuple(fc.nat({ max: 24_000 }), number).map(([count, value]): JsonValue =>
  Object.fromEntries(Array.from({ length: count }, (_, i) => [`k${i.toString(36)}`, value]))
);
const deep = fc.tuple(fc.integer({ min: 1, max: 63 }), fc.boolean(), scalar).map(([levels, isList, leaf]): JsonValue => {
  let value: JsonValue = leaf;
  for (let i = 0; i < levels; i++) value = isList ? [value] : { a: value };
  return value;
});
const anyValue = fc.oneof(scalar, list, many, deep, fc.jsonValue().map((value) => value as JsonValue));
const name = fc.oneof({ weight: 9, arbitrary: fc.string({ unit: "grapheme", maxLength: 12 }) }, { weight: 1, arbitrary: longText });
const record = fc.oneof(
  fc.dictionary(name, anyValue, { maxKeys: 12 }),
  fc.dictionary(name, fc.dictionary(name, anyValue, { maxKeys: 6 }), { maxKeys: 6 }),
  many,
).map((members): JsonObject => ({ ...members as JsonObject, id: "box_1" })).filter(isStorable);

describe("the changes of an audit entry", () => {
  test("A04: whatever the record before and after, both sides fit an entry", () => {
    fc.assert(
      fc.property(record, record, (before, after) => {
        for (const changes of [diff(box, before, after), diff(box, before, null), diff(box, null, after)]) {
          expect(bytesOf(changes ?? {})).toBeLessThanOrEqual(128 * KIB);
          expect(levelsOf(changes ?? {})).toBeLessThanOrEqual(60);
          expect(findUnstorable({ entry: changes ?? {} })).toBeNull();
        }
      }),
      { seed: seededRandom("changes").seed, numRuns: 12 },
    );
  });

  test("A04: values of up to 8 KiB and 50 levels are shown as they are", () => {
    const short = fc.dictionary(fc.string({ unit: "grapheme" }), fc.oneof(small, deep, fc.jsonValue().map((value) => value as JsonValue)))
      .filter((side) => bytesOf(side) <= 8 * KIB && levelsOf(side) <= 50);
    fc.assert(fc.property(short, (side) => void expect(bounded(side)).toEqual(side)), {
      seed: seededRandom("short changes").seed,
      numRuns: 200,
    });
  });

  test("A04: a long value is replaced by its size, and the others are unchanged", () => {
    const side = { id: "box_1", notes: "ü".repeat(6_171), count: 3, settings: { locale: "de", css: "\u0001".repeat(2_000) } };
    expect(bounded(side)).toEqual({
      id: "box_1",
      notes: "[omitted: 12344 bytes]",
      count: 3,
      settings: { locale: "de", css: "[omitted: 12002 bytes]" },
    });
  });

  test("A04: the limit of one value is 8 KiB, counted as the store counts", () => {
    for (const [unit, bytes] of [["x", 1], ["ü", 2], ["😀", 4], ["\u0001", 6], ['"', 2], ["\n", 2]] as const) {
      const text = unit.repeat(Math.floor((8_192 - 2) / bytes));
      expect(bounded({ text }), unit).toEqual({ text });
      expect(bounded({ text: text + unit.repeat(3) }), unit).toEqual({ text: `[omitted: ${bytesOf(text) + 3 * bytes} bytes]` });
    }
    expect(bounded({ list: Array<number>(25).fill(5e-324) })).toEqual({ list: Array<number>(25).fill(5e-324) });
    expect(bounded({ list: Array<number>(26).fill(5e-324) })).toEqual({ list: "[omitted: 8503 bytes]" });
  });

  test("A04: a value that is nested too deep is replaced by its size, and its siblings are unchanged", () => {
    const nested = (levels: number): JsonValue => levels === 0 ? "leaf" : { a: nested(levels - 1) };
    const fine = { id: "box_1", metadata: { tree: nested(54), note: "kept" } };
    expect(bounded(fine)).toEqual(fine);
    const bytes = bytesOf(nested(55));
    const omitted = `[omitted: ${bytes - 6} bytes]`;
    expect(bounded({ ...fine, metadata: { tree: nested(55), note: "kept" } })).toEqual({
      id: "box_1",
      metadata: { tree: { a: omitted }, note: "kept" },
    });
  });

  test("A04: if many values are long, each is shortened before any is omitted", () => {
    const side = Object.fromEntries(Array.from({ length: 20 }, (_, i) => [`text${i}`, "x".repeat(i === 0 ? 100 : 4_000)]));
    const cut = bounded(side);
    expect(Object.keys(cut)).toEqual(Object.keys(side));
    expect(cut).toMatchObject({ text0: side["text0"], text1: "[omitted: 4002 bytes]", text19: "[omitted: 4002 bytes]" });
  });

  test("A04: of 100,000 members as many as fit are shown, and the others counted", () => {
    const side = Object.fromEntries(Array.from({ length: 100_000 }, (_, i) => [`member${i}`, i]));
    const cut = bounded(side);
    expect(bytesOf(cut)).toBeLessThanOrEqual(60 * KIB);
    const shown = Object.keys(cut).length - 1;
    expect(shown).toBeGreaterThan(2_500);
    expect(cut["[omitted]"]).toMatch(new RegExp(`^\\[omitted: ${100_000 - shown} members, \\d{7} bytes\\]$`));
    expect(bounded({ id: "box_1", metadata: side })).toMatchObject({
      id: "box_1",
      metadata: expect.stringMatching(/^\[omitted: \d+ bytes\]$/),
    });
  });

  test("A04: a member whose name is too long is counted, and those after it are shown", () => {
    const cut = bounded({ first: 1, ["n".repeat(70_000)]: 2, last: 3 });
    expect(cut).toEqual({ first: 1, last: 3, "[omitted]": "[omitted: 1 members, 70005 bytes]" });
  });

  test("A04: the cost grows with the size of a value, not with its depth", () => {
    const chain = (levels: number): JsonValue => {
      let value: JsonValue = "x".repeat(200_000);
      for (let i = 1; i < levels; i++) value = { a: value };
      return value;
    };
    const msOf = (value: JsonValue) => {
      const startedMs = performance.now();
      for (let i = 0; i < 40; i++) bounded({ value });
      return performance.now() - startedMs;
    };
    msOf(chain(60));
    const [flat, nested] = [msOf(chain(1)), msOf(chain(60))];
    expect(nested).toBeLessThan(flat * 5 + 50);
  });
});
