import { readdir, readFile } from "node:fs/promises";
import { fileURLToPath } from "node:url";
import type { Cluster } from "../support/cluster.ts";
import { withClient } from "../support/client.ts";
import { bootstrapRoles, ROLE_PASSWORD } from "../support/roles.ts";
import { migrate } from "../../shared/adapters/migrator.ts";

const MIGRATIONS = fileURLToPath(new URL("../../supabase/migrations/", import.meta.url));

export interface BenchDatabase {
  readonly appUrl: string;
  readonly superUrl: string;
}

/** A migrated database with `tenants` tenants and, for each, `details` records around it (600 of 1,000 are usage counters). */
export async function createDataset(
  cluster: Cluster,
  name: string,
  tenants: number,
  withDetails: boolean,
  withHabit: boolean,
): Promise<BenchDatabase> {
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
  await withClient(url(), async (client) => {
    await client.query("set session_replication_role = replica"); // the rollup is rebuilt below, in one pass
    const { rows: indexes } = await client.query<{ name: string; definition: string }>(INDEXES);
    for (const { name } of indexes) await client.query(`drop index kv.${name}`); // a million rows are indexed faster afterwards
    await client.query(TENANTS, [tenants]);
    if (withDetails) { for (const sql of DETAILS) await client.query(sql, [tenants]); }
    for (const { definition } of indexes) await client.query(definition);
    await client.query(ROLLUP);
    await client.query(
      "insert into kv.owners (owner) select owner from kv.entries where key >= 'tenant:' and key < 'tenant;' on conflict do nothing",
    );
    if (withHabit) await client.query(HABIT);
    await client.query("set session_replication_role = origin");
    await client.query("vacuum (analyze)");
    await client.query("checkpoint");
  });
  return { appUrl: url("innkeep_app"), superUrl: url() };
}

const INDEXES = `
  select indexname as name, indexdef as definition from pg_indexes
  where schemaname = 'kv' and tablename = 'entries' and indexname <> 'entries_pkey'`;

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
  `insert into kv.counters (key, value, version, owner, cascades, created_at, updated_at)
   select 'usage:' || ${ID} || ':' || m || ':2026-03', jsonb_build_object('tenantId', ${ID}, 'metric', m, 'period', '2026-03', 'current', i % 1000,
     'limit', 10000, 'daily', jsonb_build_object('2026-03-01', i % 1000), 'createdAt', ${ISO}), nextval('kv.versions'), ${ID}, true, now(), now()
   from generate_series(0, $1::int - 1) i, unnest(array['users','properties','rooms','bookings','api_calls','storage']) m`,
];

const ROLLUP = `
  insert into kv.rollups (rollup, shard, bucket, count, total)
  select 'tenant', kv.shard(key), jsonb_build_array(value->'status', value->'plan')::text, count(*), sum(f_mrr)
  from kv.entries where key >= 'tenant:' and key < 'tenant;' group by 1, 2, 3`;

/** The same rows as the habit keeps them: one table in a database of the usual language collation. */
const HABIT = `
  create table public.kv_store (key text collate "en-US-x-icu" primary key, value jsonb not null);
  insert into public.kv_store select key, value from kv.entries union all select key, value from kv.counters;
  grant select, insert, update, delete on public.kv_store to innkeep_app`;
