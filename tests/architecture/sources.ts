import { existsSync, readdirSync, readFileSync } from "node:fs";
import { dirname, join, relative } from "node:path";
import { fileURLToPath } from "node:url";
import ts from "typescript";

export const ROOT = fileURLToPath(new URL("../../", import.meta.url));

export interface Source {
  /** From the project's root, with forward slashes. */
  readonly path: string;
  readonly text: string;
  readonly lines: number;
  readonly ast: ts.SourceFile;
}

const SKIPPED = new Set(["node_modules", "coverage"]);

/** Every file below a folder of the project, from its root; dot folders are left out. */
export function filesBelow(folder: string): string[] {
  if (!existsSync(join(ROOT, folder))) return [];
  return readdirSync(join(ROOT, folder), { withFileTypes: true }).flatMap((entry) => {
    const path = folder === "." ? entry.name : `${folder}/${entry.name}`;
    if (entry.name.startsWith(".") || SKIPPED.has(entry.name)) return [];
    return entry.isDirectory() ? filesBelow(path) : [path];
  });
}

export function read(path: string): string {
  return readFileSync(join(ROOT, path), "utf8");
}

/** Parsed once for all test files of a process. */
const parsed = new Map<string, Source>();

export function sourcesOf(...folders: readonly string[]): Source[] {
  return folders.flatMap(filesBelow).filter((path) => path.endsWith(".ts")).map((path) => {
    const known = parsed.get(path);
    if (known) return known;
    const text = read(path);
    const ast = ts.createSourceFile(path, text, ts.ScriptTarget.Latest, true);
    const source = { path, text, lines: text.split("\n").length - 1, ast };
    parsed.set(path, source);
    return source;
  });
}

export function walk(node: ts.Node, visit: (node: ts.Node) => void): void {
  visit(node);
  ts.forEachChild(node, (child) => walk(child, visit));
}

/** What a source imports: paths from the project's root, package names, `node:` modules. */
export function importsOf(source: Source): readonly Import[] {
  const known = imports.get(source) ?? readImports(source);
  imports.set(source, known);
  return known;
}

interface Import {
  readonly specifier: string;
  readonly target: string;
}
const imports = new WeakMap<Source, readonly Import[]>();

function readImports(source: Source): readonly Import[] {
  const specifiers: string[] = [];
  walk(source.ast, (node) => {
    const named = ts.isImportDeclaration(node) || ts.isExportDeclaration(node) ? node.moduleSpecifier : undefined;
    if (named && ts.isStringLiteral(named)) specifiers.push(named.text);
    const [argument] = ts.isCallExpression(node) && node.expression.kind === ts.SyntaxKind.ImportKeyword ? node.arguments : [];
    if (argument) specifiers.push(ts.isStringLiteral(argument) ? argument.text : "<computed>");
    if (ts.isImportTypeNode(node) && ts.isLiteralTypeNode(node.argument) && ts.isStringLiteral(node.argument.literal)) {
      specifiers.push(node.argument.literal.text);
    }
  });
  return specifiers.map((specifier) => ({ specifier, target: targetOf(source, specifier) }));
}

function targetOf(source: Source, specifier: string): string {
  if (specifier.startsWith(".")) return relative(ROOT, join(ROOT, dirname(source.path), specifier)).replaceAll("\\", "/");
  if (specifier.startsWith("node:")) return specifier;
  return specifier.split("/").slice(0, specifier.startsWith("@") ? 2 : 1).join("/");
}

/** `path:line` of a node, for a failure that names its place. */
export function placeOf(source: Source, node: ts.Node): string {
  return `${source.path}:${source.ast.getLineAndCharacterOfPosition(node.getStart()).line + 1}`;
}
