import { describe, expect, test } from "vitest";
import { type Operator, OPERATORS } from "../../../shared/features/flags/entity.ts";
import { holds, type Scalar, valuesFault } from "../../../shared/features/flags/operators.ts";

type Case = readonly [operator: Operator, attribute: Scalar | undefined, values: Scalar[], expected: boolean];

const CASES: readonly Case[] = [
  ["in", "eu", ["us", "eu"], true],
  ["in", "EU", ["eu"], false],
  ["in", 5, ["5"], true],
  ["in", true, ["true"], true],
  ["in", undefined, ["undefined"], false],
  ["notIn", "eu", ["us"], true],
  ["notIn", "eu", ["us", "eu"], false],
  ["notIn", undefined, ["us"], false],
  ["startsWith", "eu-west-1", ["us-", "eu-"], true],
  ["startsWith", "xeu-", ["eu-"], false],
  ["endsWith", "ada@aurora.example", ["@aurora.example"], true],
  ["endsWith", "ada@aurora.example.org", ["@aurora.example"], false],
  ["contains", "a.*b", [".*"], true],
  ["contains", "axxb", [".*"], false],
  ["contains", "^$", ["^$"], true],
  ["gt", 5, [4], true],
  ["gt", 5, [5], false],
  ["gt", "5.5", [5], true],
  ["gt", "", [-1], false],
  ["gt", " 9", [1], false],
  ["gt", "0x10", [1], false],
  ["gt", true, [0], false],
  ["gte", 5, [5], true],
  ["lt", -1, [0], true],
  ["lt", 0, [0], false],
  ["gte", 4.9, [5], false],
  ["lte", 0, [0], true],
  ["lte", 0.1, [0], false],
  ["before", "2026-01-31", ["2026-02-01"], true],
  ["before", "2026-02-01", ["2026-02-01"], false],
  ["before", "2026-02-01T00:30:00+01:00", ["2026-02-01"], true],
  ["before", "2026-01-31T23:59:59.999Z", ["2026-02-01T00:00:00Z"], true],
  ["before", "2026-02-30", ["2027-01-01"], false],
  ["before", "yesterday", ["2027-01-01"], false],
  ["before", 0, ["2027-01-01"], false],
  ["after", "2026-02-01T00:00:00.001Z", ["2026-02-01"], true],
  ["after", "2026-02-01", ["2026-02-01"], false],
  ["after", "2026-02-01T12:00", ["2026-01-01"], false],
  ["semverEq", "1.2.3+build.7", ["1.2.3"], true],
  ["semverEq", "1.2.3", ["1.2.4"], false],
  ["semverGt", "1.10.0", ["1.9.9"], true],
  ["semverGt", "1.0.0", ["1.0.0-rc.1"], true],
  ["semverGt", "1.0.0-alpha.10", ["1.0.0-alpha.9"], true],
  ["semverGt", "1.0.0-alpha.1", ["1.0.0-alpha"], true],
  ["semverGt", "1.0.0-alpha.beta", ["1.0.0-alpha.1"], true],
  ["semverGt", "1.0.0", ["1.0.0"], false],
  ["semverLt", "1.0.0-alpha", ["1.0.0"], true],
  ["semverLt", "1.0.0", ["1.0.0"], false],
  ["semverLt", "1.0", ["2.0.0"], false],
  ["semverLt", "banana", ["2.0.0"], false],
];

describe("operators", () => {
  test.each(CASES)("F12: %s of %j with %j is %j", (operator, attribute, values, expected) => {
    expect(holds({ operator, values }, attribute)).toBe(expected);
  });

  test("F12: the cases have every operator, with both outcomes", () => {
    for (const expected of [true, false]) {
      expect(new Set(CASES.filter((one) => one[3] === expected).map(([operator]) => operator)), String(expected)).toEqual(
        new Set(OPERATORS),
      );
    }
  });

  test("F12: texts that make regular expressions slow cost no time, as values and as attributes", () => {
    const long = "a".repeat(100_000);
    const startedAt = performance.now();
    for (const operator of OPERATORS) {
      for (const value of ["(a+)+$", "(a|a)*b", "^(([a-z])+.)+[A-Z]([a-z])+$", "1.0.0-".padEnd(200, "a.")]) {
        holds({ operator, values: [value] }, `${long}!`);
        holds({ operator, values: [value] }, `${"9".repeat(100_000)}.`);
        holds({ operator, values: [value] }, `2026-01-01T${"0".repeat(100_000)}`);
      }
    }
    expect(performance.now() - startedAt, "ms for 168 comparisons").toBeLessThan(1_000);
  });

  test.each<[Operator, Scalar[], string]>([
    ["gt", ["5"], "must be a number for gt"],
    ["lte", [1, 2], "must be one value for lte; use one condition for each value"],
    ["before", ["soon"], "must be a date, such as 2026-11-01 or 2026-11-01T09:30:00Z for before"],
    ["after", ["2026-02-30"], "must be a date"],
    ["after", [1_767_225_600_000], "must be a date"],
    ["after", ["2026-01-01T00:00:00"], "must be a date"],
    ["semverEq", ["1.2"], "must be a version as in Semantic Versioning 2.0.0, such as 1.4.0"],
    ["semverLt", [1], "must be a version"],
    ["semverGt", [`1.0.0-${"a".repeat(300)}`], "must be a version"],
  ])("F12: %s with %j is refused", (operator, values, message) => {
    expect(valuesFault({ attribute: "x", operator, values })?.message).toContain(message);
  });

  test("F12: valid values are accepted, and the lists of texts take any", () => {
    const valid: [Operator, Scalar[]][] = [
      ...[["gt", [1.5]], ["before", ["2026-02-28"]], ["after", ["2024-02-29T10:00:00+02:00"]]] as [Operator, Scalar[]][],
      ...[["semverEq", ["1.0.0-rc.1+x"]], ["in", ["a", 1, true]], ["contains", ["(a+)+$"]]] as [Operator, Scalar[]][],
    ];
    for (const [operator, values] of valid) expect(valuesFault({ attribute: "x", operator, values }), operator).toBeNull();
  });
});
