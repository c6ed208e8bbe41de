import { readdir, readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import process from "node:process";
import { registry } from "../../shared/features/registry.ts";
import { declaredBy, NOTHING_DECLARED, schemaChanges } from "../../shared/kv/declared.ts";
import type { Declared } from "../../shared/kv/declared.ts";
import { openDataDirectory, temporaryDirectory } from "./data-directory.ts";
import type { Secrets } from "./data-directory.ts";
import { embeddedUrls, migrateDatabase, prepareEmbedded, withClient } from "./database.ts";
import type { DatabaseUrls } from "./database.ts";
import { MIGRATION_NAME, MIGRATIONS_DIR, readMigrations } from "./migrations.ts";
import { parse, PROJECT_DIR } from "./options.ts";
import { freePort } from "./ports.ts";
import { ensureCluster, startPostgres } from "./postgres.ts";
import { Refusal, runProgram } from "./refusal.ts";
import { orStopped, stopSignal } from "./stop-signal.ts";

const HELP = `npm run schema -- [--name NAME] [--first]     writes the next migration from the declarations

  --name NAME  name of the file after its timestamp (default: declarations): ${MIGRATION_NAME.words}
  --first      before version 1.0.0: rewrite the first migration from supabase/schemas instead
  -h, --help   print this text

It applies the migrations to an empty database, compares the result with the declarations and writes the difference.`;

const SCHEMAS_DIR = join(PROJECT_DIR, "supabase", "schemas");
const DECLARED_FILE = "95_declared.sql";
const HEADER = "-- Written by `npm run schema` from the declarations.";
const summaries = new Map(registry.map((entity) => [entity.name, entity.summary]));

await runProgram(async () => {
  const values = parse(process.argv.slice(2), {
    name: { type: "string", default: "declarations" },
    first: { type: "boolean", default: false },
  });
  if (values["help"]) return console.log(HELP);
  const name = String(values["name"]);
  if (!MIGRATION_NAME.pattern.test(name)) throw new Refusal(`--name must consist of ${MIGRATION_NAME.words}, not ${JSON.stringify(name)}`);
  const stopping = stopSignal();
  const wanted = declaredBy(registry);
  await writeFile(join(SCHEMAS_DIR, DECLARED_FILE), `${HEADER}\n\n${schemaChanges(NOTHING_DECLARED, wanted, summaries)}\n`);
  if (values["first"]) return await writeFirst();
  const changes = schemaChanges(await migratedState(stopping), wanted, summaries);
  if (!changes) return console.log("the migrations match the declarations: nothing to write");
  const version = new Date().toISOString().replace(/\D/g, "").slice(0, 14);
  const file = `${version}_${name}.sql`;
  await writeFile(join(MIGRATIONS_DIR, file), `${HEADER}\n\n${changes}\n\n${recorded(version, name)}\n`);
  console.log(`wrote supabase/migrations/${file}; set SCHEMA_VERSION in shared/adapters/migrator.ts to ${version}`);
});

function recorded(version: string, name: string): string {
  return `insert into kv.migrations (version, name) values ('${version}', '${name}');`;
}

async function writeFirst(): Promise<void> {
  const [first] = await readMigrations();
  if (!first) throw new TypeError("there is no first migration");
  const files = (await readdir(SCHEMAS_DIR)).filter((file) => file.endsWith(".sql")).sort();
  const parts = await Promise.all(files.map((file) => readFile(join(SCHEMAS_DIR, file), "utf8")));
  await writeFile(
    join(MIGRATIONS_DIR, `${first.version}_${first.name}.sql`),
    [...parts, `${recorded(first.version, first.name)}\n`].join("\n"),
  );
  console.log(`wrote supabase/migrations/${first.version}_${first.name}.sql`);
}

/** The declarations of a database after all migrations, on a temporary server. */
async function migratedState(stopping: AbortSignal): Promise<Declared> {
  const directory = await openDataDirectory(await temporaryDirectory(), { removeAtEnd: true });
  try {
    const port = await freePort();
    await ensureCluster(directory, stopping);
    const postgres = await startPostgres({ directory, port, durable: false, stopping });
    try {
      return await orStopped(stopping, declaredAfterMigrations(embeddedUrls(port, directory.secrets), directory.secrets));
    } finally {
      await postgres.stop();
    }
  } finally {
    await directory.release();
  }
}

async function declaredAfterMigrations(urls: DatabaseUrls, secrets: Secrets): Promise<Declared> {
  await prepareEmbedded(urls, secrets);
  await migrateDatabase(urls.owner);
  return await withClient(urls.owner, async (client) => {
    const { rows: [row] } = await client.query<{ declared: Declared }>("select kv.declared()");
    return row?.declared ?? NOTHING_DECLARED;
  });
}
