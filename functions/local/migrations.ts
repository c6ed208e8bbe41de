import { readdir, readFile } from "node:fs/promises";
import { join } from "node:path";
import type { Migration } from "../../shared/adapters/migrator.ts";
import { PROJECT_DIR } from "./options.ts";
import { Refusal } from "./refusal.ts";

export const MIGRATIONS_DIR = join(PROJECT_DIR, "supabase", "migrations");

/** The characters that the name of a migration may contain. */
export const MIGRATION_NAME = { pattern: /^[a-z0-9_]+$/, words: "lower-case letters, digits and underscores" };

/** The files of `supabase/migrations`, in order. */
export async function readMigrations(directory = MIGRATIONS_DIR): Promise<Migration[]> {
  const files = (await readdir(directory)).filter((file) => file.endsWith(".sql")).sort();
  return await Promise.all(files.map(async (file) => {
    const [, version, name = ""] = /^(\d{14})_(.+)\.sql$/.exec(file) ?? [];
    if (!version || !MIGRATION_NAME.pattern.test(name)) {
      throw new Refusal(`${file} must be named <YYYYMMDDHHmmss>_<name>.sql; the name may contain only ${MIGRATION_NAME.words}`);
    }
    return { version, name, sql: await readFile(join(directory, file), "utf8") };
  }));
}
