import { join } from "node:path";
import ts from "typescript";
import { expect, test } from "vitest";
import { ROOT } from "./sources.ts";

const PREAMBLE = `
import { z } from "zod";
import type { ExpiryOf } from "../../shared/core/collection.ts";
import { defineEntity, keyOf } from "../../shared/kv/define.ts";
const schema = z.looseObject({ id: z.string(), tenantId: z.string(), name: z.string(), secretWord: z.string(), tags: z.array(z.string()) });
const example = { id: "a", tenantId: "tn_1", name: "A", secretWord: "s", tags: ["t"] };
const sound = { name: "door", summary: "A door.", key: "door:{tenantId}:{id}", schema, owner: "tenant", example } as const;
export const door = defineEntity({ ...sound });
export const key = keyOf(door, { tenantId: "tn_1", id: "a" });
`;

/** A line each: the first must compile, every other must not. */
const CASES: readonly (readonly [what: string, line: string])[] = [
  [
    "a sound declaration compiles",
    `defineEntity({ ...sound, filterable: ["name"], sortable: ["name"], searchable: ["name"], secrets: ["secretWord"], indexes: [["@tenantId", "name"]], expires: true });`,
  ],
  ["a key parameter that the schema lacks", `defineEntity({ ...sound, key: "door:{tenantId}:{doorId}" });`],
  ["an optional key parameter that the schema lacks", `defineEntity({ ...sound, key: "door:{hotelId?}:{id}" });`],
  ["a filter on a field that the schema lacks", `defineEntity({ ...sound, filterable: ["status"] });`],
  ["a filter on a field that is a list", `defineEntity({ ...sound, filterable: ["tags"] });`],
  ["an index over a field that is a list", `defineEntity({ ...sound, indexes: [["tags"]] });`],
  ["a sort field that the schema lacks", `defineEntity({ ...sound, sortable: ["createdAt"] });`],
  ["a search in a field that the schema lacks", `defineEntity({ ...sound, searchable: ["title"] });`],
  ["an index over a field that the schema lacks", `defineEntity({ ...sound, indexes: [["@tenantId", "email"]] });`],
  ["a secret that the schema lacks", `defineEntity({ ...sound, secrets: ["password"] });`],
  ["retention after a field that the schema lacks", `defineEntity({ ...sound, retention: { days: 1, after: "createdAt" } });`],
  ["a rollup by a field that the schema lacks", `defineEntity({ ...sound, rollup: { groupBy: ["status"] } });`],
  ["records that are counted and expire", `defineEntity({ ...sound, rollup: { groupBy: ["name"] }, expires: true });`],
  [
    "an expiry for a record of an entity without one",
    `export const expiry: ExpiryOf<typeof door> = { expiresAt: "2026-01-01T00:00:00.000Z" };`,
  ],
  ["an example that does not fit the schema", `defineEntity({ ...sound, example: { ...example, name: 7 } });`],
  ["a key built with a parameter missing", `keyOf(door, { tenantId: "tn_1" });`],
  ["a key built with a number", `keyOf(door, { tenantId: "tn_1", id: 7 });`],
];

/** Lines of the cases that do not compile, all checked in one go against the project's own options. */
function failingLines(): ReadonlySet<number> {
  const path = join(ROOT, "tests/architecture/declarations.virtual.ts");
  const text = `${PREAMBLE}${CASES.map(([, line]) => line).join("\n")}\n`;
  const { config } = ts.readConfigFile(join(ROOT, "tsconfig.json"), ts.sys.readFile) as { readonly config: unknown };
  const { options } = ts.parseJsonConfigFileContent(config, ts.sys, ROOT);
  const host = ts.createCompilerHost(options);
  const { getSourceFile, fileExists } = host;
  host.fileExists = (name) => name === path || fileExists(name);
  host.getSourceFile = (name, version, ...rest) =>
    name === path ? ts.createSourceFile(name, text, version) : getSourceFile.call(host, name, version, ...rest);
  const program = ts.createProgram([path], options, host);
  const file = program.getSourceFile(path);
  const diagnostics = [...program.getSyntacticDiagnostics(file), ...program.getSemanticDiagnostics(file)];
  const first = PREAMBLE.split("\n").length - 1;
  return new Set(diagnostics.map(({ start = 0 }) => (file?.getLineAndCharacterOfPosition(start).line ?? 0) - first));
}

test("a key or field mistake in a declaration is a compile error", () => {
  const failing = failingLines();
  const [[sound] = [""], ...mistakes] = CASES;
  expect([...failing].filter((line) => line <= 0), sound).toEqual([]);
  expect(mistakes.filter((_, i) => !failing.has(i + 1)).map(([what]) => what)).toEqual([]);
});
