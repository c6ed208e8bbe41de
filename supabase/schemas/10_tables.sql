-- One table of keys and values with one partition for each declared family, and small tables that commits need.
create sequence kv.versions as bigint cache 1;

create table kv.entries (
  key text collate "C" check (octet_length(key) between 1 and 512),
  value jsonb not null,
  version bigint not null,
  -- The tenant that the row belongs to; null means the platform.
  owner text collate "C",
  -- Whether the row is deleted with its tenant.
  cascades boolean not null,
  expires_at timestamptz,
  created_at timestamptz not null,
  updated_at timestamptz not null,
  -- Includes the expiry, so that an index-only scan can count.
  constraint entries_by_key primary key (key) include (expires_at)
) partition by range (key);

-- Keys of undeclared families.
create table kv.entries_default partition of kv.entries default;

-- Every partition has these two indexes: a tenant's rows in key order for its lists, counts and cascade, and the expiry. A
-- family's name has no underscore, so no partition has the name of an index.
create index entries_by_owner on kv.entries (owner, key);
create index entries_by_expiry on kv.entries (expires_at) where expires_at is not null;

-- One row for each tenant that was ever written for. Writers lock it `for key share`, the cascade `for update`.
create table kv.owners (
  owner text collate "C" primary key,
  deleted_at timestamptz
);

-- The head of each audit chain. The scope '' is the platform.
create table kv.chains (
  scope text collate "C" primary key,
  seq bigint not null,
  hash text not null
) with (fillfactor = 75);

-- Counts and sums of a rollup in 16 shards by hash of the key, and in the shard -1 what was folded (79_fold.sql). Reads add them up.
create table kv.rollup_shards (
  rollup text collate "C" not null,
  shard integer not null,
  -- The group's values as a JSON array, stored as text: grouping text is twice as fast.
  bucket text collate "C" not null,
  count bigint not null,
  total numeric not null,
  primary key (rollup, bucket, shard)
) with (fillfactor = 75);

-- The declarations, written by kv.add_* in migrations (20_declare.sql).

-- The key shape of an entity: a family and a number of colons (a timestamp segment contains two).
create table kv.families (
  family text collate "C" not null,
  colons integer not null,
  entity text collate "C" not null,
  -- `segment`: the second segment is the owner; `platform`: no owner; `given`: the writer sets it.
  owner_rule text not null check (owner_rule in ('segment', 'platform', 'given')),
  cascades boolean not null,
  -- Entries of a hash chain: never changed, and deleted only by retention.
  append_only boolean not null,
  -- Whether tenants may read the platform's rows.
  tenant_readable boolean not null,
  rollup text collate "C",
  primary key (family, colons)
);

create table kv.indexes (
  name text collate "C" primary key,
  entity text collate "C" not null,
  -- As declared: `status text, mrr number`, `owner, seq number` or `search(name, owner)`.
  fields text not null,
  -- Set if another entity shares the family: the index has only keys with this number of colons.
  colons integer,
  -- False until `npm run migrate` has built it concurrently; lists scan until then.
  built boolean not null
);

create table kv.rollups (
  rollup text collate "C" primary key,
  family text collate "C" not null,
  colons integer not null,
  group_by text[] not null,
  sum text,
  -- Entries up to this key are counted; null means all. kv.fill_rollup advances it.
  filled_to text collate "C"
);

-- Innkeep's migrations, separate from the CLI's table so that Innkeep can share a project with an application.
create table kv.migrations (
  version text collate "C" primary key,
  name text not null,
  -- SHA-256 of the applied text without white space and semicolons. `npm run migrate` adds it, also where the CLI's table has no row.
  digest text
);

do $$
declare
  v_table regclass;
begin
  for v_table in select oid from pg_class where relnamespace = 'kv'::regnamespace and relkind in ('r', 'p') loop
    -- Forced: it also applies to the owner of the tables.
    execute format('alter table %s enable row level security, force row level security', v_table);
  end loop;
  foreach v_table in array array['kv.families', 'kv.indexes', 'kv.rollups', 'kv.migrations']::regclass[] loop
    execute format('create policy migrations on %s to %I using (true) with check (true)', v_table, current_user);
  end loop;
end $$;

grant select, insert, update, delete on kv.entries, kv.owners, kv.chains, kv.rollup_shards to kv_service;
grant select, update on kv.rollups to kv_service;
grant select on kv.families, kv.indexes, kv.migrations to kv_service;
grant select, insert, update, delete on kv.entries to kv_tenant;
grant select, insert, update on kv.owners, kv.chains to kv_tenant;
grant select on kv.families to kv_tenant;
grant select, delete on kv.entries to kv_retention;
grant select on kv.chains, kv.families to kv_retention;
grant usage on sequence kv.versions to kv_service, kv_tenant;
