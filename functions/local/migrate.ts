import process from "node:process";
import { externalDatabase, migrateDatabase } from "./database.ts";
import { parse } from "./options.ts";
import { Refusal, runProgram } from "./refusal.ts";

const HELP = `npm run migrate -- [--dry-run]     brings the database of DATABASE_URL up to this program's migrations

It also builds what a migration left pending beside a large family (GET /ready names it): indexes concurrently, rollups
in steps, while readers and writers go on. Stopped in between, the next run goes on. While it waits for a lock it says
who holds it.

  --dry-run   says what would be applied and built, and changes nothing
  -h, --help  this text

In a Supabase project of Innkeep's own, this and "supabase db push --remote" may be mixed: the CLI's table records what is
applied. Where an application has its migrations in that table, none of ours are added, and this is the way to migrate.`;

await runProgram(async () => {
  const values = parse(process.argv.slice(2), {
    "dry-run": { type: "boolean", default: false },
    help: { type: "boolean", default: false },
  });
  if (values["help"]) return console.log(HELP);
  const database = externalDatabase();
  if (!database) {
    throw new Refusal("DATABASE_URL is not set: it names the database to migrate (the local stack migrates its own at the start)");
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
