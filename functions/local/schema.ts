import { chmod, mkdtemp, readdir, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import process from "node:process";
import { registry } from "../../shared/entities/registry.ts";
import { declaredBy, NOTHING_DECLARED, schemaChanges } from "../../shared/kv/declared.ts";
import type { Declared } from "../../shared/kv/declared.ts";
import { openDataDirectory } from "./data-directory.ts";
import { embeddedUrls, migrateDatabase, prepareEmbedded, withClient } from "./database.ts";
import { MIGRATIONS_DIR, readMigrations } from "./migrations.ts";
import { parse, PROJECT_DIR } from "./options.ts";
import { freePort } from "./ports.ts";
import { ensureCluster, startPostgres } from "./postgres.ts";
import { runProgram } from "./refusal.ts";

const HELP = `npm run schema -- [--name NAME] [--first]     writes the next migration from the declarations

  --name NAME  what the file is called after its timestamp (declarations)
  --first      until version 1.0.0: writes the first migration anew from supabase/schemas, and no other
  --help       this text

It compares the declarations with what the migrations make of an empty database and writes the difference.`;

const SCHEMAS_DIR = join(PROJECT_DIR, "supabase", "schemas");
const DECLARED_FILE = "95_declared.sql";
const HEADER = "-- Written by `npm run schema` from the declarations.";
const summaries = new Map(registry.map((entity) => [entity.name, entity.summary]));

await runProgram(async () => {
  const values = parse(process.argv.slice(2), {
    name: { type: "string", default: "declarations" },
    first: { type: "boolean", default: false },
    help: { type: "boolean", default: false },
  });
  if (values["help"]) return console.log(HELP);
  const wanted = declaredBy(registry);
  await writeFile(join(SCHEMAS_DIR, DECLARED_FILE), `${HEADER}\n\n${schemaChanges(NOTHING_DECLARED, wanted, summaries)}\n`);
  if (values["first"]) return await writeFirst();
  const changes = schemaChanges(await migratedState(), wanted, summaries);
  if (!changes) return console.log("the migrations make what is declared: nothing to write");
  const version = new Date().toISOString().replace(/\D/g, "").slice(0, 14);
  const name = String(values["name"]);
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

/** What the migrations make of an empty database, on a server of its own that is gone afterwards. */
async function migratedState(): Promise<Declared> {
  const path = await mkdtemp(join(tmpdir(), "innkeep-schema-"));
  await chmod(path, 0o755); // as root, PostgreSQL runs as another user, who must get in
  const directory = await openDataDirectory(path, { removeAtEnd: true });
  try {
    const port = await freePort();
    await ensureCluster(directory);
    const postgres = await startPostgres({ directory, port, durable: false });
    try {
      const urls = embeddedUrls(port, directory.secrets);
      await prepareEmbedded(urls, directory.secrets);
      await migrateDatabase(urls.owner);
      return await withClient(urls.owner, async (client) => {
        const { rows: [row] } = await client.query<{ declared: Declared }>("select kv.declared()");
        return row?.declared ?? NOTHING_DECLARED;
      });
    } finally {
      await postgres.stop();
    }
  } finally {
    await directory.release();
    await rm(path, { recursive: true, force: true });
  }
}
