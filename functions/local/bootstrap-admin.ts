import process from "node:process";
import { bootstrapPlatform, createContainer } from "../../shared/container.ts";
import { systemClock } from "../../shared/kernel/clock.ts";
import { systemContext } from "../../shared/kernel/context.ts";
import { isInnkeepError } from "../../shared/kernel/errors.ts";
import { silentLogger } from "../../shared/kernel/logger.ts";
import { postgresDriver } from "../../shared/kv/drivers/postgres.ts";
import type { PostgresDriverOptions } from "../../shared/kv/drivers/postgres.ts";
import { createStore } from "../../shared/kv/sql-store.ts";
import { openDataDirectory, peekDataDirectory } from "./data-directory.ts";
import { embeddedUrls, externalDatabase, migrateDatabase } from "./database.ts";
import { dataDirOf, parse } from "./options.ts";
import { Refusal, runProgram } from "./refusal.ts";
import { bootDatabase } from "./stack.ts";
import { orStopped, stopSignal } from "./stop-signal.ts";

const HELP = `npm run bootstrap-admin -- --email E --user-id U [--name N]     creates the first super_admin

  --email E      or INNKEEP_BOOTSTRAP_ADMIN_EMAIL
  --user-id U    or INNKEEP_BOOTSTRAP_ADMIN_USER_ID: the Supabase Auth id, which is the sub of the person's tokens
  --name N       the name shown in lists and in the audit log (default: the email)
  --data DIR     data directory of the local stack (default: .innkeep)
  -h, --help     print this text

It uses the migrated database of DATABASE_URL and the API's INNKEEP_DB_ variables. Without DATABASE_URL it uses the
database of the local stack. It also creates those of the four default plans that are missing. It refuses to run once
an enabled super_admin exists; administrators then create further administrators.`;

await runProgram(async () => {
  const values = parse(process.argv.slice(2), {
    email: { type: "string" },
    "user-id": { type: "string" },
    name: { type: "string" },
    data: { type: "string" },
  });
  if (values["help"]) return console.log(HELP);
  const given = (option: string, variable: string): string => {
    const value = values[option] || process.env[variable];
    if (typeof value !== "string" || value === "") throw new Refusal(`--${option} or ${variable} is missing: set one of them; see --help`);
    return value;
  };
  const email = given("email", "INNKEEP_BOOTSTRAP_ADMIN_EMAIL");
  const userId = given("user-id", "INNKEEP_BOOTSTRAP_ADMIN_USER_ID");
  const name = typeof values["name"] === "string" ? { name: values["name"] } : {};
  const stopping = stopSignal();
  await withDatabase(stopping, dataDirOf(values["data"]), async (database) => {
    const store = createStore(postgresDriver({ ...database, max: 2 }), { clock: systemClock });
    const container = await createContainer({ store, clock: systemClock, logger: silentLogger });
    const services = container.services(systemContext(systemClock, "bootstrap", "bootstrap"));
    try {
      const { admin, plans } = await bootstrapPlatform(services, { userId, email, ...name }).catch(inTermsOfOptions);
      console.log(`${userId} (${email}) is ${admin.role}${plans.length > 0 ? `; plans created: ${plans.join(", ")}` : ""}`);
    } finally {
      await store.close();
    }
  });
});

/** Throws the error again. An invalid field is named by its option. */
function inTermsOfOptions(error: unknown): never {
  if (!isInnkeepError(error, "validation_failed") || error.fields.length === 0) throw error;
  const optionOf = (path: string) => `--${path.slice(1).replace("userId", "user-id")}`;
  throw new Refusal(error.fields.map(({ path, message }) => `${optionOf(path)} ${message}`).join("; "));
}

/** Uses DATABASE_URL, else the running local stack's database, else starts the database of its data directory for this call. */
async function withDatabase(
  stopping: AbortSignal,
  dataDir: string,
  work: (database: PostgresDriverOptions) => Promise<void>,
): Promise<void> {
  const external = externalDatabase();
  if (external) return await orStopped(stopping, work(external));
  const running = await peekDataDirectory(dataDir).catch(() => null);
  if (running?.running && running.info) {
    const { app } = embeddedUrls(Number(new URL(running.info.databaseUrl).port), running.secrets);
    return await orStopped(stopping, work({ connectionString: app }));
  }
  const cleanups: (() => Promise<void>)[] = [];
  try {
    const directory = await openDataDirectory(dataDir);
    cleanups.push(() => directory.release());
    const context = { options: { ephemeral: false }, externalUrl: undefined, say: () => undefined, stopping };
    const urls = await bootDatabase(directory, context, cleanups);
    await orStopped(stopping, migrateDatabase(urls.owner));
    await orStopped(stopping, work({ connectionString: urls.app }));
  } finally {
    for (const cleanup of cleanups.reverse()) await cleanup();
  }
}
