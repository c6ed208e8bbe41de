import { describe, expect, test } from "vitest";
import ts from "typescript";
import { filesBelow, placeOf, read, sourcesOf, walk } from "./sources.ts";
import type { Source } from "./sources.ts";

const program = sourcesOf("shared", "functions");
const everything = [...program, ...sourcesOf("tests")];
const VAGUE = /(^|[/-])(utils?|helpers?|common|misc|manager|lib|stuff)([-/.]|$)/;

/** Lists of schemas need the top type, and tests over HTTP read bodies without a schema. */
const ANY_HOMES = ["shared/kv/define.ts", "tests/http/support/api.ts"];

/** Errors that no caller can cause. They become `internal`. */
const OWN_FAULTS: Readonly<Record<string, string>> = {
  "shared/features/admins/routes.ts": "the scope `caller` has let nobody through who is no caller",
  "shared/features/files/content.ts": "the jobs that write files do so in steps of limited size",
};

function places(sources: readonly Source[], isWrong: (node: ts.Node) => boolean): string[] {
  return sources.flatMap((source) => {
    const found: string[] = [];
    walk(source.ast, (node) => {
      if (isWrong(node)) found.push(placeOf(source, node));
    });
    return found;
  });
}

function lines(paths: readonly string[], pattern: RegExp): string[] {
  return paths.flatMap((path) =>
    read(path).split("\n").flatMap((line, i) => pattern.test(line) ? [`${path}:${i + 1} ${line.trim().slice(0, 80)}`] : [])
  );
}

describe("style", () => {
  test("no file or folder has a vague name", () => {
    expect(everything.map(({ path }) => path).filter((path) => VAGUE.test(path))).toEqual([]);
  });

  test("the type any appears only in the listed files", () => {
    const wrong = places(everything.filter(({ path }) => !ANY_HOMES.includes(path)), (node) => node.kind === ts.SyntaxKind.AnyKeyword);
    expect(wrong).toEqual([]);
  });

  test("no check of the compiler is switched off", () => {
    expect(lines(everything.map(({ path }) => path), new RegExp(["@ts-" + "ignore", "@ts-" + "nocheck", "eslint-" + "disable"].join("|"))))
      .toEqual([]);
  });

  test("nothing is left unfinished, skipped or focused", () => {
    const paths = everything.map(({ path }) => path);
    const unfinished = new RegExp(`\\b(${["TO" + "DO", "FIX" + "ME", "X" + "XX", "HA" + "CK"].join("|")})\\b`);
    expect(lines(paths, unfinished)).toEqual([]);
    expect(lines(paths, /^\s*(it|test|describe)\.(skip|only|todo)\(/)).toEqual([]);
  });

  test("no error is swallowed", () => {
    expect(places(everything, (node) => ts.isCatchClause(node) && node.block.statements.length === 0)).toEqual([]);
  });

  test("nothing names this machine, a package registry's host or a tool of the workplace", () => {
    const words = ["/wo" + "rk/", "/ro" + "ot/", "registry\\.npm" + "js", "deb\\.deb" + "ian", "wo" + "rk/\\.library"];
    const texts = filesBelow(".").filter((path) => /\.(ts|js|json|md|sql|toml|yml)$/.test(path)).concat(".ci/run", ".gitignore");
    expect(lines(texts, new RegExp(words.join("|")))).toEqual([]);
  });

  test("only the error module makes an error that callers see", () => {
    const wrong = program.filter(({ path, text }) => path.startsWith("shared/features/") && /throw new (?!InnkeepError\b)\w+/.test(text))
      .map(({ path }) => path);
    expect(wrong).toEqual(Object.keys(OWN_FAULTS));
  });
});
