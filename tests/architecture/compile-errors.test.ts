import { join } from "node:path";
import ts from "typescript";
import { afterAll, expect, test } from "vitest";
import { followPage, newFiles, PAGE } from "./page-copy.ts";

const PREAMBLE = `
import { z } from "zod";
import type { ExpiryOf } from "../../shared/core/collection.ts";
import { crud } from "../../shared/core/crud.ts";
import { EntityService, TenantEntityService } from "../../shared/core/entity-service.ts";
import { byServer, createdInstant, createOnly, generated } from "../../shared/core/fields.ts";
import { verb } from "../../shared/core/route.ts";
import type { UnitOfWork } from "../../shared/core/unit-of-work.ts";
import { defineEntity, keyOf } from "../../shared/kv/define.ts";
const schema = z.looseObject({ id: z.string(), tenantId: z.string(), name: z.string(), secretWord: z.string(), tags: z.array(z.string()) });
const example = { id: "a", tenantId: "tn_1", name: "A", secretWord: "s", tags: ["t"] };
const sound = { name: "door", summary: "A door.", key: "door:{tenantId}:{id}", schema, owner: "tenant", example } as const;
export const door = defineEntity({ ...sound });
export const key = keyOf(door, { tenantId: "tn_1", id: "a" });
const marked = z.looseObject({
  id: generated("ff", z.string()), tenantId: byServer(z.string()), kind: createOnly(z.string()), name: z.string(), note: z.string().optional(),
  createdAt: createdInstant(z.string()),
});
const gate = defineEntity({ name: "gate", summary: "A gate.", key: "gate:{id}", schema: marked, owner: "platform",
  example: { id: "a", tenantId: "t", kind: "k", name: "A", createdAt: "" } });
const bar = defineEntity({ name: "bar", summary: "A bar.", key: "bar:{tenantId}:{id}", schema: marked, owner: "tenant",
  example: { id: "a", tenantId: "t", kind: "k", name: "A", createdAt: "" } });
class GateService extends EntityService<typeof gate> {
  constructor(work: UnitOfWork) { super(work, gate); }
}
class BarService extends TenantEntityService<typeof bar> {
  constructor(work: UnitOfWork) { super(work, bar); }
}
export declare const gates: GateService;
export declare const bars: BarService;
const samples = { create: { kind: "k", name: "A" }, update: { name: "B" } };
const gateRoutes = { path: "/v1/gates", scope: "gates", service: GateService, sample: samples } as const;
const barRoutes = { path: "/v1/tenants/:tenantId/bars", scope: "bars", service: BarService, sample: samples } as const;
const open = { service: GateService, operationId: "openGate", summary: "Open", scope: "write:gates" } as const;
const body = z.strictObject({ wide: z.boolean() });
`;

/** Lines that must compile. */
const SOUND: readonly string[] = [
  `defineEntity({ ...sound, filterable: ["name"], sortable: ["name"], searchable: ["name"], secrets: ["secretWord"], indexes: [["@tenantId", "name"]], expires: true });`,
  `gates.create({ kind: "k", name: "A" }); gates.create({ id: "ff_1", kind: "k", name: "A", note: "n" });`,
  `gates.update("a", { name: "B", note: null }); gates.put("a", { kind: "k", name: "A" }); bars.put("t", "a", { kind: "k", name: "A" });`,
  `crud(gate, gateRoutes); crud(bar, barRoutes); crud(gate, { ...gateRoutes, only: ["put"], sample: { put: (n) => ({ kind: "k", name: String(n) }) } });`,
  `verb("POST /v1/gates/:gateId/open", { ...open, input: body, sample: { body: { wide: true } }, run: ({ params, body }) => params.gateId !== String(body.wide) });`,
];

/** Lines that must not compile. */
const CASES: readonly (readonly [what: string, line: string])[] = [
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
  ["a default sort by a field that the schema lacks", `defineEntity({ ...sound, defaultSort: "-createdAt" });`],
  ["a default sort by a field that is a list", `defineEntity({ ...sound, defaultSort: "tags" });`],
  ["a creation with a field that the schema lacks", `gates.create({ kind: "k", name: "A", colour: "red" });`],
  ["a creation without a field", `gates.create({ kind: "k" });`],
  ["a creation with a field of another type", `gates.create({ kind: "k", name: 7 });`],
  ["a creation with a field that the program sets", `gates.create({ kind: "k", name: "A", createdAt: "2026-01-01T00:00:00.000Z" });`],
  ["a creation below a tenant that names the tenant in its body", `bars.create("t", { kind: "k", name: "A", tenantId: "t" });`],
  ["a creation below a tenant without the tenant", `bars.create({ kind: "k", name: "A" });`],
  ["a put that names its id in its body", `bars.put("t", "a", { id: "a", kind: "k", name: "A" });`],
  ["a change of a field that the schema lacks", `gates.update("a", { colour: "red" });`],
  ["a change of a field that is set at creation only", `gates.update("a", { kind: "other" });`],
  ["a change of an id", `gates.update("a", { id: "b" });`],
  ["a change of a field that the program sets", `gates.update("a", { createdAt: "2026-01-01T00:00:00.000Z" });`],
  ["a change to another type", `gates.update("a", { name: 7 });`],
  ["a change that removes a field which every record has", `gates.update("a", { name: null });`],
  ["routes without a scope", `crud(gate, { path: "/v1/gates", service: GateService, sample: samples });`],
  [
    "a route without a scope",
    `verb("POST /v1/gates/open", { service: GateService, operationId: "openGate", summary: "Open", run: () => true });`,
  ],
  ["a route of a scope that is none", `verb("POST /v1/gates/open", { ...open, scope: "gates", run: () => true });`],
  ["a sample without a field", `crud(gate, { ...gateRoutes, sample: { ...samples, create: () => ({ kind: "k" }) } });`],
  ["a sample with a field of another type", `crud(gate, { ...gateRoutes, sample: { ...samples, create: { kind: "k", name: 7 } } });`],
  ["a sample of an operation left out", `crud(gate, { ...gateRoutes, sample: { create: samples.create } });`],
  [
    "a verb's sample against its input",
    `verb("POST /v1/gates/open", { ...open, input: body, sample: { body: { wide: "yes" } }, run: () => true });`,
  ],
  ["a parameter that the path has not", `verb("POST /v1/gates/:gateId/open", { ...open, run: ({ params }) => params.doorId !== "" });`],
  ["a body's member that the input has not", `verb("POST /v1/gates/open", { ...open, input: body, run: ({ body }) => body.narrow });`],
  ["routes below a tenant of a service that knows none", `crud(gate, { ...gateRoutes, path: "/v1/tenants/:tenantId/gates" });`],
  ["routes with no tenant of a service that needs one", `crud(bar, { ...barRoutes, path: "/v1/bars" });`],
  ["an operation that there is not", `crud(gate, { ...gateRoutes, only: ["list", "upsert"] });`],
  ["a tenant's service of an entity that no tenant's key holds", `export class Wrong extends TenantEntityService<typeof gate> {}`],
];

const copy = await followPage();
afterAll(() => copy.remove());
const declarations = join(copy.root, "tests/architecture/declarations.virtual.ts");

/** One compilation of the cases and of the page's code, with the project's options, because compiling takes the time. */
const program = compile([declarations, ...[...newFiles.keys(), "shared/features/index.ts"].map((path) => join(copy.root, path))]);

function compile(paths: readonly string[]): ts.Program {
  const text = `${PREAMBLE}${[...SOUND, ...CASES.map(([, line]) => line)].join("\n")}\n`;
  const { config } = ts.readConfigFile(join(copy.root, "tsconfig.json"), ts.sys.readFile) as { readonly config: unknown };
  const { options } = ts.parseJsonConfigFileContent(config, ts.sys, copy.root);
  const host = ts.createCompilerHost(options);
  const { getSourceFile, fileExists } = host;
  host.fileExists = (name) => name === declarations || fileExists(name);
  host.getSourceFile = (name, version, ...rest) =>
    name === declarations ? ts.createSourceFile(name, text, version) : getSourceFile.call(host, name, version, ...rest);
  return ts.createProgram(paths, options, host);
}

function diagnosticsIn(path: string): readonly ts.Diagnostic[] {
  const file = program.getSourceFile(path);
  return [...program.getSyntacticDiagnostics(file), ...program.getSemanticDiagnostics(file)];
}

test("K28: a mistake in a declaration, a sample, a body or a route is a compile error", () => {
  const first = PREAMBLE.split("\n").length - 1;
  const lineOf = ({ file, start = 0 }: ts.Diagnostic) => (file?.getLineAndCharacterOfPosition(start).line ?? 0) - first;
  const failing = new Set(diagnosticsIn(declarations).map(lineOf));
  const faulty = [...failing].filter((line) => line < SOUND.length).map((line) => SOUND[line] ?? `line ${line} of what comes before`);
  expect(faulty, "what is sound compiles").toEqual([]);
  expect(CASES.filter((_, i) => !failing.has(SOUND.length + i)).map(([what]) => what)).toEqual([]);
});

test(`K28: the code that ${PAGE} shows compiles`, () => {
  const paths = program.getRootFileNames().filter((path) => path !== declarations);
  expect(paths).toHaveLength(newFiles.size + 1);
  const found = paths.flatMap(diagnosticsIn).map(({ messageText }) => ts.flattenDiagnosticMessageText(messageText, "\n"));
  expect(found).toEqual([]);
});
