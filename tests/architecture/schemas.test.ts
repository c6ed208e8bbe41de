import ts from "typescript";
import { describe, expect, test } from "vitest";
import { importsOf, placeOf, type Source, sourcesOf, walk } from "./sources.ts";

/**
 * Building a schema costs many times as much as parsing with it, so no request builds one. These functions build schemas. They run
 * when a module loads, or are called by one another.
 */
const AT_LOAD: Readonly<Record<string, readonly string[]>> = {
  "functions/api/system.ts": ["systemRoutes"],
  "shared/core/branding.ts": ["brandingOf"],
  "shared/core/crud.ts": ["crud", "routesOf"], // when a feature's routes load
  "shared/core/fields.ts": ["createShape", "patchOf", "removableOf", "updateShape", "withMetadataOf", "withoutDefault"], // for inputsOf, which keeps them
  "shared/core/list-query.ts": [
    "checkPaging",
    "decimal",
    "filterOf",
    "integer",
    "listQuery",
    "moment",
    "numeric",
    "search",
    "shownAs",
    "sortOf",
  ],
  "shared/core/schemas.ts": ["pageOfViews", "viewOf"],
  "shared/core/values.ts": ["checkedText", "quantity"],
  "shared/features/audit/entity.ts": ["text"],
  "shared/features/integrations/provider.ts": ["provider"], // when the list of providers loads
  "shared/features/invoices/entity.ts": ["at", "currencyOf"],
  "shared/features/jobs/routes.ts": ["at", "count"],
  "shared/features/notifications/entity.ts": ["targets", "text"],
  "shared/features/plan-migrations/entity.ts": ["count"],
  "shared/features/audit-actions/reported.ts": ["text"],
  "shared/features/plan-migrations/routes.ts": ["count", "counts", "minor"],
  "shared/features/tenants/entity.ts": ["text"],
  "shared/features/reservations/entity.ts": ["amountOf", "positive"],
  "shared/features/usage-events/cloud-event.ts": ["text"],
  "shared/features/usage/entity.ts": ["amountOf"],
  "shared/features/webhooks/entity.ts": ["count", "shortText"],
};

/** Functions that cache the schema they build, for an object that lives as long as the program. */
const KEPT: Readonly<Record<string, readonly string[]>> = {
  "functions/api/validate.ts": ["withoutRules"], // by a route's schema
  "shared/core/fields.ts": ["inputsOf"], // by entity
  "shared/core/schemas.ts": ["pageOf", "recordOf"], // by entity
};

/** Members of `z` that build no schema. */
const NO_SCHEMA = new Set([
  "config",
  "core",
  "flattenError",
  "globalRegistry",
  "locales",
  "prettifyError",
  "registry",
  "toJSONSchema",
  "treeifyError",
]);

/** Methods that build a schema from another one. */
const DERIVING = new Set([
  ..."array brand catchall default exclude extend extract keyof loose nonoptional nullable nullish omit optional partial passthrough pick"
    .split(" "),
  ..."pipe prefault readonly refine required safeExtend strict strip superRefine transform".split(" "),
]);

const sources = sourcesOf("shared", "functions/api");

/** Whether a call builds a schema by itself. */
function builds(call: ts.CallExpression): boolean {
  const { expression: called } = call;
  if (!ts.isPropertyAccessExpression(called)) return false;
  const [first, second] = called.getText().split(".");
  if (first === "z" && /^z(\.iso|\.coerce)?\.\w+$/.test(called.getText())) return !NO_SCHEMA.has(second ?? "");
  const { text: method } = called.name;
  const [argument] = call.arguments;
  return DERIVING.has(method) || (method === "meta" && argument !== undefined) ||
    (method === "check" && argument !== undefined && ts.isFunctionLike(argument));
}

/** The names by which a file calls functions of the list: its own, and those it imports. */
function buildersIn(source: Source): ReadonlySet<string> {
  const targets = new Map(importsOf(source).map(({ specifier, target }) => [specifier, target]));
  const names = new Set(AT_LOAD[source.path] ?? []);
  for (const statement of source.ast.statements) {
    if (!ts.isImportDeclaration(statement) || !ts.isStringLiteral(statement.moduleSpecifier)) continue;
    const bindings = statement.importClause?.namedBindings;
    const listed = AT_LOAD[targets.get(statement.moduleSpecifier.text) ?? ""] ?? [];
    if (!bindings || !ts.isNamedImports(bindings)) continue;
    for (const { name, propertyName } of bindings.elements) if (listed.includes((propertyName ?? name).text)) names.add(name.text);
  }
  return names;
}

/** The outermost function around a node, by name; null for what runs when the module loads. */
function functionAround(node: ts.Node): string | null {
  let name: string | null = null;
  for (let at = node.parent; !ts.isSourceFile(at); at = at.parent) {
    if (ts.isFunctionLike(at)) name = (at as { readonly name?: ts.Node }).name?.getText() ?? variableOf(at) ?? "(anonymous)";
    else if (ts.isClassLike(at)) name = `${at.name?.text}.${name}`;
  }
  return name;
}

function variableOf(node: ts.Node): string | undefined {
  return ts.isVariableDeclaration(node.parent) ? node.parent.name.getText() : undefined;
}

/** Where schemas are built inside a function: `file function` and the place. */
function buildingFunctions(): { readonly name: string; readonly path: string; readonly place: string }[] {
  return sources.flatMap((source) => {
    const builders = buildersIn(source);
    const found: { readonly name: string; readonly path: string; readonly place: string }[] = [];
    walk(source.ast, (node) => {
      if (!ts.isCallExpression(node)) return;
      const isBuilder = builds(node) || (ts.isIdentifier(node.expression) && builders.has(node.expression.text));
      const name = isBuilder ? functionAround(node) : null;
      if (name !== null) found.push({ name, path: source.path, place: placeOf(source, node) });
    });
    return found;
  });
}

describe("schemas", () => {
  const building = buildingFunctions();

  test("none is built while a request is served", () => {
    const listed = (path: string) => [...AT_LOAD[path] ?? [], ...KEPT[path] ?? []];
    expect(building.filter(({ path, name }) => !listed(path).includes(name)).map(({ place, name }) => `${place} ${name}`)).toEqual([]);
  });

  test("every listed function still builds a schema", () => {
    const used = new Set(building.map(({ path, name }) => `${path} ${name}`));
    const listed = [AT_LOAD, KEPT].flatMap((list) =>
      Object.entries(list).flatMap(([path, names]) => names.map((name) => `${path} ${name}`))
    );
    expect(listed.filter((name) => !used.has(name))).toEqual([]);
  });
});
