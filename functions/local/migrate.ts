import process from "node:process";
import { externalDatabase, migrateDatabase } from "./database.ts";
import { parse } from "./options.ts";
import { Refusal, runProgram } from "./refusal.ts";

const HELP = `npm run migrate -- [--dry-run]     applies this program's migrations to the database of DATABASE_URL

It also builds the pending indexes and rollups of large families, which GET /ready lists. Indexes are built
concurrently and rollups in steps, so reads and writes continue. If it is stopped, the next run continues. While it
waits for a lock, it prints who holds the lock.

  --dry-run   print what would be applied and built, without changing anything
  -h, --help  print this text

If a Supabase project contains only Innkeep, you can use this command and "supabase db push --remote" in any order:
both record applied migrations in the CLI's table. If another application's migrations are in that table, Innkeep adds
none of its own to it; then use only this command.`;

await runProgram(async () => {
  const values = parse(process.argv.slice(2), {
    "dry-run": { type: "boolean", default: false },
    help: { type: "boolean", default: false },
  });
  if (values["help"]) return console.log(HELP);
  const database = externalDatabase();
  if (!database) {
    throw new Refusal("DATABASE_URL is not set: set it to the database to migrate. npm start migrates the local stack itself");
  }
  const dryRun = values["dry-run"] === true;
  const { applied, built } = await migrateDatabase(database.connectionString, {
    dryRun,
    onApplied: ({ version, name }) => console.log(`applied ${version}_${name}`),
    onProgress: ({ kind, name }, reached) =>
      console.log(reached === null ? `building ${kind} ${name}` : `building ${kind} ${name}: reached ${reached}`),
    onBuilt: ({ kind, name }) => console.log(`built ${kind} ${name}`),
    onWait: (line) => console.log(line),
  });
  if (dryRun) {
    for (const { version, name } of applied) console.log(`would apply ${version}_${name}`);
    for (const { kind, name } of built) console.log(`would build ${kind} ${name}`);
  }
  if (applied.length + built.length === 0) console.log("nothing to apply");
});
