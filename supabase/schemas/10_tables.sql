-- One table of keys and values, one partition a declared family, and the small tables a commit needs.
create sequence kv.versions as bigint cache 1;

create table kv.entries (
  key text collate "C" check (octet_length(key) between 1 and 512),
  value jsonb not null,
  version bigint not null,
  -- The tenant that sees the row; null is the platform.
  owner text collate "C",
  -- Goes with its tenant.
  cascades boolean not null,
  expires_at timestamptz,
  created_at timestamptz not null,
  updated_at timestamptz not null,
  -- With the expiry in it, the key's index alone answers a count.
  constraint entries_by_key primary key (key) include (expires_at)
) partition by range (key);

-- Keys of no declared family.
create table kv.entries_default partition of kv.entries default;

-- Every partition gets these two. (A family's name has no underscore, so none is called like an index.) A tenant's rows in key order: its lists, counts and the cascade.
create index entries_by_owner on kv.entries (owner, key);
create index entries_by_expiry on kv.entries (expires_at) where expires_at is not null;

-- A row per tenant ever written for: writers lock it `for key share`, the cascade `for update`.
create table kv.owners (
  owner text collate "C" primary key,
  deleted_at timestamptz
);

-- Head of each audit chain; scope '' is the platform's.
create table kv.chains (
  scope text collate "C" primary key,
  seq bigint not null,
  hash text not null
) with (fillfactor = 75);

-- Counts and sums of a rollup, in 16 shards by hash of the key, summed on read.
create table kv.rollup_shards (
  rollup text collate "C" not null,
  shard integer not null,
  -- The group's values as a JSON array, kept as text: grouping text is twice as fast.
  bucket text collate "C" not null,
  count bigint not null,
  total numeric not null,
  primary key (rollup, shard, bucket)
) with (fillfactor = 75);

-- What the declarations ask for, written by kv.add_* in migrations (20_declare.sql).

-- A key shape of an entity: a family and a number of colons (a timestamp segment has two of its own).
create table kv.families (
  family text collate "C" not null,
  colons integer not null,
  entity text collate "C" not null,
  -- `segment`: the second segment is the owner; `platform`: nobody's; `given`: as the writer says.
  owner_rule text not null check (owner_rule in ('segment', 'platform', 'given')),
  cascades boolean not null,
  -- Entries of a hash chain: never changed, removed by retention alone.
  append_only boolean not null,
  -- Tenants may read the platform's rows.
  tenant_readable boolean not null,
  rollup text collate "C",
  primary key (family, colons)
);

create table kv.indexes (
  name text collate "C" primary key,
  entity text collate "C" not null,
  -- As declared: `status text, mrr number`, `owner, seq number` or `search(name, owner)`.
  fields text not null,
  -- Only keys of this shape, where another entity shares the family.
  colons integer,
  -- False: `npm run migrate` builds it concurrently; until then lists scan.
  built boolean not null
);

create table kv.rollups (
  rollup text collate "C" primary key,
  family text collate "C" not null,
  colons integer not null,
  group_by text[] not null,
  sum text,
  -- Entries up to this key are counted; null: all are. kv.fill_rollup moves it on.
  filled_to text collate "C"
);

-- Our own migrations, so that Innkeep can share a project with an application.
create table kv.migrations (
  version text collate "C" primary key,
  name text not null
);

do $$
declare
  v_table regclass;
begin
  for v_table in select oid from pg_class where relnamespace = 'kv'::regnamespace and relkind in ('r', 'p') loop
    -- Forced: the owner of the tables obeys it too.
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
grant usage on sequence kv.versions to kv_service, kv_tenant;
