import { createClient } from "@hey-api/openapi-ts";
import { mkdtemp, rm, symlink, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import openapiTS, { astToString } from "openapi-typescript";
import ts from "typescript";
import { afterAll, beforeAll, expect, test } from "vitest";
import { read, ROOT } from "../architecture/sources.ts";
import { useApi } from "./support/api.ts";
import { type ClientProgram, HEY_API, OPENAPI_FETCH } from "./support/client-programs.ts";

const api = useApi();
const PROGRAMS: Readonly<Record<string, ClientProgram>> = { "openapi-fetch": OPENAPI_FETCH, "hey-api": HEY_API };
const OPTIONS: ts.CompilerOptions = {
  strict: true,
  noUncheckedIndexedAccess: true,
  target: ts.ScriptTarget.ES2022,
  module: ts.ModuleKind.NodeNext,
  moduleResolution: ts.ModuleResolutionKind.NodeNext,
  lib: ["lib.es2023.d.ts", "lib.dom.d.ts", "lib.dom.iterable.d.ts"],
  rewriteRelativeImportExtensions: true,
  skipLibCheck: true,
  types: [],
};
let folder = "";
let program: ts.Program;

/** The file of a program: the correct one, or one with a mistake. */
function fileOf(client: string, mistake?: string): string {
  return join(folder, `${client}${mistake === undefined ? "" : ` with ${mistake}`}.ts`.replaceAll(" ", "-"));
}

/** Generates both clients from the served file, and compiles all versions of the programs at once. */
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "innkeep-clients-"));
  await symlink(join(ROOT, "node_modules"), join(folder, "node_modules"));
  await writeFile(join(folder, "package.json"), '{ "type": "module" }');
  const text = JSON.stringify(api.contract.document);
  await writeFile(join(folder, "schema.ts"), astToString(await openapiTS(text, { defaultNonNullable: false })));
  await createClient({
    input: JSON.parse(text) as Record<string, unknown>,
    output: { path: join(folder, "sdk"), module: { extension: ".ts" } },
    plugins: ["@hey-api/client-fetch", "@hey-api/typescript", "@hey-api/sdk"],
    logs: { level: "silent", file: false },
  });
  const files: string[] = [];
  for (const [client, { text, mistakes }] of Object.entries(PROGRAMS)) {
    await writeFile(fileOf(client), text);
    files.push(fileOf(client));
    for (const [mistake, [right, wrong]] of Object.entries(mistakes)) {
      expect(text, mistake).toContain(right);
      await writeFile(fileOf(client, mistake), text.replace(right, wrong));
      files.push(fileOf(client, mistake));
    }
  }
  const [, shown = "the page has no program"] = /```ts\n(.*?)```/s.exec(read("docs/frontend.md")) ?? [];
  const page = join(folder, "page.ts");
  await writeFile(page, `${shown}\ndeclare function accessToken(): Promise<string>;\n`);
  program = ts.createProgram([...files, page], OPTIONS);
});

afterAll(async () => await rm(folder, { recursive: true }));

/** The compiler's errors in one file, or in all files except the programs with a mistake. */
function errorsIn(path?: string): string[] {
  const found = path === undefined ? ts.getPreEmitDiagnostics(program) : ts.getPreEmitDiagnostics(program, program.getSourceFile(path));
  return found.filter(({ file }) => path !== undefined || !file?.fileName.includes("-with-"))
    .map(({ file, messageText }) => `${file?.fileName.slice(folder.length)}: ${ts.flattenDiagnosticMessageText(messageText, " ")}`);
}

test("H11: two generated clients compile in strict mode, as do programs that use them and the one in docs/frontend.md", () => {
  expect(errorsIn()).toEqual([]);
});

for (const [client, { mistakes }] of Object.entries(PROGRAMS)) {
  test(`H11: a program over ${client} does not compile with a mistake of a field, a value, a code or a header`, () => {
    for (const mistake of Object.keys(mistakes)) expect(errorsIn(fileOf(client, mistake)).length, mistake).toBeGreaterThan(0);
  });

  test(`H11: a program over ${client} lists with several filters, creates, and changes one version only`, async () => {
    program.emit(program.getSourceFile(fileOf(client)));
    for (const file of program.getSourceFiles()) if (file.fileName.startsWith(`${folder}/s`)) program.emit(file);
    const module = await import(pathToFileURL(fileOf(client).replace(/ts$/, "js")).href) as { readonly program: ProgramOf };
    const { list, create, rename } = module.program(api.admin("super_admin"), send);
    const subdomain = `client-of-${client}`;
    const id = await create(subdomain) ?? "";
    expect(await create(subdomain)).toBeNull();
    await api.tenant({ mrr: 0 });
    const listed = await list();
    expect(listed.subdomains).toContain(subdomain);
    expect(listed.total).toBe(listed.subdomains.length);
    const { version = "" } = await api.services.TenantService.get(id) ?? {};
    expect([await rename(id, version), await rename(id, version)]).toEqual(["Hotel Renamed", "stale"]);
  });
}

type ProgramOf = (token: string, send: (request: Request) => Promise<Response>) => {
  list(): Promise<{ readonly total: number | undefined; readonly subdomains: string[] }>;
  create(subdomain: string): Promise<string | null>;
  rename(tenantId: string, version: string): Promise<string>;
};

/** Sends the client's request to the app, which checks the response against the file. */
async function send(request: Request): Promise<Response> {
  const { pathname, search } = new URL(request.url);
  const raw = request.body ? await request.text() : undefined;
  const headers = Object.fromEntries(request.headers);
  const answer = await api.send(request.method, `${pathname}${search}`, { headers, ...(raw === undefined ? {} : { raw }) });
  return new Response(answer.status === 204 ? null : answer.text, { status: answer.status, headers: answer.headers });
}
