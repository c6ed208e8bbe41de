import { readdir, readFile } from "node:fs/promises";
import { fileURLToPath } from "node:url";
import type pg from "pg";
import type { Cluster } from "../support/cluster.ts";
import { withClient } from "../support/client.ts";
import { bootstrapRoles, ROLE_PASSWORD } from "../support/roles.ts";
import { migrate } from "../../shared/adapters/migrator.ts";

const MIGRATIONS = fileURLToPath(new URL("../../supabase/migrations/", import.meta.url));

export interface BenchDatabase {
  readonly appUrl: string;
  readonly ownerUrl: string;
  readonly superUrl: string;
}

export interface DatasetOptions {
  readonly tenants: number;
  /** Whether each tenant has nine more records, six of them usage counters. */
  readonly details?: boolean;
  /** The number of rows of the family `domain`: ten per tenant, spread over the keys of the family. */
  readonly domains?: number;
  /** The rows that are also in the key-value habit's table: all, or those of the family `domain`. */
  readonly habit?: "all" | "domains";
  /** Whether search indexes are omitted, which take a third of the time of a large load. */
  readonly unsearched?: boolean;
}

/** A migrated database with rows. They are loaded without triggers and secondary indexes, which are built afterwards. */
export async function createDataset(cluster: Cluster, name: string, options: DatasetOptions): Promise<BenchDatabase> {
  const database = await createDatabase(cluster, name);
  const { tenants, details = false, domains = 0, habit, unsearched = false } = options;
  const load = async (client: pg.Client) => {
    await client.query(TENANTS, [tenants]);
    if (details) { for (const sql of DETAILS) await client.query(sql, [tenants]); }
    if (domains > 0) await client.query(DOMAINS, [domains]);
    await client.query(
      "insert into kv.owners (owner) select distinct owner from kv.entries where owner is not null on conflict do nothing",
    );
    if (habit) {
      await client.query(HABIT);
      await client.query(`insert into public.kv_store select key, value from kv.${habit === "all" ? "entries" : "entries_domain"}`);
    }
  };
  await loadFast(database, load, unsearched ? "using gin" : null);
  return database;
}

/** A migrated database without rows. */
export async function createDatabase(cluster: Cluster, name: string): Promise<BenchDatabase> {
  await bootstrapRoles(cluster.superUrl);
  await withClient(cluster.superUrl, (admin) => admin.query(`create database ${name} owner innkeep_owner`));
  const url = (role?: string) => {
    const at = new URL(cluster.superUrl);
    at.pathname = `/${name}`;
    if (role) [at.username, at.password] = [role, ROLE_PASSWORD];
    return at.href;
  };
  const files = (await readdir(MIGRATIONS)).filter((file) => file.endsWith(".sql")).sort();
  const migrations = await Promise.all(files.map(async (file) => {
    const [, version = "", title = ""] = /^(\d+)_(.+)\.sql$/.exec(file) ?? [];
    return { version, name: title, sql: await readFile(MIGRATIONS + file, "utf8") };
  }));
  await withClient(url("innkeep_owner"), (owner) => migrate(owner, migrations));
  return { appUrl: url("innkeep_app"), ownerUrl: url("innkeep_owner"), superUrl: url() };
}

/** Runs `load` without triggers and secondary indexes. Then builds indexes and rollups and analyzes the tables. */
export async function loadFast(
  { superUrl }: BenchDatabase,
  load: (client: pg.Client) => Promise<void>,
  without: string | null = null,
): Promise<void> {
  await withClient(superUrl, async (client) => {
    await client.query("set session_replication_role = replica");
    await client.query("set synchronous_commit = off");
    await client.query("set maintenance_work_mem = '1GB'");
    const { rows: indexes } = await client.query<{ name: string; definition: string }>(INDEXES);
    for (const { name } of indexes) await client.query(`drop index kv.${name}`);
    await load(client);
    for (const { definition } of indexes) {
      if (without === null || !definition.toLowerCase().includes(without)) await client.query(definition);
    }
    await client.query(ROLLUPS);
    await client.query("set session_replication_role = origin");
    await client.query("vacuum (analyze)");
    await client.query("checkpoint");
  });
}

/** The secondary indexes, without those of partitions that belong to an index of the whole table. */
const INDEXES = `
  select c.relname as name, replace(pg_get_indexdef(i.indexrelid), ' ON ONLY ', ' ON ') as definition
  from pg_index i join pg_class c on c.oid = i.indexrelid join pg_class t on t.oid = i.indrelid
  where t.relnamespace = 'kv'::regnamespace and t.relname ~ '^entries' and not i.indisprimary and not c.relispartition`;

/** Fills the rollups, as migrations do for a family with rows. */
const ROLLUPS = `
  do $$
  declare
    v_rollup text;
  begin
    truncate kv.rollup_shards;
    update kv.rollups set filled_to = '';
    for v_rollup in select rollup from kv.rollups loop
      while not kv.fill_rollup(v_rollup, 1000000) loop end loop;
    end loop;
  end $$`;

const ID = "'tn_' || lpad(i::text, 7, '0')";
const ISO = `to_char(timestamp '2024-01-01' + i * interval '7 minutes', 'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"')`;

const TENANTS = `
  insert into kv.entries (key, value, version, owner, cascades, created_at, updated_at)
  select 'tenant:' || ${ID}, jsonb_build_object('id', ${ID}, 'name', 'Hotel ' || md5(i::text), 'subdomain', 'h' || i,
    'plan', (array['Trial','Basic','Pro','Enterprise'])[1 + i % 4], 'status', (array['active','trial','suspended','active','cancelled'])[1 + i % 5],
    'owner', 'owner' || i || '@hotel.example', 'ownerName', 'Owner ' || i, 'usagePercent', i % 101,
    'mrr', round((i::bigint * 7919 % 100000)::numeric / 100, 2), 'mrrSource', 'plan', 'region', (array['eu-west-1','us-east-1'])[1 + i % 2],
    'billingEntity', 'Hotel ' || i || ' Betriebs GmbH, Am Markt ' || i % 200, 'ownerUserId', md5('owner' || i),
    'branding', jsonb_build_object('logoUrl', 'https://cdn.hotel.example/' || md5(i::text) || '/logo.svg', 'primaryColor', '#1f6feb'),
    'settings', jsonb_build_object('locale', 'de-DE', 'timeZone', 'Europe/Berlin', 'checkIn', '15:00', 'checkOut', '11:00', 'currency', 'EUR'),
    'metadata', jsonb_build_object('crmId', md5('crm' || i), 'segment', 'independent', 'contractSigned', '2024-01-01', 'accountManager', 'am' || i % 40),
    'created', '2024-01-01', 'createdAt', ${ISO}, 'updatedAt', ${ISO}), nextval('kv.versions'), ${ID}, true, now(), now()
  from generate_series(0, $1::int - 1) i`;

/** 100 rows under one prefix among all others. */
const LISTED = `
  insert into kv.entries (key, value, version, owner, cascades, created_at, updated_at)
  select 'idem:listed:' || i, jsonb_build_object('i', i, 'createdAt', ${ISO}), nextval('kv.versions'), null, true, now(), now()
  from generate_series(1, 100) i where $1::int > 0`;

const DETAILS = [
  `insert into kv.entries (key, value, version, owner, cascades, created_at, updated_at)
   select 'subdomain:h' || i, jsonb_build_object('label', 'h' || i, 'tenantId', ${ID}, 'createdAt', ${ISO}), nextval('kv.versions'), ${ID}, true, now(), now()
   from generate_series(0, $1::int - 1) i`,
  `insert into kv.entries (key, value, version, owner, cascades, created_at, updated_at)
   select 'subscription:' || ${ID}, jsonb_build_object('id', 'sub_' || i, 'tenantId', ${ID}, 'planId', 'Pro', 'status', 'active',
     'currentPeriodStart', ${ISO}, 'currentPeriodEnd', ${ISO}, 'createdAt', ${ISO}), nextval('kv.versions'), ${ID}, true, now(), now()
   from generate_series(0, $1::int - 1) i`,
  `insert into kv.entries (key, value, version, owner, cascades, created_at, updated_at)
   select 'audit:' || ${ID} || ':' || ${ISO} || ':' || left(md5(i::text), 12), jsonb_build_object('action', 'tenant.created', 'resource', 'tenant',
     'resourceId', ${ID}, 'tenantId', ${ID}, 'userId', 'u' || i % 50, 'timestamp', ${ISO}, 'seq', 1), nextval('kv.versions'), ${ID}, false, now(), now()
   from generate_series(0, $1::int - 1) i`,
  `insert into kv.entries (key, value, version, owner, cascades, created_at, updated_at)
   select 'usage:' || ${ID} || ':' || m || ':2026-03', jsonb_build_object('tenantId', ${ID}, 'metric', m, 'period', '2026-03', 'current', i % 1000,
     'limit', 10000, 'daily', jsonb_build_object('2026-03-01', i % 1000), 'createdAt', ${ISO}), nextval('kv.versions'), ${ID}, true, now(), now()
   from generate_series(0, $1::int - 1) i, unnest(array['users','properties','rooms','bookings','api_calls','storage']) m`,
  LISTED,
];

const DOMAINS = `
  insert into kv.entries (key, value, version, owner, cascades, created_at, updated_at)
  select 'domain:h' || i || '.example', jsonb_build_object('domain', 'h' || i || '.example', 'tenantId', tenant, 'createdAt', ${ISO}),
    nextval('kv.versions'), tenant, true, now(), now()
  from generate_series(0, $1::int - 1) i, lateral (select 'tn_' || lpad((i % ($1::int / 10))::text, 7, '0') as tenant) t`;

/** The same rows in the habit's form: one table in a database with a language collation. */
const HABIT = `
  create table public.kv_store (key text collate "en-US-x-icu" primary key, value jsonb not null);
  grant select, insert, update, delete on public.kv_store to innkeep_app`;
