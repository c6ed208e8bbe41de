import ts from "typescript";
import { describe, expect, test } from "vitest";
import { placeOf, sourcesOf, walk } from "./sources.ts";
import type { Source } from "./sources.ts";

/**
 * Time, randomness, environment, console and network are passed as values. Only these files use them: the one that reads
 * each, and the entry files that pass it on. The files of functions/local may use them all.
 */
const HOMES: Readonly<Record<string, readonly string[]>> = {
  "Date.now": ["shared/kernel/clock.ts"],
  "new Date()": [],
  "Math.random": [],
  "console": ["functions/api/index.ts", "functions/jobs/index.ts"],
  "process": [],
  "Deno": ["functions/api/index.ts", "functions/jobs/index.ts"],
  "fetch": ["functions/api/index.ts"],
};

const sources = sourcesOf("shared", "functions").filter(({ path }) => !path.startsWith("functions/local/"));

function hiddenInputsOf(source: Source): { readonly input: string; readonly place: string }[] {
  const found: { readonly input: string; readonly place: string }[] = [];
  walk(source.ast, (node) => {
    const input = inputOf(node);
    if (input) found.push({ input, place: placeOf(source, node) });
  });
  return found;
}

function inputOf(node: ts.Node): string | null {
  if (ts.isPropertyAccessExpression(node) && ["Date.now", "Math.random"].includes(node.getText())) return node.getText();
  if (ts.isNewExpression(node) && node.expression.getText() === "Date" && (node.arguments?.length ?? 0) === 0) return "new Date()";
  if (ts.isCallExpression(node) && node.expression.getText() === "Date") return "new Date()";
  // A call of the global fetch, not of a parameter with that name.
  if (ts.isPropertyAccessExpression(node) && node.getText() === "globalThis.fetch") return "fetch";
  if (!ts.isIdentifier(node) || !["console", "process", "Deno"].includes(node.text)) return null;
  const parent = node.parent;
  const isMemberName = (ts.isPropertyAccessExpression(parent) && parent.name === node) ||
    ((ts.isPropertyAssignment(parent) || ts.isPropertySignature(parent) || ts.isMethodDeclaration(parent)) && parent.name === node);
  return isMemberName ? null : node.text;
}

describe("hidden inputs", () => {
  test("time, randomness, environment and console are used only in the listed files", () => {
    const wrong = sources.flatMap((source) =>
      hiddenInputsOf(source).filter(({ input }) => !HOMES[input]?.includes(source.path)).map(({ input, place }) => `${place} uses ${input}`)
    );
    expect(wrong).toEqual([]);
  });

  test("every listed file still uses its input", () => {
    const used = new Set(sources.flatMap((source) => hiddenInputsOf(source).map(({ input }) => `${input} ${source.path}`)));
    const stale = Object.entries(HOMES).flatMap(([input, paths]) => paths.map((path) => `${input} ${path}`)).filter((home) =>
      !used.has(home) && !home.startsWith("fetch")
    );
    expect(stale).toEqual([]);
  });

  test("shared code names no runtime's types", () => {
    const wrong = sources.filter(({ path, text }) => path.startsWith("shared/") && /\bNodeJS\.|\bBuffer\b|\/\/\/ <reference/.test(text))
      .map(({ path }) => path);
    expect(wrong).toEqual([]);
  });
});
