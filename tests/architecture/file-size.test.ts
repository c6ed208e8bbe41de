import ts from "typescript";
import { describe, expect, test } from "vitest";
import { placeOf, sourcesOf, walk } from "./sources.ts";
import type { Source } from "./sources.ts";

/** Files and functions over the limit, each with the reason why splitting it would make it worse. */
const LARGE_FILES: Readonly<Record<string, string>> = {
  "shared/features/index.ts": "the one list of the features, with the scopes and audit actions of each",
  "shared/kernel/error-kinds.ts": "one table with an entry for each error code, which responses and pages are made from",
  "shared/kv/define.ts": "the types that make a mistake in a declaration a compile error stand beside what they check",
};
const LONG_FUNCTIONS: Readonly<Record<string, string>> = {};

const sources = sourcesOf("shared", "functions", "tests");

function limitOf(path: string): number {
  if (path.startsWith("tests/")) return 400;
  if (path === "shared/kv/define.ts") return 150;
  if (/^functions\/(api|jobs)\/index\.ts$/.test(path)) return 15;
  return /^shared\/features\/[^/]+\/routes\.ts$/.test(path) ? 250 : 300;
}

/** The functions of the program, longest first. A function is measured without the named functions inside it. */
function functionsOf(source: Source): { readonly name: string; readonly place: string; readonly lines: number }[] {
  const found: { readonly name: string; readonly place: string; readonly lines: number }[] = [];
  walk(source.ast, (node) => {
    if (!ts.isFunctionLike(node) || !("body" in node) || !node.body) return;
    found.push({ name: nameOf(node), place: placeOf(source, node), lines: linesOf(source, node) - innerLines(source, node) });
  });
  return found;
}

function linesOf(source: Source, node: ts.Node): number {
  const lineAt = (position: number) => source.ast.getLineAndCharacterOfPosition(position).line;
  return lineAt(node.getEnd()) - lineAt(node.getStart()) + 1;
}

/** The lines of the named functions declared directly inside, which are measured separately. */
function innerLines(source: Source, outer: ts.Node): number {
  let lines = 0;
  const visit = (node: ts.Node): void => {
    if (ts.isFunctionDeclaration(node) || ts.isMethodDeclaration(node)) lines += linesOf(source, node);
    else ts.forEachChild(node, visit);
  };
  ts.forEachChild(outer, visit);
  return lines;
}

function nameOf(node: ts.Node): string {
  const own = (node as { readonly name?: ts.Node }).name;
  const outer = node.parent as (ts.Node & { readonly name?: ts.Node }) | undefined;
  return (own ?? outer?.name)?.getText() ?? "(anonymous)";
}

describe("sizes", () => {
  test("files stay within their limit", () => {
    const large = sources.filter(({ path, lines }) => lines > limitOf(path) && !LARGE_FILES[path]).map(({ path, lines }) =>
      `${path}: ${lines} of ${limitOf(path)}`
    );
    expect(large).toEqual([]);
  });

  test("functions stay within 50 lines", () => {
    const long = sources.filter(({ path }) => !path.startsWith("tests/")).flatMap(functionsOf).filter(({ name, lines }) =>
      lines > 50 && !LONG_FUNCTIONS[name]
    );
    expect(long.map(({ name, place, lines }) => `${place} ${name}: ${lines} lines`)).toEqual([]);
  });

  test("every listed exception is still needed", () => {
    const byPath = new Map(sources.map((source) => [source.path, source]));
    const stale = Object.keys(LARGE_FILES).filter((path) => (byPath.get(path)?.lines ?? 0) <= limitOf(path));
    const longNames = new Set(sources.flatMap(functionsOf).filter(({ lines }) => lines > 50).map(({ name }) => name));
    expect([...stale, ...Object.keys(LONG_FUNCTIONS).filter((name) => !longNames.has(name))]).toEqual([]);
  });
});
