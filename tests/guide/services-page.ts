import ts from "typescript";
import { features } from "../../shared/features/index.ts";
import { sourcesOf } from "../architecture/sources.ts";

const HEAD = `# Services

Written by \`npm run docs\` from the sources. The examples are statements of \`tests/guide\`, which runs them.

\`createContainer(options)\` of \`shared/container.ts\` returns a container; \`container.services(context)\` returns the services of one
caller by the names below. Every method returns a promise unless its signature says otherwise. Ids are short ids or full keys. A last
argument \`options\` takes \`ifMatch\` and \`idempotencyKey\`. Errors are \`InnkeepError\` with a code of [errors.md](errors.md).

A service that extends \`EntityService\` also has \`list(filters?, sort?, pagination?)\`, \`get(id)\`, \`create(data)\`, \`put(id, data)\`,
\`update(id, updates)\` and \`delete(id)\`, where it does not replace them. One that extends \`TenantEntityService\` takes the tenant's id
as first argument of each, and one that extends \`TenantReadService\` has \`list(tenantId, filters?, sort?, pagination?)\` and
\`get(tenantId, id)\` of these.
`;

interface DocumentedMethod {
  readonly service: string;
  readonly name: string;
  readonly doc: string;
  readonly signature: string;
  /** The statement of a test of `tests/guide` that calls it; null if none does. */
  readonly example: string | null;
}

interface DocumentedService {
  readonly name: string;
  readonly base: string | null;
  readonly doc: string;
  readonly methods: readonly DocumentedMethod[];
}

/** The public services, with the methods that their own class declares. */
export function documentedServices(): DocumentedService[] {
  const examples = examplesOfGuide();
  return features.flatMap(({ name, summary }) => {
    const [service] = sourcesOf(`shared/features/${name}`).filter(({ path }) => path.endsWith("/service.ts"));
    const classes = service?.ast.statements.filter(ts.isClassDeclaration) ?? [];
    return classes.filter((node) => node.name?.text.endsWith("Service")).map((node) => serviceOf(node, summary, examples));
  });
}

/** The content of docs/services.md. */
export function servicesDocument(): string {
  return [HEAD, ...documentedServices().map(sectionOf)].join("\n");
}

function sectionOf({ name, base, doc, methods }: DocumentedService): string {
  const intro = [doc, ...base ? [`It extends \`${base}\`.`] : []].filter(Boolean).join(" ");
  const parts = methods.map((method) =>
    [
      `### ${method.service}.${method.name}`,
      method.doc,
      code([method.signature, method.example].filter((text) => text !== null).join("\n\n")),
    ]
      .filter(Boolean).join("\n\n")
  );
  return `${[`## ${name}`, intro, ...parts].filter(Boolean).join("\n\n")}\n`;
}

function code(text: string): string {
  return `\`\`\`ts\n${text}\n\`\`\``;
}

/** A class without a comment has the summary of its feature. */
function serviceOf(node: ts.ClassDeclaration, summary: string, examples: ReadonlyMap<string, string>): DocumentedService {
  const name = node.name?.text ?? "";
  const methods = node.members.filter(ts.isMethodDeclaration).filter(isPublicMethod).map((method) => {
    const own = method.name.getText();
    return {
      service: name,
      name: own,
      doc: docOf(method),
      signature: signatureOf(method),
      example: examples.get(`${name}.${own}`) ?? null,
    };
  });
  const [extended] = node.heritageClauses ?? [];
  return { name, base: extended?.types[0]?.expression.getText() ?? null, doc: docOf(node) || summary, methods };
}

function isPublicMethod(method: ts.MethodDeclaration): boolean {
  const hidden: ts.SyntaxKind[] = [ts.SyntaxKind.ProtectedKeyword, ts.SyntaxKind.PrivateKeyword];
  return !ts.isPrivateIdentifier(method.name) && !ts.getModifiers(method)?.some(({ kind }) => hidden.includes(kind));
}

function docOf(node: ts.Node): string {
  const [doc] = ts.getJSDocCommentsAndTags(node);
  return (doc && ts.getTextOfJSDocComment(doc.comment) || "").replaceAll(/\s+/g, " ");
}

/** The declaration without its body, on one line. Defaults are shown as optional arguments. */
function signatureOf(method: ts.MethodDeclaration): string {
  const given = method.parameters.map(({ name, type, initializer, questionToken }) => {
    const shown = ts.isIdentifier(name) ? name.text : "options";
    return `${shown}${initializer || questionToken ? "?" : ""}${type ? `: ${type.getText()}` : ""}`;
  });
  const types = method.typeParameters?.map((one) => one.getText()).join(", ");
  const text = `${method.name.getText()}${types ? `<${types}>` : ""}(${given.join(", ")})${
    method.type ? `: ${method.type.getText()}` : ""
  }`;
  return text.replaceAll(/\s+/g, " ").replaceAll("( ", "(").replaceAll(", )", ")");
}

/** The first statement of the guide that calls each method, by `Service.method`. */
function examplesOfGuide(): ReadonlyMap<string, string> {
  const examples = new Map<string, string>();
  for (const { path, ast } of sourcesOf("tests/guide")) {
    const visit = (node: ts.Node, statement: ts.Node | null): void => {
      const within = ts.isStatement(node) && !ts.isBlock(node) ? node : statement;
      if (ts.isPropertyAccessExpression(node) && ts.isIdentifier(node.expression) && within) {
        const name = `${node.expression.text}.${node.name.text}`;
        if (!examples.has(name)) examples.set(name, unindented(within, ast));
      }
      ts.forEachChild(node, (child) => visit(child, within));
    };
    if (path.endsWith(".test.ts")) visit(ast, null);
  }
  return examples;
}

/** The lines of a statement without the indentation of its first one. */
function unindented(statement: ts.Node, source: ts.SourceFile): string {
  const { character } = source.getLineAndCharacterOfPosition(statement.getStart(source));
  return statement.getText(source).replaceAll(`\n${" ".repeat(character)}`, "\n");
}
