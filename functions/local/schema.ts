import { writeFile } from "node:fs/promises";
import process from "node:process";
import { declaredSql, pagesSql } from "../../shared/derive/schema-sql.ts";
import { registry } from "../../shared/entities/registry.ts";

// What the declarations ask of the database. Printed, for the migration a change needs; `--write` also
// refreshes the two files of supabase/schemas that are this text.
const files = { "20_declared.sql": declaredSql(registry), "45_pages.sql": pagesSql(registry) };
for (const [name, sql] of Object.entries(files)) {
  if (process.argv.includes("--write")) await writeFile(new URL(`../../supabase/schemas/${name}`, import.meta.url), sql);
  else console.log(`${sql.trimEnd()}\n`);
}
