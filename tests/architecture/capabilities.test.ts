import { expect, test } from "vitest";
import ts from "typescript";
import { sourcesOf, walk } from "./sources.ts";

/** The rows of the capability catalogue that this version claims. Each has a test named after it. */
const CLAIMED = [
  ...rows("K", [1, 6], [8, 19], [21, 26], [28, 29], [31, 34]),
  ...rows("T", [1, 8], [10, 10], [13, 15], [19, 21]),
  ...rows("B", [1, 2], [7, 9], [11, 18], [28, 28]),
  ...rows("CP", [10, 10], [20, 20]),
  ...rows("U", [1, 16], [18, 21], [25, 25]),
  ...rows("F", [1, 12], [14, 16], [21, 21], [24, 24]),
  ...rows("A", [1, 14], [16, 16], [18, 18]),
  ...rows("C", [1, 9], [11, 16], [20, 20]),
  ...rows("R", [1, 1], [3, 3], [7, 14]),
  ...rows("N", [1, 10], [13, 13]),
  ...rows("AK", [1, 12], [14, 14], [16, 16], [18, 18]),
  ...rows("I", [1, 6], [8, 8], [12, 16]),
  ...rows("H", [1, 11], [17, 18], [21, 24], [29, 29]),
  ...rows("W", [16, 16]),
  ...rows("S", [1, 7], [10, 10]),
  ...rows("O", [1, 2], [11, 11], [19, 19]),
];

function rows(letter: string, ...ranges: readonly (readonly [number, number])[]): string[] {
  return ranges.flatMap(([from, to]) => Array.from({ length: to - from + 1 }, (_, i) => letter + String(from + i).padStart(2, "0")));
}

/** The rows that test names begin with: `K06: …`, `K03, K04: …`. */
function namedRows(): ReadonlySet<string> {
  const found = new Set<string>();
  for (const source of sourcesOf("tests")) {
    walk(source.ast, (node) => {
      if (!ts.isStringLiteralLike(node) && !ts.isTemplateHead(node)) return;
      const [, list] = /^((?:[A-Z]{1,2}\d{2}(?:, | and |\/)?)+): /.exec(node.text) ?? [];
      for (const [row] of (list ?? "").matchAll(/[A-Z]{1,2}\d{2}/g)) found.add(row);
    });
  }
  return found;
}

test("every claimed capability has a test named after it", () => {
  const named = namedRows();
  expect(CLAIMED.filter((row) => !named.has(row))).toEqual([]);
});
