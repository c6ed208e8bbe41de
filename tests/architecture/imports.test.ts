import { dirname } from "node:path";
import ts from "typescript";
import { describe, expect, test } from "vitest";
import { importsOf, placeOf, read, type Source, sourcesOf } from "./sources.ts";

const ENTITY = "shared/features/*/entity.ts";
const RULES = "shared/features/*/*.ts";
const OWN_SERVICE = "./service.ts";
const LIST = "shared/features/index.ts";
const REGISTRY = "shared/features/registry.ts";
const BASE = ["shared/kernel", "shared/kv", "shared/core"];

/**
 * The allowed imports; docs/architecture.md shows the same table. A file belongs to the row with the longest match; `*` stands for one
 * name. In the second column, a path with `*` means the files of that row in any feature, and `./` the file's own folder.
 */
const TABLE: readonly (readonly [from: string, imports: readonly string[], packages: readonly string[]])[] = [
  ["shared/kernel", [], ["nanoid", "zod"]],
  ["shared/ports.ts", ["shared/kernel"], []],
  ["shared/kv", ["shared/kernel"], ["zod"]],
  ["shared/kv/drivers/postgres.ts", ["shared/kernel", "shared/kv"], ["pg"]],
  ["shared/kv/drivers/supabase.ts", ["shared/kernel", "shared/kv"], ["@supabase/supabase-js"]],
  ["shared/core", ["shared/kernel", "shared/kv"], ["canonicalize", "csv-stringify", "ipaddr.js", "zod"]],
  [ENTITY, [...BASE, ENTITY], ["zod"]],
  [RULES, [...BASE, ENTITY, RULES], [
    "@cfworker/json-schema",
    "canonicalize",
    "client-zip",
    "csv-parse",
    "hash-wasm",
    "ipaddr.js",
    "murmurhash",
    "semver",
    "zod",
  ]],
  ["shared/features/*/service.ts", [...BASE, ENTITY, RULES], ["canonicalize", "zod"]],
  ["shared/features/*/routes.ts", [...BASE, ENTITY, RULES, OWN_SERVICE], ["zod"]],
  ["shared/features/*/jobs.ts", [...BASE, ENTITY, RULES, OWN_SERVICE], []],
  [LIST, ["shared/core"], []],
  [REGISTRY, [...BASE, LIST], []],
  ["shared/adapters", ["shared/kernel", "shared/core", "shared/ports.ts"], ["jose", "nodemailer"]],
  ["shared/config.ts", ["shared/kernel", "shared/core", "shared/environment-values.ts"], ["jose"]],
  ["shared/environment-values.ts", ["shared/kernel"], ["jose"]],
  ["shared/container.ts", [...BASE, LIST, REGISTRY], []],
  ["functions/api", ["shared", ENTITY, RULES, LIST, "functions/api/middleware"], ["hono", "zod"]],
  ["functions/jobs", [
    "shared",
    "shared/features/*/service.ts",
    "functions/api/start.ts",
    "functions/api/backend.ts",
    "functions/api/shell.ts",
    "functions/api/once.ts",
    "functions/api/middleware",
  ], ["hono"]],
  ["functions/api/middleware", ["shared/kernel", "functions/api/elapsed.ts"], ["hono"]],
  ["functions/local", ["shared", ENTITY, RULES, LIST, REGISTRY, "functions/api/start.ts", "functions/jobs/start.ts"], [
    "jose",
    "node:*",
    "pg",
    "zod",
  ]],
];

/** Imports that the table does not allow, each with a reason. */
const EXCEPTIONS: Readonly<Record<string, string>> = {
  "shared/features/tenants/entity.ts imports ./claims.ts": "a claim is an entity too, in a file of its own",
  "shared/features/tenants/entity.ts imports ./sign-ups.ts": "a sign-up is an entity too, in a file of its own",
  "shared/features/tenants/entity.ts imports ./host-names.ts": "a host name's rule is the schema of a field",
  "shared/features/usage-history/entity.ts imports ./buckets.ts": "the names of the buckets are the schema of a parameter",
};

/** The imports of the list of features, on first use. */
const ON_FIRST_USE = /^\.\/[a-z-]+\/(entity|service|routes|jobs)\.ts$/;

const sources = sourcesOf("shared", "functions");

function matches(path: string, pattern: string): boolean {
  if (!pattern.includes("*")) return path === pattern || path.startsWith(`${pattern}/`);
  return new RegExp(`^${pattern.replaceAll(".", "\\.").replaceAll("*", "[^/]+")}$`).test(path);
}

function rowOf(path: string) {
  return TABLE.filter(([from]) => matches(path, from)).sort(([a], [b]) => b.length - a.length)[0];
}

function isAllowed(source: Source, target: string): boolean {
  const [from = "", allowed = [], packages = []] = rowOf(source.path) ?? [];
  if (packages.includes(target) || (target.startsWith("node:") && packages.includes("node:*"))) return true;
  const ofTarget = rowOf(target)?.[0] ?? "";
  return (from === ofTarget && !from.includes("*")) || allowed.some((item) => {
    if (item.startsWith("./")) return target === `${dirname(source.path)}/${item.slice(2)}`;
    // Files of one folder may import each other, except in a feature, where the rows name the roles.
    return item.includes("*") ? ofTarget === item : matches(target, item) && !(item === "shared" && target.startsWith("shared/features/"));
  });
}

/** The graph of imports: `value` for those at run time, `type` with the imports of types. */
function graphOf(kind: "value" | "type"): ReadonlyMap<string, readonly string[]> {
  return new Map(sources.map((source) => {
    const kept = source.ast.statements.filter((statement): statement is ts.ImportDeclaration | ts.ExportDeclaration =>
      (ts.isImportDeclaration(statement) || ts.isExportDeclaration(statement)) && (kind === "type" || !isTypeOnly(statement))
    );
    const specifiers = new Set(
      kept.map(({ moduleSpecifier }) => moduleSpecifier && ts.isStringLiteral(moduleSpecifier) ? moduleSpecifier.text : ""),
    );
    return [source.path, importsOf(source).filter(({ specifier }) => specifiers.has(specifier)).map(({ target }) => target)] as const;
  }));
}

function isTypeOnly(statement: ts.ImportDeclaration | ts.ExportDeclaration): boolean {
  if (ts.isExportDeclaration(statement)) return statement.isTypeOnly;
  const clause = statement.importClause;
  if (!clause || clause.phaseModifier === ts.SyntaxKind.TypeKeyword) return clause !== undefined;
  const { namedBindings } = clause;
  return !clause.name && namedBindings !== undefined && ts.isNamedImports(namedBindings) &&
    namedBindings.elements.every((one) => one.isTypeOnly);
}

/** Every import cycle, once. */
function cyclesOf(graph: ReadonlyMap<string, readonly string[]>): string[] {
  const found: string[] = [];
  const done = new Set<string>();
  const visit = (path: string, way: readonly string[]): void => {
    if (way.includes(path)) return void found.push([...way.slice(way.indexOf(path)), path].join(" → "));
    if (done.has(path)) return;
    for (const target of graph.get(path) ?? []) visit(target, [...way, path]);
    done.add(path);
  };
  for (const path of graph.keys()) visit(path, []);
  return found;
}

describe("imports", () => {
  test("every file belongs to a row of the table", () => {
    expect(sources.filter(({ path }) => !rowOf(path)).map(({ path }) => path)).toEqual([]);
  });

  test("a file imports only what its row names: across features entities and rules, never a service or routes", () => {
    const wrong = sources.flatMap((source) =>
      importsOf(source).filter(({ specifier, target }) =>
        !isAllowed(source, target) && !(source.path === LIST && ON_FIRST_USE.test(specifier))
      )
        .map(({ specifier }) => `${source.path} imports ${specifier}`)
    );
    expect(wrong.sort(), "every listed exception is still needed").toEqual(Object.keys(EXCEPTIONS).sort());
  });

  test("the list of features loads entities, services and routes on first use only", () => {
    const early = sources.filter(({ path }) => path === LIST).flatMap(({ ast }) =>
      ast.statements.filter(ts.isImportDeclaration).map(({ moduleSpecifier }) => moduleSpecifier.getText().slice(1, -1))
    );
    expect(early.length).toBeGreaterThan(0);
    expect(early.filter((specifier) => ON_FIRST_USE.test(specifier))).toEqual([]);
  });

  test("H25: the API answers a health check before zod, the database's libraries or any feature are loaded", () => {
    const graph = graphOf("value");
    const reached = new Set(["functions/api/index.ts"]);
    for (const path of reached) for (const target of graph.get(path) ?? []) reached.add(target);
    expect([...reached].filter((target) => !target.endsWith(".ts"))).toEqual(["hono"]);
    expect([...reached].filter((target) => target.startsWith("shared/features/"))).toEqual([LIST]);
  });

  test.each(["value", "type"] as const)("no file imports itself through other files, by %s imports", (kind) => {
    expect(cyclesOf(graphOf(kind))).toEqual([]);
  });

  test("a cycle would be found", () => {
    const graph = new Map([["a", ["b", "d"]], ["b", ["c"]], ["c", ["a"]], ["d", []]]);
    expect(cyclesOf(graph)).toEqual(["a → b → c → a"]);
  });

  test("relative imports carry the .ts extension", () => {
    const wrong = sourcesOf("shared", "functions", "tests").flatMap((source) =>
      importsOf(source).filter(({ specifier }) => specifier.startsWith(".") && !/\.(ts|json)$/.test(specifier)).map(({ specifier }) =>
        `${source.path}: ${specifier}`
      )
    );
    expect(wrong).toEqual([]);
  });

  test("functions/api/middleware holds Hono middleware and nothing else", () => {
    const middleware = sources.filter(({ path }) => path.startsWith("functions/api/middleware/"));
    expect(middleware.length).toBeGreaterThan(0);
    const others = middleware.flatMap((source) => {
      const exported = source.ast.statements.filter((one) =>
        ts.canHaveModifiers(one) && ts.getModifiers(one)?.some(({ kind }) => kind === ts.SyntaxKind.ExportKeyword)
      );
      const isMiddleware = (one: ts.Statement) => ts.isFunctionDeclaration(one) && /^MiddlewareHandler\b/.test(one.type?.getText() ?? "");
      return exported.filter((one) => !isMiddleware(one) && !ts.isInterfaceDeclaration(one)).map((one) => placeOf(source, one));
    });
    expect(others).toEqual([]);
  });

  test("docs/architecture.md shows the same table", () => {
    const cell = (items: readonly string[]) => items.length === 0 ? "–" : items.map((item) => `\`${item}\``).join(", ");
    const rows = TABLE.map(([from, folders, packages]) => `| \`${from}\` | ${cell(folders)} | ${cell(packages)} |`);
    const shown = read("docs/architecture.md").split("\n").filter((line) => /^\| `(shared|functions)/.test(line));
    expect(shown).toEqual(rows);
  });
});
