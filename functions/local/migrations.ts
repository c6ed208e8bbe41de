import { readdir, readFile } from "node:fs/promises";
import { join } from "node:path";
import type { Migration } from "../../shared/adapters/migrator.ts";
import { PROJECT_DIR } from "./options.ts";
import { Refusal } from "./refusal.ts";

export const MIGRATIONS_DIR = join(PROJECT_DIR, "supabase", "migrations");

/** The files of `supabase/migrations`, in order. */
export async function readMigrations(directory = MIGRATIONS_DIR): Promise<Migration[]> {
  const files = (await readdir(directory)).filter((file) => file.endsWith(".sql")).sort();
  return await Promise.all(files.map(async (file) => {
    const [, version, name] = /^(\d{14})_([a-z0-9_]+)\.sql$/.exec(file) ?? [];
    if (!version || !name) throw new Refusal(`${file} must be named <YYYYMMDDHHmmss>_<name>.sql`);
    return { version, name, sql: await readFile(join(directory, file), "utf8") };
  }));
}
