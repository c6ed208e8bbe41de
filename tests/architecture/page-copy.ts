import { cp, mkdir, mkdtemp, readFile, rm, symlink, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { read, ROOT } from "./sources.ts";

export const PAGE = "docs/adding-an-entity.md";
const LIST = "shared/features/index.ts";
const VERSION = "shared/adapters/migrator.ts";

/** The code blocks of the page in one language. */
function blocks(language: string): string[] {
  return [...read(PAGE).matchAll(new RegExp(`^\`\`\`${language}\\n([\\s\\S]*?)^\`\`\`$`, "gm"))].map(([, text = ""]) => text);
}

/** The TypeScript of the page, by the file that the first line of a block names. */
const named = new Map(
  blocks("ts").flatMap((text) => {
    const [first = "", path = ""] = /^\/\/ (shared\/[\w./-]+)\n/.exec(text) ?? [];
    return path ? [[path, text.slice(first.length)] as const] : [];
  }),
);

/** The files that the page shows, and its additions to existing files. */
export const newFiles: ReadonlyMap<string, string> = new Map([...named].filter(([path]) => path !== LIST));
const entry = named.get(LIST) ?? "";
export const migration = blocks("sql")[0] ?? "";
export const migrationVersion = /values \('(\d{14})', 'doors'\);\n$/.exec(migration)?.[1] ?? "";

export interface ProgramCopy {
  readonly root: string;
  /** The number of lines added to each existing file. */
  readonly added: ReadonlyMap<string, number>;
  remove(): Promise<void>;
}

/** A copy of the program with the changes of the page. */
export async function followPage(): Promise<ProgramCopy> {
  const root = await mkdtemp(join(tmpdir(), "innkeep-adding-an-entity-"));
  for (const folder of ["shared", "functions", "supabase", "docs", "tests/core", "tests/http/support", "tests/support"]) {
    await cp(join(ROOT, folder), join(root, folder), { recursive: true });
  }
  for (const file of ["package.json", "deno.json", "tsconfig.json", "README.md"]) await cp(join(ROOT, file), join(root, file));
  await symlink(join(ROOT, "node_modules"), join(root, "node_modules"), "dir");
  for (const [path, text] of newFiles) await write(root, path, text);
  await write(root, `supabase/migrations/${migrationVersion}_doors.sql`, migration);
  const added = new Map([
    [LIST, await edit(root, LIST, withEntry)],
    [VERSION, await edit(root, VERSION, (text) => text.replace(/(SCHEMA_VERSION = ")\d+/, `$1${migrationVersion}`))],
  ]);
  return { root, added, remove: () => rm(root, { recursive: true, force: true }) };
}

/** The page's entry at the end of the list. */
function withEntry(text: string): string {
  const end = text.indexOf("] as const satisfies");
  if (!entry || end < 0) throw new Error(`${LIST} is not as ${PAGE} says`);
  return `${text.slice(0, end)}${entry}${text.slice(end)}`;
}

async function write(root: string, path: string, text: string): Promise<void> {
  await mkdir(dirname(join(root, path)), { recursive: true });
  await writeFile(join(root, path), text);
}

/** Changes a file of the copy. Returns the number of new lines. */
async function edit(root: string, path: string, change: (text: string) => string): Promise<number> {
  const before = await readFile(join(root, path), "utf8");
  const after = change(before);
  await writeFile(join(root, path), after);
  const known = new Set(before.split("\n"));
  const grown = after.split("\n").length - before.split("\n").length;
  return Math.max(grown, after.split("\n").filter((line) => !known.has(line)).length);
}

export function lineCount(text: string): number {
  return text.split("\n").length - 1;
}
