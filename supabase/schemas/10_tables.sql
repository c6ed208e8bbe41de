-- One table of keys and values, its sibling for hot counters, and the small tables the commit needs.
create sequence kv.versions as bigint cache 1;

create table kv.entries (
  key text collate "C",
  value jsonb not null,
  version bigint not null,
  -- The tenant that sees the row; null is the platform.
  owner text collate "C",
  -- Goes with its owner.
  cascades boolean not null,
  expires_at timestamptz,
  created_at timestamptz not null,
  updated_at timestamptz not null,
  -- With the expiry in it, the key's index alone answers a count.
  primary key (key) include (expires_at)
) with (fillfactor = 90);

-- Same shape, no index but the key: updates stay in their page (HOT).
create table kv.counters (
  key text collate "C",
  value jsonb not null,
  version bigint not null,
  owner text collate "C",
  cascades boolean not null,
  expires_at timestamptz,
  created_at timestamptz not null,
  updated_at timestamptz not null,
  -- With the expiry in it, the key's index alone answers a count.
  primary key (key) include (expires_at)
) with (fillfactor = 75);

create index entries_cascade on kv.entries (owner) where cascades and owner is not null;
create index entries_expiry on kv.entries (expires_at) where expires_at is not null;

create index counters_expiry on kv.counters (expires_at) where expires_at is not null;

-- A row per tenant ever written for. Commits lock it `for key share`, the cascade `for update`.
create table kv.owners (
  owner text collate "C" primary key,
  deleted_at timestamptz
);

-- Key shapes of the declared entities (20_declared.sql).
create table kv.families (
  family text collate "C" not null,
  colons integer not null,
  rule text not null check (rule in ('segment', 'platform', 'given')),
  counters boolean not null,
  chained boolean not null,
  rolled_up boolean not null,
  cascades boolean not null,
  primary key (family, colons)
);

-- Head of each audit chain; scope '' is the platform's.
create table kv.chains (
  scope text collate "C" primary key,
  seq bigint not null,
  hash text not null
) with (fillfactor = 75);

create table kv.rollups (
  rollup text collate "C" not null,
  shard integer not null,
  -- The group's values as a JSON array, kept as text: grouping text is twice as fast.
  bucket text collate "C" not null,
  count bigint not null,
  total numeric not null,
  primary key (rollup, shard, bucket)
) with (fillfactor = 75);

-- Row-level security, forced: the owner of the tables obeys it too.
alter table kv.entries enable row level security, force row level security;
alter table kv.counters enable row level security, force row level security;
alter table kv.owners enable row level security, force row level security;
alter table kv.families enable row level security, force row level security;
alter table kv.chains enable row level security, force row level security;
alter table kv.rollups enable row level security, force row level security;

-- The list of families comes with migrations.
create policy migrations on kv.families to current_user using (true) with check (true);

grant select, insert, update, delete on kv.entries, kv.counters, kv.owners, kv.chains, kv.rollups to kv_service;
grant select, insert, update, delete on kv.entries, kv.counters to kv_tenant;
grant select, insert, update on kv.owners, kv.chains to kv_tenant;
grant select on kv.families to kv_service, kv_tenant;
grant select, delete on kv.entries to kv_retention;
grant usage on sequence kv.versions to kv_service, kv_tenant;
