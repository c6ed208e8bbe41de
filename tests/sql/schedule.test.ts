import { execFileSync, spawn } from "node:child_process";
import { chownSync, existsSync, readdirSync } from "node:fs";
import { mkdtemp, rm } from "node:fs/promises";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { read } from "../architecture/sources.ts";
import { freePort } from "../support/cluster.ts";
import { withClient } from "../support/client.ts";
import { temporaryPrefix } from "../support/interrupted.ts";
import { emptyDatabase, freshDatabase, migrate } from "../support/postgres.ts";
import type { TestDatabase } from "../support/postgres.ts";
import { bootstrapRoles } from "../support/roles.ts";

const URL = "https://project.supabase.co/functions/v1/jobs";
const SECRET = "scheduler-secret-0123456789";

/** Stand-ins of pg_net and Vault, which no Debian package has, that keep what they are asked to send. */
const NET_AND_VAULT = `
  create schema net; create schema vault;
  create table net.sent (url text, headers jsonb, timeout integer);
  create function net.http_post(url text, body jsonb default '{}', params jsonb default '{}', headers jsonb default '{}', timeout_milliseconds integer default 5000)
    returns bigint language sql as 'insert into net.sent values (url, headers, timeout_milliseconds) returning 1::bigint';
  create table net._http_response (id bigint, status_code integer, error_msg text, created timestamptz);
  create table vault.secrets (name text unique, decrypted_secret text, id uuid default gen_random_uuid());
  create view vault.decrypted_secrets as select * from vault.secrets;
  create function vault.create_secret(text, text) returns uuid language sql as 'insert into vault.secrets values ($2, $1) returning id';
  create function vault.update_secret(uuid, text) returns void language sql as 'update vault.secrets set decrypted_secret = $2 where id = $1';
  grant usage on schema net, vault to innkeep_owner;
  grant all on all tables in schema net, vault to innkeep_owner;`;
const CRON = `
  create schema cron; create table cron.job (jobname text primary key, schedule text, command text);
  create function cron.schedule(text, text, text) returns bigint language sql as
    'insert into cron.job values ($1, $2, $3) on conflict (jobname) do update set schedule = excluded.schedule, command = excluded.command returning 1::bigint';
  grant usage on schema cron to innkeep_owner; grant all on all tables in schema cron to innkeep_owner;`;
const SECRETS = `insert into vault.secrets values ('innkeep_jobs_url', '${URL}'), ('innkeep_jobs_secret', '${SECRET}')`;

const scheduled = (url: string) =>
  withClient(url, async (client) => {
    const { rows: [row] } = await client.query<{ done: boolean }>("select kv.schedule_jobs() as done");
    return row?.done;
  });

/** What the scheduled command sends. */
async function sentBy(database: TestDatabase, name = "innkeep-jobs"): Promise<unknown[]> {
  return await withClient(database.ownerUrl, async (client) => {
    const { rows: [job] } = await client.query<{ command: string }>("select command from cron.job where jobname = $1", [name]);
    await client.query(job?.command ?? "");
    return (await client.query("delete from net.sent returning *")).rows;
  });
}

const ONE_CALL = [{ url: URL, headers: { Authorization: `Bearer ${SECRET}`, "Content-Type": "application/json" }, timeout: 150_000 }];

const callWith = (secret: string) => [{
  ...ONE_CALL[0],
  url: "https://PROJECT.supabase.co/functions/v1/jobs",
  headers: { Authorization: `Bearer ${secret}`, "Content-Type": "application/json" },
}];
/** The blocks of SQL in docs/jobs.md: storing the secrets, pruning the history, changing the secret, looking at the calls. */
const sqlOfThePage = () => [...read("docs/jobs.md").matchAll(/^```sql\n([\s\S]*?)^```$/gm)].map(([, text = ""]) => text);
const historyCommand = (block: string) => /\$\$(.*)\$\$/.exec(block)?.[1] ?? "the page schedules no deletion";

describe("the schedule in the database", () => {
  let database: TestDatabase;
  beforeAll(async () => {
    database = await freshDatabase();
  });
  afterAll(() => database.drop());

  test("O10: is not created while pg_cron, pg_net or Vault is missing, and is created once they exist", async () => {
    expect(await scheduled(database.ownerUrl)).toBe(false);
    await withClient(database.superUrl, (client) => client.query(NET_AND_VAULT));
    expect(await scheduled(database.ownerUrl)).toBe(false);
    await withClient(database.superUrl, (client) => client.query(CRON));
    expect(await scheduled(database.ownerUrl)).toBe(true);
    expect(await scheduled(database.ownerUrl)).toBe(true);
    const { rows } = await withClient(database.superUrl, (client) => client.query("select * from cron.job order by jobname"));
    expect(rows).toEqual([
      { jobname: "innkeep-jobs", schedule: "* * * * *", command: "select kv.call_jobs()" },
      { jobname: "innkeep-webhooks", schedule: "5 seconds", command: "select kv.call_jobs('webhooks')" },
    ]);
  });

  test("O10: calls the function with the secret from Vault, and names the secrets that are missing", async () => {
    await expect(sentBy(database)).rejects.toThrow("Vault has no secret innkeep_jobs_url or innkeep_jobs_secret");
    await withClient(database.superUrl, (client) => client.query(SECRETS));
    expect(await sentBy(database)).toEqual(ONE_CALL);
    expect(await sentBy(database, "innkeep-webhooks")).toEqual([{ ...ONE_CALL[0], url: `${URL}/webhooks` }]);
  });

  test.each(["kv.call_jobs()", "kv.schedule_jobs()"])("R12: the application's login cannot execute %s", async (call) => {
    await expect(withClient(database.appUrl, (client) => client.query(`select ${call}`))).rejects.toMatchObject({ code: "42501" });
  });
});

const PROGRAMS = existsSync("/usr/lib/postgresql")
  ? readdirSync("/usr/lib/postgresql").map((major) => `/usr/lib/postgresql/${major}`).find((at) => existsSync(`${at}/lib/pg_cron.so`))
  : undefined;
const isRoot = process.getuid?.() === 0;
if (!PROGRAMS || !isRoot) console.info("pg_cron is not tested here: it needs root and apt-get install postgresql-15-cron");

describe.runIf(PROGRAMS !== undefined && isRoot)("the schedule on a server with pg_cron", () => {
  let folder = "";
  let superUrl = "";
  let stop: () => Promise<void> = () => Promise.resolve();

  beforeAll(async () => {
    folder = await mkdtemp(temporaryPrefix("local-test"));
    const [uid = 0, gid = 0] = ["-u", "-g"].map((option) => Number(execFileSync("id", [option, "postgres"], { encoding: "utf8" })));
    chownSync(folder, uid, gid);
    const data = join(folder, "postgres");
    const as = { uid, gid, cwd: folder, stdio: "ignore" as const };
    execFileSync(
      `${PROGRAMS}/bin/initdb`,
      ["-D", data, "-U", "postgres", "--auth=trust", "--no-sync", "--locale=C", "--encoding=UTF8"],
      as,
    );
    const port = await freePort();
    superUrl = `postgres://postgres@127.0.0.1:${port}/postgres`;
    const settings = [`port=${port}`, "listen_addresses=127.0.0.1", "unix_socket_directories=", "fsync=off"];
    const cron = ["shared_preload_libraries=pg_cron", "cron.database_name=innkeep_cron", "max_connections=50"];
    const server = spawn(`${PROGRAMS}/bin/postgres`, ["-D", data, ...[...settings, ...cron].flatMap((setting) => ["-c", setting])], as);
    const ended = new Promise((resolve) => server.once("exit", resolve));
    stop = async () => {
      server.kill("SIGINT");
      await ended;
      await rm(folder, { recursive: true, force: true });
    };
    const answers = () => withClient(superUrl, () => Promise.resolve(true)).catch(() => false);
    for (let tries = 0; !await answers() && tries < 200; tries++) await sleep(100);
    await bootstrapRoles(superUrl);
  });
  afterAll(() => stop());

  test("O10: the migration schedules the call once, its command calls the function, and the statements of docs/jobs.md work", async () => {
    const empty = await emptyDatabase("", superUrl);
    await withClient(superUrl, (client) => client.query(`alter database ${empty.name} rename to innkeep_cron`));
    const at = (url: string) => url.replace(empty.name, "innkeep_cron");
    const database = { ...empty, ownerUrl: at(empty.ownerUrl), superUrl: at(empty.superUrl) };
    await withClient(database.superUrl, async (client) => {
      await client.query(`${NET_AND_VAULT} ${SECRETS}; create extension pg_cron; grant usage on schema cron to innkeep_owner`);
    });
    await migrate(database.ownerUrl);
    expect(await scheduled(database.ownerUrl)).toBe(true);
    const { rows } = await withClient(
      database.superUrl,
      (client) => client.query("select jobname, schedule, command, active from cron.job order by jobname"),
    );
    // This version of pg_cron knows no seconds.
    expect(rows).toEqual([
      { jobname: "innkeep-jobs", schedule: "* * * * *", command: "select kv.call_jobs()", active: true },
      { jobname: "innkeep-webhooks", schedule: "* * * * *", command: "select kv.call_jobs('webhooks')", active: true },
    ]);
    expect(await sentBy(database)).toEqual(ONE_CALL);

    await withClient(database.ownerUrl, (client) => client.query("truncate vault.secrets; select cron.unschedule(jobname) from cron.job"));
    const [setUp = "", history = "", update = "", look = "", ...others] = sqlOfThePage();
    expect(others).toEqual([]);
    await withClient(database.ownerUrl, (client) => client.query(setUp));
    expect(await sentBy(database)).toEqual(callWith("the value of JOBS_SECRET"));
    await withClient(database.ownerUrl, (client) => client.query(update));
    expect(await sentBy(database)).toEqual(callWith("the new value"));
    await withClient(database.ownerUrl, (client) => client.query(`${history} ${look} ${historyCommand(history)}`));
    await withClient(
      database.ownerUrl,
      (client) => client.query("select cron.unschedule('innkeep-jobs'), cron.unschedule('innkeep-webhooks')"),
    );
    expect(await withClient(database.superUrl, async (client) => (await client.query("select jobname from cron.job")).rows)).toEqual([
      { jobname: "innkeep-cron-history" },
    ]);
  });
});
