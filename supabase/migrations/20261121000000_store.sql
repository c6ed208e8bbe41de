-- The two doors' roles and retention's. Functions owned by them are security definer, so row-level
-- security sees these roles whatever login calls. None can log in or bypass row-level security.
do $$
declare
  v_role text;
begin
  foreach v_role in array array['kv_service', 'kv_tenant', 'kv_retention'] loop
    if not exists (select from pg_roles where rolname = v_role) then
      execute format('create role %I nologin noinherit nobypassrls', v_role);
    end if;
    -- To hand functions over, the migrating role must be a member.
    execute format('grant %I to %I', v_role, current_user);
  end loop;
end $$;

create schema if not exists extensions;
create extension if not exists pg_trgm with schema extensions;

create schema kv;
grant usage on schema kv to kv_service, kv_tenant, kv_retention;
-- Taken back in 80_grants.sql, once the functions have been handed over.
grant create on schema kv, public to kv_service, kv_tenant;
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
-- Lower case, no accents: what search compares. Immutable: the same text always gives the same search column.
create function kv.fold(p_text text) returns text
language sql immutable strict parallel safe
return lower(regexp_replace(normalize(p_text, NFKD), '[\u0300-\u036f]', '', 'g') collate "und-x-icu");

-- A member of a value as a field column: of another type it is null, and never refuses the write.
-- 128 characters of text keep every index tuple under a third of a page; equality rechecks the value itself.
create function kv.text_field(p_value jsonb, p_field text) returns text
language sql immutable strict parallel safe
return lower(left(p_value->>p_field, 128) collate "und-x-icu");

create function kv.time_field(p_value jsonb, p_field text) returns text
language sql immutable strict parallel safe
return case when length(p_value->>p_field) = 24 then p_value->>p_field end;

create function kv.number_field(p_value jsonb, p_field text) returns numeric
language sql immutable strict parallel safe
return case when jsonb_typeof(p_value->p_field) = 'number' then (p_value->p_field)::numeric end;

create function kv.boolean_field(p_value jsonb, p_field text) returns boolean
language sql immutable strict parallel safe
return case when jsonb_typeof(p_value->p_field) = 'boolean' then (p_value->p_field)::boolean end;

-- The tenant of the present call, set by the tenant doors for the transaction alone; null means none.
create function kv.tenant() returns text
language sql stable parallel safe
return nullif(current_setting('kv.tenant', true), '');

create function kv.colons(p_key text) returns integer
language sql immutable strict parallel safe
return length(p_key) - length(replace(p_key, ':', ''));

-- One record in 16 shards of a rollup, so that a hot bucket is no hot lock. With 64 a sum costs 0.39 ms
-- instead of 0.16, for 1,560 commits a second instead of 1,520 (32 clients changing tenants).
create function kv.shard(p_key text) returns integer
language sql immutable strict parallel safe
return (hashtextextended(p_key, 0) & 15)::integer;

-- Audit entries are append-only for every role but retention's, the owner of the table included.
create function kv.refuse_change() returns trigger
language plpgsql set search_path = '' as $$
begin
  if tg_op = 'DELETE' and current_user = 'kv_retention' then
    return old;
  end if;
  raise exception 'entries of an audit chain can be neither changed nor removed' using errcode = 'KV005';
end $$;

create trigger entries_no_truncate before truncate on kv.entries
  for each statement execute function kv.refuse_change();

-- The shard lock is taken by commits beforehand, in order; here it only guards writers outside them.
create function kv.rollup_add(p_rollup text, p_key text, p_bucket jsonb, p_count integer, p_total numeric) returns void
language plpgsql set search_path = '' as $$
declare
  v_shard integer := kv.shard(p_key);
begin
  perform pg_advisory_xact_lock(hashtext('kv.rollup:' || p_rollup), v_shard);
  insert into kv.rollups as r (rollup, shard, bucket, count, total)
  values (p_rollup, v_shard, p_bucket::text, p_count, p_total)
  on conflict (rollup, shard, bucket) do update set count = r.count + excluded.count, total = r.total + excluded.total;
end $$;

-- Whether a key may belong to an owner: a declared family with a tenant segment names it there.
create function kv.key_allows(p_key text, p_owner text) returns boolean
language sql stable parallel safe
return coalesce(
  (select case f.rule when 'segment' then split_part(p_key, ':', 2) = p_owner else f.rule = 'given' end
   from kv.families f where f.family = split_part(p_key, ':', 1) and f.colons = kv.colons(p_key)),
  not exists (select from kv.families f where f.family = split_part(p_key, ':', 1)));
-- Generated by `npm run schema` from shared/entities; a change here also needs a migration.

alter table kv.entries
  add column f_action text collate "C",
  add column f_active boolean,
  add column f_cancel_at_period_end boolean,
  add column f_created text collate "C",
  add column f_created_at text collate "C",
  add column f_current_period_end text collate "C",
  add column f_custom_domain text collate "C",
  add column f_due_date text collate "C",
  add column f_email text collate "C",
  add column f_enabled boolean,
  add column f_event text collate "C",
  add column f_expires_at text collate "C",
  add column f_flag_id text collate "C",
  add column f_interval text collate "C",
  add column f_last_sync_at text collate "C",
  add column f_metric text collate "C",
  add column f_mrr numeric,
  add column f_name text collate "C",
  add column f_next_attempt_at text collate "C",
  add column f_next_retry_at text collate "C",
  add column f_next_run_at text collate "C",
  add column f_number text collate "C",
  add column f_owner text collate "C",
  add column f_period text collate "C",
  add column f_plan text collate "C",
  add column f_plan_id text collate "C",
  add column f_price numeric,
  add column f_priority text collate "C",
  add column f_provider text collate "C",
  add column f_region text collate "C",
  add column f_resolved_at text collate "C",
  add column f_resource text collate "C",
  add column f_resource_id text collate "C",
  add column f_revoked_at text collate "C",
  add column f_role text collate "C",
  add column f_scope text collate "C",
  add column f_seq numeric,
  add column f_status text collate "C",
  add column f_subdomain text collate "C",
  add column f_suspended_at text collate "C",
  add column f_tenant_id text collate "C",
  add column f_threshold numeric,
  add column f_timestamp text collate "C",
  add column f_total numeric,
  add column f_trial_ends_at text collate "C",
  add column f_triggered boolean,
  add column f_triggered_at text collate "C",
  add column f_type text collate "C",
  add column f_usage_percent numeric,
  add column f_user_id text collate "C",
  add column f_webhook_id text collate "C",
  add column f_search text collate "C";

create function kv.set_fields() returns trigger
language plpgsql set search_path = '' as $$
begin
  case split_part(new.key, ':', 1)
    when 'tenant' then
      new.f_created_at := kv.time_field(new.value, 'createdAt');
      new.f_custom_domain := kv.text_field(new.value, 'customDomain');
      new.f_mrr := kv.number_field(new.value, 'mrr');
      new.f_name := kv.text_field(new.value, 'name');
      new.f_owner := kv.text_field(new.value, 'owner');
      new.f_plan := kv.text_field(new.value, 'plan');
      new.f_region := kv.text_field(new.value, 'region');
      new.f_status := kv.text_field(new.value, 'status');
      new.f_subdomain := kv.text_field(new.value, 'subdomain');
      new.f_trial_ends_at := kv.time_field(new.value, 'trialEndsAt');
      new.f_usage_percent := kv.number_field(new.value, 'usagePercent');
      new.f_search := kv.fold(coalesce(new.value->>'name', '') || E'\n' || coalesce(new.value->>'subdomain', '') || E'\n' || coalesce(new.value->>'owner', '') || E'\n' || coalesce(new.value->>'ownerName', ''));
    when 'plan' then
      new.f_active := kv.boolean_field(new.value, 'active');
      new.f_created_at := kv.time_field(new.value, 'createdAt');
      new.f_interval := kv.text_field(new.value, 'interval');
      new.f_name := kv.text_field(new.value, 'name');
      new.f_price := kv.number_field(new.value, 'price');
      new.f_search := kv.fold(coalesce(new.value->>'name', '') || E'\n' || coalesce(new.value->>'displayName', '') || E'\n' || coalesce(new.value->>'description', ''));
    when 'subscription' then
      new.f_cancel_at_period_end := kv.boolean_field(new.value, 'cancelAtPeriodEnd');
      new.f_current_period_end := kv.time_field(new.value, 'currentPeriodEnd');
      new.f_plan_id := kv.text_field(new.value, 'planId');
      new.f_status := kv.text_field(new.value, 'status');
    when 'audit' then
      new.f_action := kv.text_field(new.value, 'action');
      new.f_resource := kv.text_field(new.value, 'resource');
      new.f_resource_id := kv.text_field(new.value, 'resourceId');
      new.f_seq := kv.number_field(new.value, 'seq');
      new.f_tenant_id := kv.text_field(new.value, 'tenantId');
      new.f_timestamp := kv.time_field(new.value, 'timestamp');
      new.f_user_id := kv.text_field(new.value, 'userId');
    when 'admin' then
      new.f_created_at := kv.time_field(new.value, 'createdAt');
      new.f_email := kv.text_field(new.value, 'email');
      new.f_enabled := kv.boolean_field(new.value, 'enabled');
      new.f_name := kv.text_field(new.value, 'name');
      new.f_role := kv.text_field(new.value, 'role');
      new.f_search := kv.fold(coalesce(new.value->>'email', '') || E'\n' || coalesce(new.value->>'name', ''));
    when 'outbox' then
      new.f_created_at := kv.time_field(new.value, 'createdAt');
      new.f_tenant_id := kv.text_field(new.value, 'tenantId');
      new.f_type := kv.text_field(new.value, 'type');
    else null;
  end case;
  return new;
end $$;
create trigger entries_fields before insert or update on kv.entries
  for each row execute function kv.set_fields();
alter table kv.entries enable always trigger entries_fields;

create index tenant_created_at on kv.entries (f_created_at, key) where key >= 'tenant:' and key < 'tenant;';
create index tenant_name on kv.entries (f_name, key) where key >= 'tenant:' and key < 'tenant;';
create index tenant_subdomain on kv.entries (f_subdomain, key) where key >= 'tenant:' and key < 'tenant;';
create index tenant_mrr on kv.entries (f_mrr, key) where key >= 'tenant:' and key < 'tenant;';
create index tenant_usage_percent on kv.entries (f_usage_percent, key) where key >= 'tenant:' and key < 'tenant;';
create index tenant_owner on kv.entries (f_owner, key) where key >= 'tenant:' and key < 'tenant;';
create index tenant_trial_ends_at on kv.entries (f_trial_ends_at, key) where key >= 'tenant:' and key < 'tenant;';
create index tenant_status_created_at on kv.entries (f_status, f_created_at, key) where key >= 'tenant:' and key < 'tenant;';
create index tenant_status_name on kv.entries (f_status, f_name, key) where key >= 'tenant:' and key < 'tenant;';
create index tenant_status_mrr on kv.entries (f_status, f_mrr, key) where key >= 'tenant:' and key < 'tenant;';
create index tenant_plan_created_at on kv.entries (f_plan, f_created_at, key) where key >= 'tenant:' and key < 'tenant;';
create index tenant_plan_name on kv.entries (f_plan, f_name, key) where key >= 'tenant:' and key < 'tenant;';
create index tenant_plan_mrr on kv.entries (f_plan, f_mrr, key) where key >= 'tenant:' and key < 'tenant;';
create index tenant_region_created_at on kv.entries (f_region, f_created_at, key) where key >= 'tenant:' and key < 'tenant;';
create index tenant_status_plan_created_at on kv.entries (f_status, f_plan, f_created_at, key) where key >= 'tenant:' and key < 'tenant;';
create index tenant_status_plan_mrr on kv.entries (f_status, f_plan, f_mrr, key) where key >= 'tenant:' and key < 'tenant;';
create index tenant_search on kv.entries using gin (f_search extensions.gin_trgm_ops) where key >= 'tenant:' and key < 'tenant;';
create index plan_created_at on kv.entries (f_created_at, key) where key >= 'plan:' and key < 'plan;';
create index plan_name on kv.entries (f_name, key) where key >= 'plan:' and key < 'plan;';
create index plan_price on kv.entries (f_price, key) where key >= 'plan:' and key < 'plan;';
create index plan_search on kv.entries using gin (f_search extensions.gin_trgm_ops) where key >= 'plan:' and key < 'plan;';
create index subscription_plan_id on kv.entries (f_plan_id, key) where key >= 'subscription:' and key < 'subscription;';
create index subscription_status_current_period_end on kv.entries (f_status, f_current_period_end, key) where key >= 'subscription:' and key < 'subscription;';
create index audit_owner_seq on kv.entries (owner, f_seq, key) where key >= 'audit:' and key < 'audit;';
create index audit_timestamp on kv.entries (f_timestamp, key) where key >= 'audit:' and key < 'audit;';
create index audit_owner_timestamp on kv.entries (owner, f_timestamp, key) where key >= 'audit:' and key < 'audit;';
create index audit_resource_resource_id_timestamp on kv.entries (f_resource, f_resource_id, f_timestamp, key) where key >= 'audit:' and key < 'audit;';
create index audit_action_timestamp on kv.entries (f_action, f_timestamp, key) where key >= 'audit:' and key < 'audit;';
create index audit_user_id_timestamp on kv.entries (f_user_id, f_timestamp, key) where key >= 'audit:' and key < 'audit;';
create index admin_created_at on kv.entries (f_created_at, key) where key >= 'admin:' and key < 'admin;';
create index admin_email on kv.entries (f_email, key) where key >= 'admin:' and key < 'admin;';
create index admin_name on kv.entries (f_name, key) where key >= 'admin:' and key < 'admin;';
create index admin_role on kv.entries (f_role, key) where key >= 'admin:' and key < 'admin;';
create index admin_search on kv.entries using gin (f_search extensions.gin_trgm_ops) where key >= 'admin:' and key < 'admin;';
create index outbox_created_at on kv.entries (f_created_at, key) where key >= 'outbox:' and key < 'outbox;';

insert into kv.families (family, colons, rule, counters, chained, rolled_up, cascades) values
  ('tenant', 1, 'segment', false, false, true, true),
  ('subdomain', 1, 'given', false, false, false, true),
  ('domain', 1, 'given', false, false, false, true),
  ('plan', 1, 'platform', false, false, false, true),
  ('subscription', 1, 'segment', false, false, false, true),
  ('usage', 3, 'segment', true, false, false, true),
  ('audit', 5, 'segment', false, true, false, false),
  ('audit', 4, 'platform', false, true, false, false),
  ('admin', 1, 'platform', false, false, false, true),
  ('outbox', 1, 'given', false, false, false, false),
  ('idem', 2, 'given', false, false, false, true);

-- Platform rows that tenants may read.
create function kv.tenant_readable(p_key text) returns boolean
language sql immutable parallel safe
return (p_key >= 'plan:' and p_key < 'plan;');

create trigger audit_append_only before update or delete on kv.entries
  for each row when (old.key >= 'audit:' and old.key < 'audit;') execute function kv.refuse_change();

-- Counts and sums of tenant by status, plan, kept in the writing transaction.
create function kv.rollup_tenant() returns trigger
language plpgsql security definer set search_path = '' as $$
begin
  if tg_op <> 'INSERT' then
    perform kv.rollup_add('tenant', old.key, jsonb_build_array(old.value->'status', old.value->'plan'), -1, -coalesce(old.f_mrr, 0));
  end if;
  if tg_op <> 'DELETE' then
    perform kv.rollup_add('tenant', new.key, jsonb_build_array(new.value->'status', new.value->'plan'), 1, coalesce(new.f_mrr, 0));
  end if;
  return null;
end $$;
create trigger tenant_rollup_insert after insert on kv.entries
  for each row when (new.key >= 'tenant:' and new.key < 'tenant;') execute function kv.rollup_tenant();
create trigger tenant_rollup_update after update on kv.entries
  for each row when (new.key >= 'tenant:' and new.key < 'tenant;' and (jsonb_build_array(old.value->'status', old.value->'plan'), coalesce(old.f_mrr, 0)) is distinct from (jsonb_build_array(new.value->'status', new.value->'plan'), coalesce(new.f_mrr, 0)))
  execute function kv.rollup_tenant();
create trigger tenant_rollup_delete after delete on kv.entries
  for each row when (old.key >= 'tenant:' and old.key < 'tenant;') execute function kv.rollup_tenant();
alter function kv.rollup_tenant() owner to kv_service;
-- Reads. Bodies are security invoker: they run as the role of the door that calls them, under its policies.
-- An entry is live while `expires_at > p_now`; the clock is the caller's, so expiry is exact and testable.

create type kv.entry as (
  key text, value jsonb, version text, owner text, created_at timestamptz, updated_at timestamptz, expires_at timestamptz
);

-- Keys of counters live in their own table; a declared family says which.
create function kv.in_counters(p_key text) returns boolean
language sql stable parallel safe
return exists (select from kv.families f where f.family = split_part(p_key, ':', 1) and f.counters);

create function kv.mget_body(p_keys text[], p_now timestamptz) returns setof kv.entry
language plpgsql stable set search_path = '' as $$
begin
  return query
    select e.key, e.value, e.version::text, e.owner, e.created_at, e.updated_at, e.expires_at
    from kv.entries e where e.key = any(p_keys) and (e.expires_at is null or e.expires_at > p_now)
    union all
    select c.key, c.value, c.version::text, c.owner, c.created_at, c.updated_at, c.expires_at
    from kv.counters c where c.key = any(p_keys) and (c.expires_at is null or c.expires_at > p_now);
end $$;

-- One page of the range [p_start, p_end) in byte order. Both tables are merged, each read in key order.
create function kv.list_body(p_start text, p_end text, p_reverse boolean, p_limit integer, p_keys_only boolean, p_now timestamptz)
returns setof kv.entry
language plpgsql stable set search_path = '' as $$
begin
  if p_reverse then
    return query
      select l.key, case when p_keys_only then null else l.value end, l.version::text, l.owner, l.created_at, l.updated_at, l.expires_at
      from (
        (select e.key, e.value, e.version, e.owner, e.created_at, e.updated_at, e.expires_at from kv.entries e
         where e.key >= p_start and e.key < p_end and (e.expires_at is null or e.expires_at > p_now)
         order by e.key desc limit p_limit)
        union all
        (select c.key, c.value, c.version, c.owner, c.created_at, c.updated_at, c.expires_at from kv.counters c
         where c.key >= p_start and c.key < p_end and (c.expires_at is null or c.expires_at > p_now)
         order by c.key desc limit p_limit)
      ) l order by l.key desc limit p_limit;
  else
    return query
      select l.key, case when p_keys_only then null else l.value end, l.version::text, l.owner, l.created_at, l.updated_at, l.expires_at
      from (
        (select e.key, e.value, e.version, e.owner, e.created_at, e.updated_at, e.expires_at from kv.entries e
         where e.key >= p_start and e.key < p_end and (e.expires_at is null or e.expires_at > p_now)
         order by e.key limit p_limit)
        union all
        (select c.key, c.value, c.version, c.owner, c.created_at, c.updated_at, c.expires_at from kv.counters c
         where c.key >= p_start and c.key < p_end and (c.expires_at is null or c.expires_at > p_now)
         order by c.key limit p_limit)
      ) l order by l.key limit p_limit;
  end if;
end $$;

create function kv.count_body(p_start text, p_end text, p_now timestamptz) returns bigint
language plpgsql stable set search_path = '' as $$
begin
  return (select count(*) from kv.entries e
          where e.key >= p_start and e.key < p_end and (e.expires_at is null or e.expires_at > p_now))
       + (select count(*) from kv.counters c
          where c.key >= p_start and c.key < p_end and (c.expires_at is null or c.expires_at > p_now));
end $$;
-- Filter, search, sort, page, count and group over the declared field columns. The query comes as one
-- object built from the declaration: {shape, start, end, owner?, where[],
-- search?, order[], after?, limit, want, offset?}: at most `want` rows, read in pages of `limit`.
-- Column names are quoted identifiers of the declaration's alphabet; every value is a bound parameter.

create function kv.field(p_name text) returns text
language plpgsql immutable strict parallel safe set search_path = '' as $$
begin
  if p_name !~ '^f_[a-z0-9_]+$' then
    raise exception 'not a field column: %', p_name using errcode = 'KV001';
  end if;
  return quote_ident(p_name);
end $$;

-- One bound value as the column's type: $1->'path'.
create function kv.operand(p_path text, p_type text) returns text
language sql immutable strict parallel safe
return case p_type
  when 'number' then format('(%s)::numeric', p_path)
  when 'boolean' then format('(%s)::boolean', p_path)
  when 'time' then format('(%s) collate "C"', p_path)
  else format('(lower(left(%s, 128) collate "und-x-icu")) collate "C"', p_path)
end;

-- The `where` of a query as SQL over the parameters $1 (the query) and $2 (now).
create function kv.where_sql(p_query jsonb) returns text
language plpgsql immutable set search_path = '' as $$
declare
  v_sql text := format('e.key >= %L and e.key < %L and (e.expires_at is null or e.expires_at > $2)', p_query->>'start', p_query->>'end');
  v_condition jsonb;
  v_column text;
  v_path text;
  v_member text;
  v_type text;
  i integer := 0;
begin
  if p_query ? 'owner' then
    v_sql := v_sql || case when p_query->>'owner' is null then ' and e.owner is null' else ' and e.owner = ($1->>''owner'') collate "C"' end;
  end if;
  for v_condition in select * from jsonb_array_elements(coalesce(p_query->'where', '[]')) loop
    v_column := 'e.' || kv.field(v_condition->>'column');
    v_type := v_condition->>'type';
    v_path := format('$1->''where''->%s', i);
    v_member := format('e.value->>%L', v_condition->>'field');
    if v_condition ? 'in' then
      -- Text columns hold a folded, cut form: they find the rows, the value itself decides.
      if jsonb_array_length(v_condition->'in') = 1 then
        v_sql := v_sql || format(' and %s = %s', v_column, kv.operand(v_path || '->''in''->>0', v_type));
      else
        v_sql := v_sql || format(' and %s = any(array(select %s from jsonb_array_elements_text(%s->''in'') as v(item)))',
          v_column, kv.operand('v.item', v_type), v_path);
      end if;
      if v_type = 'text' then
        -- As a case, so that the planner does not take the recheck for a second, rare condition.
        v_sql := v_sql || format(' and case when %s->''in'' ? (%s) then true end', v_path, v_member);
      end if;
    elsif v_condition ? 'prefix' then
      -- A half-open range of bytes, rechecked on the value: never a pattern.
      v_sql := v_sql || format(' and %1$s >= %2$s and %1$s < (%2$s || U&''\+10FFFF'') and case when left(%3$s, length(%4$s)) = %4$s then true end',
        v_column, kv.operand(v_path || '->>''prefix''', v_type), v_member, v_path || '->>''prefix''');
    else
      if v_condition ? 'from' then
        v_sql := v_sql || format(' and %s >= %s', v_column, kv.operand(v_path || '->>''from''', v_type));
      end if;
      if v_condition ? 'to' then
        v_sql := v_sql || format(' and %s < %s', v_column, kv.operand(v_path || '->>''to''', v_type));
      end if;
    end if;
    i := i + 1;
  end loop;
  if p_query ? 'search' then
    v_sql := v_sql || $s$ and e.f_search like '%' || regexp_replace(kv.fold($1->>'search'), '([\\%_])', '\\\1', 'g') || '%'$s$;
  end if;
  return v_sql;
end $$;

-- "After the cursor" in lexicographic order over the sort fields from p_from on, then the key.
-- Nulls come last in both directions.
create function kv.after_sql(p_query jsonb, p_from integer) returns text
language plpgsql immutable set search_path = '' as $$
declare
  v_order jsonb := p_query->'order';
  v_equal text := '';
  v_sql text := '';
  v_column text;
  v_operand text;
  v_desc boolean;
begin
  for i in p_from .. jsonb_array_length(v_order) - 1 loop
    v_column := 'e.' || kv.field(v_order->i->>'column');
    v_desc := (v_order->i->>'desc')::boolean;
    if p_query->'after'->>i is null then
      v_equal := v_equal || format('%s is null and ', v_column);
    else
      v_operand := kv.operand(format('$1->''after''->>%s', i), case v_order->i->>'type' when 'text' then 'time' else v_order->i->>'type' end);
      v_sql := v_sql || format('(%s(%s %s %s or %2$s is null)) or ', v_equal, v_column, case when v_desc then '<' else '>' end, v_operand);
      v_equal := v_equal || format('%s = %s and ', v_column, v_operand);
    end if;
  end loop;
  return v_sql || format('(%se.key %s ($1->''after''->>-1) collate "C")', v_equal, case when (p_query->>'reverse')::boolean then '<' else '>' end);
end $$;

-- The page as SQL. Rows whose first sort field is null form a second branch, read only when the first
-- does not fill the page, so that one index serves both directions with nulls last in each.
create function kv.page_sql(p_query jsonb) returns text
language plpgsql immutable set search_path = '' as $$
declare
  v_columns text := 'e.key, e.value, e.version::text, e.owner, e.created_at, e.updated_at, e.expires_at';
  v_order jsonb := p_query->'order';
  v_fields integer := jsonb_array_length(v_order);
  v_way text := case when (p_query->>'reverse')::boolean then 'desc' else 'asc' end;
  v_where text := kv.where_sql(p_query);
  v_limit bigint := (p_query->>'limit')::bigint + coalesce((p_query->>'offset')::bigint, 0);
  v_sort text := '';
  v_position text := '';
  v_first text;
  v_uniform boolean := true;
  v_range text := '';
  v_branches text[] := '{}';
begin
  if v_fields = 0 then
    if p_query ? 'after' then
      v_range := ' and ' || kv.after_sql(p_query, 0);
    end if;
    return format('select * from (select %s, jsonb_build_array(e.key) from kv.entries e where %s%s order by e.key %s limit %s) page limit ($1->>''want'')::bigint offset %s',
      v_columns, v_where, v_range, v_way, v_limit, coalesce((p_query->>'offset')::bigint, 0));
  end if;
  v_first := 'e.' || kv.field(v_order->0->>'column');
  for i in 0 .. v_fields - 1 loop
    v_position := v_position || format('e.%s, ', kv.field(v_order->i->>'column'));
    v_uniform := v_uniform and ((v_order->i->>'desc')::boolean = (p_query->>'reverse')::boolean);
    if i > 0 then
      v_sort := v_sort || format('e.%s %s nulls last, ', kv.field(v_order->i->>'column'), case when (v_order->i->>'desc')::boolean then 'desc' else 'asc' end);
    end if;
  end loop;
  v_columns := v_columns || format(', jsonb_build_array(%se.key) as position', v_position);
  if not p_query ? 'after' or p_query->'after'->>0 is not null then
    if p_query ? 'after' then
      v_range := ' and ' || case when v_fields = 1 and v_uniform
        then format('(%s, e.key) %s (%s, ($1->''after''->>-1) collate "C")', v_first, case v_way when 'asc' then '>' else '<' end,
          kv.operand('$1->''after''->>0', case v_order->0->>'type' when 'text' then 'time' else v_order->0->>'type' end))
        else format('%s %s %s and (%s)', v_first, case when (v_order->0->>'desc')::boolean then '<=' else '>=' end,
          kv.operand('$1->''after''->>0', case v_order->0->>'type' when 'text' then 'time' else v_order->0->>'type' end), kv.after_sql(p_query, 0))
        end;
    end if;
    v_branches := v_branches || format('(select %s from kv.entries e where %s and %s is not null%s order by %s %s, %se.key %s limit %s)',
      v_columns, v_where, v_first, v_range, v_first, case when (v_order->0->>'desc')::boolean then 'desc' else 'asc' end, v_sort, v_way, v_limit);
  end if;
  v_range := case when p_query ? 'after' and p_query->'after'->>0 is null then ' and (' || kv.after_sql(p_query, 1) || ')' else '' end;
  v_branches := v_branches || format('(select %s from kv.entries e where %s and %s is null%s order by %se.key %s limit %s)',
    v_columns, v_where, v_first, v_range, v_sort, v_way, v_limit);
  return format('select * from (%s) page limit ($1->>''want'')::bigint offset %s', array_to_string(v_branches, ' union all '), coalesce((p_query->>'offset')::bigint, 0));
end $$;

create type kv.page as (
  key text, value jsonb, version text, owner text, created_at timestamptz, updated_at timestamptz, expires_at timestamptz, "position" jsonb
);

-- Keeps a page's SQL as a function, named by its shape (what is asked, without the values): planning costs
-- many times what reading a page does, and a function's plan stays in the session. A page of one owner's rows
-- is kept for each door (see 55_twins.sql).
create function kv.keep_page(p_query jsonb) returns void
language plpgsql set search_path = '' as $$
declare
  v_door text;
begin
  foreach v_door in array case when p_query->>'owner' is null then array['page_'] else array['page_', 'tenant_page_'] end loop
    execute format('create function kv.%I(jsonb, timestamptz) returns setof kv.page language plpgsql stable set search_path = '''' as %L',
      v_door || md5(p_query->>'shape'), 'begin return query ' || kv.page_sql(p_query) || '; end');
  end loop;
end $$;

-- A kept page where there is one (45_pages.sql: those the declared indexes serve), else planned for this call.
-- The settings are for its planner: pages are short, and random reads on today's disks cost little.
create function kv.query_body(p_query jsonb, p_now timestamptz) returns setof kv.page
language plpgsql stable set search_path = '' set max_parallel_workers_per_gather = 0 set random_page_cost = 1.1 as $$
declare
  v_kept regprocedure := to_regprocedure(format('kv.page_%s(jsonb, timestamptz)', md5(p_query->>'shape')));
begin
  if v_kept is null or p_query ? 'offset' then
    return query execute kv.page_sql(p_query) using p_query, p_now;
  else
    return query execute format('select * from %s($1, $2)', v_kept::regproc) using p_query, p_now;
  end if;
end $$;

create function kv.total_body(p_query jsonb, p_now timestamptz) returns bigint
language plpgsql stable set search_path = '' as $$
declare
  v_total bigint;
begin
  execute 'select count(*) from kv.entries e where ' || kv.where_sql(p_query) into v_total using p_query, p_now;
  return v_total;
end $$;

-- Groups are the fields' own values; sums are exact decimals.
create function kv.aggregate_body(p_query jsonb, p_now timestamptz) returns table ("group" jsonb, count bigint, sum text)
language plpgsql stable set search_path = '' as $$
declare
  v_group text;
  v_sum text := coalesce('e.' || kv.field(p_query->>'sum'), '0');
begin
  select coalesce(string_agg(format('e.value->>%L', field), ', '), '') into v_group from jsonb_array_elements_text(p_query->'groupBy') field;
  return query execute format(
    'select jsonb_build_array(%1$s), count(*), trim_scale(coalesce(sum(%2$s), 0))::text from kv.entries e where %3$s %4$s',
    v_group, v_sum, kv.where_sql(p_query), case when v_group = '' then '' else 'group by ' || v_group end)
    using p_query, p_now;
end $$;

-- The same from the rollup: {rollup, keep: [positions of groupBy in the bucket], where: [{at, in}]}.
create function kv.rollup_body(p_query jsonb) returns table ("group" jsonb, count bigint, sum text)
language plpgsql stable set search_path = '' as $$
begin
  return query
    select kept.bucket, sum(total.n)::bigint, trim_scale(sum(total.amount))::text
    from (
      select r.bucket::jsonb as bucket, sum(r.count) as n, sum(r.total) as amount
      from kv.rollups r where r.rollup = p_query->>'rollup' group by r.bucket
    ) total
    cross join lateral (
      select coalesce(jsonb_agg(total.bucket->(k::integer) order by o), '[]') as bucket
      from jsonb_array_elements_text(p_query->'keep') with ordinality as ks(k, o)
    ) kept
    where total.n <> 0 and not exists (
      select from jsonb_array_elements(p_query->'where') w where not (w->'in') @> jsonb_build_array(total.bucket->((w->>'at')::integer)))
    group by kept.bucket;
end $$;
-- Generated by `npm run schema` from shared/entities; a change here also needs a migration.
select kv.keep_page('{"start":"tenant:","end":"tenant;","where":[],"order":[{"column":"f_created_at","type":"time","desc":false}],"shape":"[{\"start\":\"tenant:\",\"end\":\"tenant;\"},\"any\",false,[],[{\"column\":\"f_created_at\",\"type\":\"time\",\"desc\":false}],null,100]","reverse":false,"limit":101,"want":101}');
select kv.keep_page('{"start":"tenant:","end":"tenant;","where":[],"order":[{"column":"f_created_at","type":"time","desc":false}],"shape":"[{\"start\":\"tenant:\",\"end\":\"tenant;\"},\"any\",false,[],[{\"column\":\"f_created_at\",\"type\":\"time\",\"desc\":false}],[false,false],100]","reverse":false,"limit":101,"want":101,"after":["","key"]}');
select kv.keep_page('{"start":"tenant:","end":"tenant;","where":[],"order":[{"column":"f_created_at","type":"time","desc":true}],"shape":"[{\"start\":\"tenant:\",\"end\":\"tenant;\"},\"any\",false,[],[{\"column\":\"f_created_at\",\"type\":\"time\",\"desc\":true}],null,100]","reverse":true,"limit":101,"want":101}');
select kv.keep_page('{"start":"tenant:","end":"tenant;","where":[],"order":[{"column":"f_created_at","type":"time","desc":true}],"shape":"[{\"start\":\"tenant:\",\"end\":\"tenant;\"},\"any\",false,[],[{\"column\":\"f_created_at\",\"type\":\"time\",\"desc\":true}],[false,false],100]","reverse":true,"limit":101,"want":101,"after":["","key"]}');
select kv.keep_page('{"start":"tenant:","end":"tenant;","where":[],"order":[{"column":"f_name","type":"text","desc":false}],"shape":"[{\"start\":\"tenant:\",\"end\":\"tenant;\"},\"any\",false,[],[{\"column\":\"f_name\",\"type\":\"text\",\"desc\":false}],null,100]","reverse":false,"limit":101,"want":101}');
select kv.keep_page('{"start":"tenant:","end":"tenant;","where":[],"order":[{"column":"f_name","type":"text","desc":false}],"shape":"[{\"start\":\"tenant:\",\"end\":\"tenant;\"},\"any\",false,[],[{\"column\":\"f_name\",\"type\":\"text\",\"desc\":false}],[false,false],100]","reverse":false,"limit":101,"want":101,"after":["","key"]}');
select kv.keep_page('{"start":"tenant:","end":"tenant;","where":[],"order":[{"column":"f_name","type":"text","desc":true}],"shape":"[{\"start\":\"tenant:\",\"end\":\"tenant;\"},\"any\",false,[],[{\"column\":\"f_name\",\"type\":\"text\",\"desc\":true}],null,100]","reverse":true,"limit":101,"want":101}');
select kv.keep_page('{"start":"tenant:","end":"tenant;","where":[],"order":[{"column":"f_name","type":"text","desc":true}],"shape":"[{\"start\":\"tenant:\",\"end\":\"tenant;\"},\"any\",false,[],[{\"column\":\"f_name\",\"type\":\"text\",\"desc\":true}],[false,false],100]","reverse":true,"limit":101,"want":101,"after":["","key"]}');
select kv.keep_page('{"start":"tenant:","end":"tenant;","where":[],"order":[{"column":"f_subdomain","type":"text","desc":false}],"shape":"[{\"start\":\"tenant:\",\"end\":\"tenant;\"},\"any\",false,[],[{\"column\":\"f_subdomain\",\"type\":\"text\",\"desc\":false}],null,100]","reverse":false,"limit":101,"want":101}');
select kv.keep_page('{"start":"tenant:","end":"tenant;","where":[],"order":[{"column":"f_subdomain","type":"text","desc":false}],"shape":"[{\"start\":\"tenant:\",\"end\":\"tenant;\"},\"any\",false,[],[{\"column\":\"f_subdomain\",\"type\":\"text\",\"desc\":false}],[false,false],100]","reverse":false,"limit":101,"want":101,"after":["","key"]}');
select kv.keep_page('{"start":"tenant:","end":"tenant;","where":[],"order":[{"column":"f_subdomain","type":"text","desc":true}],"shape":"[{\"start\":\"tenant:\",\"end\":\"tenant;\"},\"any\",false,[],[{\"column\":\"f_subdomain\",\"type\":\"text\",\"desc\":true}],null,100]","reverse":true,"limit":101,"want":101}');
select kv.keep_page('{"start":"tenant:","end":"tenant;","where":[],"order":[{"column":"f_subdomain","type":"text","desc":true}],"shape":"[{\"start\":\"tenant:\",\"end\":\"tenant;\"},\"any\",false,[],[{\"column\":\"f_subdomain\",\"type\":\"text\",\"desc\":true}],[false,false],100]","reverse":true,"limit":101,"want":101,"after":["","key"]}');
select kv.keep_page('{"start":"tenant:","end":"tenant;","where":[],"order":[{"column":"f_mrr","type":"number","desc":false}],"shape":"[{\"start\":\"tenant:\",\"end\":\"tenant;\"},\"any\",false,[],[{\"column\":\"f_mrr\",\"type\":\"number\",\"desc\":false}],null,100]","reverse":false,"limit":101,"want":101}');
select kv.keep_page('{"start":"tenant:","end":"tenant;","where":[],"order":[{"column":"f_mrr","type":"number","desc":false}],"shape":"[{\"start\":\"tenant:\",\"end\":\"tenant;\"},\"any\",false,[],[{\"column\":\"f_mrr\",\"type\":\"number\",\"desc\":false}],[false,false],100]","reverse":false,"limit":101,"want":101,"after":[0,"key"]}');
select kv.keep_page('{"start":"tenant:","end":"tenant;","where":[],"order":[{"column":"f_mrr","type":"number","desc":true}],"shape":"[{\"start\":\"tenant:\",\"end\":\"tenant;\"},\"any\",false,[],[{\"column\":\"f_mrr\",\"type\":\"number\",\"desc\":true}],null,100]","reverse":true,"limit":101,"want":101}');
select kv.keep_page('{"start":"tenant:","end":"tenant;","where":[],"order":[{"column":"f_mrr","type":"number","desc":true}],"shape":"[{\"start\":\"tenant:\",\"end\":\"tenant;\"},\"any\",false,[],[{\"column\":\"f_mrr\",\"type\":\"number\",\"desc\":true}],[false,false],100]","reverse":true,"limit":101,"want":101,"after":[0,"key"]}');
select kv.keep_page('{"start":"tenant:","end":"tenant;","where":[],"order":[{"column":"f_usage_percent","type":"number","desc":false}],"shape":"[{\"start\":\"tenant:\",\"end\":\"tenant;\"},\"any\",false,[],[{\"column\":\"f_usage_percent\",\"type\":\"number\",\"desc\":false}],null,100]","reverse":false,"limit":101,"want":101}');
select kv.keep_page('{"start":"tenant:","end":"tenant;","where":[],"order":[{"column":"f_usage_percent","type":"number","desc":false}],"shape":"[{\"start\":\"tenant:\",\"end\":\"tenant;\"},\"any\",false,[],[{\"column\":\"f_usage_percent\",\"type\":\"number\",\"desc\":false}],[false,false],100]","reverse":false,"limit":101,"want":101,"after":[0,"key"]}');
select kv.keep_page('{"start":"tenant:","end":"tenant;","where":[],"order":[{"column":"f_usage_percent","type":"number","desc":true}],"shape":"[{\"start\":\"tenant:\",\"end\":\"tenant;\"},\"any\",false,[],[{\"column\":\"f_usage_percent\",\"type\":\"number\",\"desc\":true}],null,100]","reverse":true,"limit":101,"want":101}');
select kv.keep_page('{"start":"tenant:","end":"tenant;","where":[],"order":[{"column":"f_usage_percent","type":"number","desc":true}],"shape":"[{\"start\":\"tenant:\",\"end\":\"tenant;\"},\"any\",false,[],[{\"column\":\"f_usage_percent\",\"type\":\"number\",\"desc\":true}],[false,false],100]","reverse":true,"limit":101,"want":101,"after":[0,"key"]}');
select kv.keep_page('{"start":"tenant:","end":"tenant;","where":[],"order":[{"column":"f_owner","type":"text","desc":false}],"shape":"[{\"start\":\"tenant:\",\"end\":\"tenant;\"},\"any\",false,[],[{\"column\":\"f_owner\",\"type\":\"text\",\"desc\":false}],null,100]","reverse":false,"limit":101,"want":101}');
select kv.keep_page('{"start":"tenant:","end":"tenant;","where":[],"order":[{"column":"f_owner","type":"text","desc":false}],"shape":"[{\"start\":\"tenant:\",\"end\":\"tenant;\"},\"any\",false,[],[{\"column\":\"f_owner\",\"type\":\"text\",\"desc\":false}],[false,false],100]","reverse":false,"limit":101,"want":101,"after":["","key"]}');
select kv.keep_page('{"start":"tenant:","end":"tenant;","where":[],"order":[{"column":"f_owner","type":"text","desc":true}],"shape":"[{\"start\":\"tenant:\",\"end\":\"tenant;\"},\"any\",false,[],[{\"column\":\"f_owner\",\"type\":\"text\",\"desc\":true}],null,100]","reverse":true,"limit":101,"want":101}');
select kv.keep_page('{"start":"tenant:","end":"tenant;","where":[],"order":[{"column":"f_owner","type":"text","desc":true}],"shape":"[{\"start\":\"tenant:\",\"end\":\"tenant;\"},\"any\",false,[],[{\"column\":\"f_owner\",\"type\":\"text\",\"desc\":true}],[false,false],100]","reverse":true,"limit":101,"want":101,"after":["","key"]}');
select kv.keep_page('{"start":"tenant:","end":"tenant;","where":[],"order":[{"column":"f_trial_ends_at","type":"time","desc":false}],"shape":"[{\"start\":\"tenant:\",\"end\":\"tenant;\"},\"any\",false,[],[{\"column\":\"f_trial_ends_at\",\"type\":\"time\",\"desc\":false}],null,100]","reverse":false,"limit":101,"want":101}');
select kv.keep_page('{"start":"tenant:","end":"tenant;","where":[],"order":[{"column":"f_trial_ends_at","type":"time","desc":false}],"shape":"[{\"start\":\"tenant:\",\"end\":\"tenant;\"},\"any\",false,[],[{\"column\":\"f_trial_ends_at\",\"type\":\"time\",\"desc\":false}],[false,false],100]","reverse":false,"limit":101,"want":101,"after":["","key"]}');
select kv.keep_page('{"start":"tenant:","end":"tenant;","where":[],"order":[{"column":"f_trial_ends_at","type":"time","desc":true}],"shape":"[{\"start\":\"tenant:\",\"end\":\"tenant;\"},\"any\",false,[],[{\"column\":\"f_trial_ends_at\",\"type\":\"time\",\"desc\":true}],null,100]","reverse":true,"limit":101,"want":101}');
select kv.keep_page('{"start":"tenant:","end":"tenant;","where":[],"order":[{"column":"f_trial_ends_at","type":"time","desc":true}],"shape":"[{\"start\":\"tenant:\",\"end\":\"tenant;\"},\"any\",false,[],[{\"column\":\"f_trial_ends_at\",\"type\":\"time\",\"desc\":true}],[false,false],100]","reverse":true,"limit":101,"want":101,"after":["","key"]}');
select kv.keep_page('{"start":"tenant:","end":"tenant;","where":[{"column":"f_status","field":"status","type":"text","in":[""]}],"order":[{"column":"f_created_at","type":"time","desc":false}],"shape":"[{\"start\":\"tenant:\",\"end\":\"tenant;\"},\"any\",false,[[\"f_status\",1]],[{\"column\":\"f_created_at\",\"type\":\"time\",\"desc\":false}],null,100]","reverse":false,"limit":101,"want":101}');
select kv.keep_page('{"start":"tenant:","end":"tenant;","where":[{"column":"f_status","field":"status","type":"text","in":[""]}],"order":[{"column":"f_created_at","type":"time","desc":false}],"shape":"[{\"start\":\"tenant:\",\"end\":\"tenant;\"},\"any\",false,[[\"f_status\",1]],[{\"column\":\"f_created_at\",\"type\":\"time\",\"desc\":false}],[false,false],100]","reverse":false,"limit":101,"want":101,"after":["","key"]}');
select kv.keep_page('{"start":"tenant:","end":"tenant;","where":[{"column":"f_status","field":"status","type":"text","in":[""]}],"order":[{"column":"f_created_at","type":"time","desc":true}],"shape":"[{\"start\":\"tenant:\",\"end\":\"tenant;\"},\"any\",false,[[\"f_status\",1]],[{\"column\":\"f_created_at\",\"type\":\"time\",\"desc\":true}],null,100]","reverse":true,"limit":101,"want":101}');
select kv.keep_page('{"start":"tenant:","end":"tenant;","where":[{"column":"f_status","field":"status","type":"text","in":[""]}],"order":[{"column":"f_created_at","type":"time","desc":true}],"shape":"[{\"start\":\"tenant:\",\"end\":\"tenant;\"},\"any\",false,[[\"f_status\",1]],[{\"column\":\"f_created_at\",\"type\":\"time\",\"desc\":true}],[false,false],100]","reverse":true,"limit":101,"want":101,"after":["","key"]}');
select kv.keep_page('{"start":"tenant:","end":"tenant;","where":[{"column":"f_status","field":"status","type":"text","in":[""]}],"order":[{"column":"f_name","type":"text","desc":false}],"shape":"[{\"start\":\"tenant:\",\"end\":\"tenant;\"},\"any\",false,[[\"f_status\",1]],[{\"column\":\"f_name\",\"type\":\"text\",\"desc\":false}],null,100]","reverse":false,"limit":101,"want":101}');
select kv.keep_page('{"start":"tenant:","end":"tenant;","where":[{"column":"f_status","field":"status","type":"text","in":[""]}],"order":[{"column":"f_name","type":"text","desc":false}],"shape":"[{\"start\":\"tenant:\",\"end\":\"tenant;\"},\"any\",false,[[\"f_status\",1]],[{\"column\":\"f_name\",\"type\":\"text\",\"desc\":false}],[false,false],100]","reverse":false,"limit":101,"want":101,"after":["","key"]}');
select kv.keep_page('{"start":"tenant:","end":"tenant;","where":[{"column":"f_status","field":"status","type":"text","in":[""]}],"order":[{"column":"f_name","type":"text","desc":true}],"shape":"[{\"start\":\"tenant:\",\"end\":\"tenant;\"},\"any\",false,[[\"f_status\",1]],[{\"column\":\"f_name\",\"type\":\"text\",\"desc\":true}],null,100]","reverse":true,"limit":101,"want":101}');
select kv.keep_page('{"start":"tenant:","end":"tenant;","where":[{"column":"f_status","field":"status","type":"text","in":[""]}],"order":[{"column":"f_name","type":"text","desc":true}],"shape":"[{\"start\":\"tenant:\",\"end\":\"tenant;\"},\"any\",false,[[\"f_status\",1]],[{\"column\":\"f_name\",\"type\":\"text\",\"desc\":true}],[false,false],100]","reverse":true,"limit":101,"want":101,"after":["","key"]}');
select kv.keep_page('{"start":"tenant:","end":"tenant;","where":[{"column":"f_status","field":"status","type":"text","in":[""]}],"order":[{"column":"f_mrr","type":"number","desc":false}],"shape":"[{\"start\":\"tenant:\",\"end\":\"tenant;\"},\"any\",false,[[\"f_status\",1]],[{\"column\":\"f_mrr\",\"type\":\"number\",\"desc\":false}],null,100]","reverse":false,"limit":101,"want":101}');
select kv.keep_page('{"start":"tenant:","end":"tenant;","where":[{"column":"f_status","field":"status","type":"text","in":[""]}],"order":[{"column":"f_mrr","type":"number","desc":false}],"shape":"[{\"start\":\"tenant:\",\"end\":\"tenant;\"},\"any\",false,[[\"f_status\",1]],[{\"column\":\"f_mrr\",\"type\":\"number\",\"desc\":false}],[false,false],100]","reverse":false,"limit":101,"want":101,"after":[0,"key"]}');
select kv.keep_page('{"start":"tenant:","end":"tenant;","where":[{"column":"f_status","field":"status","type":"text","in":[""]}],"order":[{"column":"f_mrr","type":"number","desc":true}],"shape":"[{\"start\":\"tenant:\",\"end\":\"tenant;\"},\"any\",false,[[\"f_status\",1]],[{\"column\":\"f_mrr\",\"type\":\"number\",\"desc\":true}],null,100]","reverse":true,"limit":101,"want":101}');
select kv.keep_page('{"start":"tenant:","end":"tenant;","where":[{"column":"f_status","field":"status","type":"text","in":[""]}],"order":[{"column":"f_mrr","type":"number","desc":true}],"shape":"[{\"start\":\"tenant:\",\"end\":\"tenant;\"},\"any\",false,[[\"f_status\",1]],[{\"column\":\"f_mrr\",\"type\":\"number\",\"desc\":true}],[false,false],100]","reverse":true,"limit":101,"want":101,"after":[0,"key"]}');
select kv.keep_page('{"start":"tenant:","end":"tenant;","where":[{"column":"f_plan","field":"plan","type":"text","in":[""]}],"order":[{"column":"f_created_at","type":"time","desc":false}],"shape":"[{\"start\":\"tenant:\",\"end\":\"tenant;\"},\"any\",false,[[\"f_plan\",1]],[{\"column\":\"f_created_at\",\"type\":\"time\",\"desc\":false}],null,100]","reverse":false,"limit":101,"want":101}');
select kv.keep_page('{"start":"tenant:","end":"tenant;","where":[{"column":"f_plan","field":"plan","type":"text","in":[""]}],"order":[{"column":"f_created_at","type":"time","desc":false}],"shape":"[{\"start\":\"tenant:\",\"end\":\"tenant;\"},\"any\",false,[[\"f_plan\",1]],[{\"column\":\"f_created_at\",\"type\":\"time\",\"desc\":false}],[false,false],100]","reverse":false,"limit":101,"want":101,"after":["","key"]}');
select kv.keep_page('{"start":"tenant:","end":"tenant;","where":[{"column":"f_plan","field":"plan","type":"text","in":[""]}],"order":[{"column":"f_created_at","type":"time","desc":true}],"shape":"[{\"start\":\"tenant:\",\"end\":\"tenant;\"},\"any\",false,[[\"f_plan\",1]],[{\"column\":\"f_created_at\",\"type\":\"time\",\"desc\":true}],null,100]","reverse":true,"limit":101,"want":101}');
select kv.keep_page('{"start":"tenant:","end":"tenant;","where":[{"column":"f_plan","field":"plan","type":"text","in":[""]}],"order":[{"column":"f_created_at","type":"time","desc":true}],"shape":"[{\"start\":\"tenant:\",\"end\":\"tenant;\"},\"any\",false,[[\"f_plan\",1]],[{\"column\":\"f_created_at\",\"type\":\"time\",\"desc\":true}],[false,false],100]","reverse":true,"limit":101,"want":101,"after":["","key"]}');
select kv.keep_page('{"start":"tenant:","end":"tenant;","where":[{"column":"f_plan","field":"plan","type":"text","in":[""]}],"order":[{"column":"f_name","type":"text","desc":false}],"shape":"[{\"start\":\"tenant:\",\"end\":\"tenant;\"},\"any\",false,[[\"f_plan\",1]],[{\"column\":\"f_name\",\"type\":\"text\",\"desc\":false}],null,100]","reverse":false,"limit":101,"want":101}');
select kv.keep_page('{"start":"tenant:","end":"tenant;","where":[{"column":"f_plan","field":"plan","type":"text","in":[""]}],"order":[{"column":"f_name","type":"text","desc":false}],"shape":"[{\"start\":\"tenant:\",\"end\":\"tenant;\"},\"any\",false,[[\"f_plan\",1]],[{\"column\":\"f_name\",\"type\":\"text\",\"desc\":false}],[false,false],100]","reverse":false,"limit":101,"want":101,"after":["","key"]}');
select kv.keep_page('{"start":"tenant:","end":"tenant;","where":[{"column":"f_plan","field":"plan","type":"text","in":[""]}],"order":[{"column":"f_name","type":"text","desc":true}],"shape":"[{\"start\":\"tenant:\",\"end\":\"tenant;\"},\"any\",false,[[\"f_plan\",1]],[{\"column\":\"f_name\",\"type\":\"text\",\"desc\":true}],null,100]","reverse":true,"limit":101,"want":101}');
select kv.keep_page('{"start":"tenant:","end":"tenant;","where":[{"column":"f_plan","field":"plan","type":"text","in":[""]}],"order":[{"column":"f_name","type":"text","desc":true}],"shape":"[{\"start\":\"tenant:\",\"end\":\"tenant;\"},\"any\",false,[[\"f_plan\",1]],[{\"column\":\"f_name\",\"type\":\"text\",\"desc\":true}],[false,false],100]","reverse":true,"limit":101,"want":101,"after":["","key"]}');
select kv.keep_page('{"start":"tenant:","end":"tenant;","where":[{"column":"f_plan","field":"plan","type":"text","in":[""]}],"order":[{"column":"f_mrr","type":"number","desc":false}],"shape":"[{\"start\":\"tenant:\",\"end\":\"tenant;\"},\"any\",false,[[\"f_plan\",1]],[{\"column\":\"f_mrr\",\"type\":\"number\",\"desc\":false}],null,100]","reverse":false,"limit":101,"want":101}');
select kv.keep_page('{"start":"tenant:","end":"tenant;","where":[{"column":"f_plan","field":"plan","type":"text","in":[""]}],"order":[{"column":"f_mrr","type":"number","desc":false}],"shape":"[{\"start\":\"tenant:\",\"end\":\"tenant;\"},\"any\",false,[[\"f_plan\",1]],[{\"column\":\"f_mrr\",\"type\":\"number\",\"desc\":false}],[false,false],100]","reverse":false,"limit":101,"want":101,"after":[0,"key"]}');
select kv.keep_page('{"start":"tenant:","end":"tenant;","where":[{"column":"f_plan","field":"plan","type":"text","in":[""]}],"order":[{"column":"f_mrr","type":"number","desc":true}],"shape":"[{\"start\":\"tenant:\",\"end\":\"tenant;\"},\"any\",false,[[\"f_plan\",1]],[{\"column\":\"f_mrr\",\"type\":\"number\",\"desc\":true}],null,100]","reverse":true,"limit":101,"want":101}');
select kv.keep_page('{"start":"tenant:","end":"tenant;","where":[{"column":"f_plan","field":"plan","type":"text","in":[""]}],"order":[{"column":"f_mrr","type":"number","desc":true}],"shape":"[{\"start\":\"tenant:\",\"end\":\"tenant;\"},\"any\",false,[[\"f_plan\",1]],[{\"column\":\"f_mrr\",\"type\":\"number\",\"desc\":true}],[false,false],100]","reverse":true,"limit":101,"want":101,"after":[0,"key"]}');
select kv.keep_page('{"start":"tenant:","end":"tenant;","where":[{"column":"f_region","field":"region","type":"text","in":[""]}],"order":[{"column":"f_created_at","type":"time","desc":false}],"shape":"[{\"start\":\"tenant:\",\"end\":\"tenant;\"},\"any\",false,[[\"f_region\",1]],[{\"column\":\"f_created_at\",\"type\":\"time\",\"desc\":false}],null,100]","reverse":false,"limit":101,"want":101}');
select kv.keep_page('{"start":"tenant:","end":"tenant;","where":[{"column":"f_region","field":"region","type":"text","in":[""]}],"order":[{"column":"f_created_at","type":"time","desc":false}],"shape":"[{\"start\":\"tenant:\",\"end\":\"tenant;\"},\"any\",false,[[\"f_region\",1]],[{\"column\":\"f_created_at\",\"type\":\"time\",\"desc\":false}],[false,false],100]","reverse":false,"limit":101,"want":101,"after":["","key"]}');
select kv.keep_page('{"start":"tenant:","end":"tenant;","where":[{"column":"f_region","field":"region","type":"text","in":[""]}],"order":[{"column":"f_created_at","type":"time","desc":true}],"shape":"[{\"start\":\"tenant:\",\"end\":\"tenant;\"},\"any\",false,[[\"f_region\",1]],[{\"column\":\"f_created_at\",\"type\":\"time\",\"desc\":true}],null,100]","reverse":true,"limit":101,"want":101}');
select kv.keep_page('{"start":"tenant:","end":"tenant;","where":[{"column":"f_region","field":"region","type":"text","in":[""]}],"order":[{"column":"f_created_at","type":"time","desc":true}],"shape":"[{\"start\":\"tenant:\",\"end\":\"tenant;\"},\"any\",false,[[\"f_region\",1]],[{\"column\":\"f_created_at\",\"type\":\"time\",\"desc\":true}],[false,false],100]","reverse":true,"limit":101,"want":101,"after":["","key"]}');
select kv.keep_page('{"start":"tenant:","end":"tenant;","where":[{"column":"f_plan","field":"plan","type":"text","in":[""]},{"column":"f_status","field":"status","type":"text","in":[""]}],"order":[{"column":"f_created_at","type":"time","desc":false}],"shape":"[{\"start\":\"tenant:\",\"end\":\"tenant;\"},\"any\",false,[[\"f_plan\",1],[\"f_status\",1]],[{\"column\":\"f_created_at\",\"type\":\"time\",\"desc\":false}],null,100]","reverse":false,"limit":101,"want":101}');
select kv.keep_page('{"start":"tenant:","end":"tenant;","where":[{"column":"f_plan","field":"plan","type":"text","in":[""]},{"column":"f_status","field":"status","type":"text","in":[""]}],"order":[{"column":"f_created_at","type":"time","desc":false}],"shape":"[{\"start\":\"tenant:\",\"end\":\"tenant;\"},\"any\",false,[[\"f_plan\",1],[\"f_status\",1]],[{\"column\":\"f_created_at\",\"type\":\"time\",\"desc\":false}],[false,false],100]","reverse":false,"limit":101,"want":101,"after":["","key"]}');
select kv.keep_page('{"start":"tenant:","end":"tenant;","where":[{"column":"f_plan","field":"plan","type":"text","in":[""]},{"column":"f_status","field":"status","type":"text","in":[""]}],"order":[{"column":"f_created_at","type":"time","desc":true}],"shape":"[{\"start\":\"tenant:\",\"end\":\"tenant;\"},\"any\",false,[[\"f_plan\",1],[\"f_status\",1]],[{\"column\":\"f_created_at\",\"type\":\"time\",\"desc\":true}],null,100]","reverse":true,"limit":101,"want":101}');
select kv.keep_page('{"start":"tenant:","end":"tenant;","where":[{"column":"f_plan","field":"plan","type":"text","in":[""]},{"column":"f_status","field":"status","type":"text","in":[""]}],"order":[{"column":"f_created_at","type":"time","desc":true}],"shape":"[{\"start\":\"tenant:\",\"end\":\"tenant;\"},\"any\",false,[[\"f_plan\",1],[\"f_status\",1]],[{\"column\":\"f_created_at\",\"type\":\"time\",\"desc\":true}],[false,false],100]","reverse":true,"limit":101,"want":101,"after":["","key"]}');
select kv.keep_page('{"start":"tenant:","end":"tenant;","where":[{"column":"f_plan","field":"plan","type":"text","in":[""]},{"column":"f_status","field":"status","type":"text","in":[""]}],"order":[{"column":"f_mrr","type":"number","desc":false}],"shape":"[{\"start\":\"tenant:\",\"end\":\"tenant;\"},\"any\",false,[[\"f_plan\",1],[\"f_status\",1]],[{\"column\":\"f_mrr\",\"type\":\"number\",\"desc\":false}],null,100]","reverse":false,"limit":101,"want":101}');
select kv.keep_page('{"start":"tenant:","end":"tenant;","where":[{"column":"f_plan","field":"plan","type":"text","in":[""]},{"column":"f_status","field":"status","type":"text","in":[""]}],"order":[{"column":"f_mrr","type":"number","desc":false}],"shape":"[{\"start\":\"tenant:\",\"end\":\"tenant;\"},\"any\",false,[[\"f_plan\",1],[\"f_status\",1]],[{\"column\":\"f_mrr\",\"type\":\"number\",\"desc\":false}],[false,false],100]","reverse":false,"limit":101,"want":101,"after":[0,"key"]}');
select kv.keep_page('{"start":"tenant:","end":"tenant;","where":[{"column":"f_plan","field":"plan","type":"text","in":[""]},{"column":"f_status","field":"status","type":"text","in":[""]}],"order":[{"column":"f_mrr","type":"number","desc":true}],"shape":"[{\"start\":\"tenant:\",\"end\":\"tenant;\"},\"any\",false,[[\"f_plan\",1],[\"f_status\",1]],[{\"column\":\"f_mrr\",\"type\":\"number\",\"desc\":true}],null,100]","reverse":true,"limit":101,"want":101}');
select kv.keep_page('{"start":"tenant:","end":"tenant;","where":[{"column":"f_plan","field":"plan","type":"text","in":[""]},{"column":"f_status","field":"status","type":"text","in":[""]}],"order":[{"column":"f_mrr","type":"number","desc":true}],"shape":"[{\"start\":\"tenant:\",\"end\":\"tenant;\"},\"any\",false,[[\"f_plan\",1],[\"f_status\",1]],[{\"column\":\"f_mrr\",\"type\":\"number\",\"desc\":true}],[false,false],100]","reverse":true,"limit":101,"want":101,"after":[0,"key"]}');
select kv.keep_page('{"start":"plan:","end":"plan;","owner":null,"where":[],"order":[{"column":"f_created_at","type":"time","desc":false}],"shape":"[{\"start\":\"plan:\",\"end\":\"plan;\"},\"platform\",false,[],[{\"column\":\"f_created_at\",\"type\":\"time\",\"desc\":false}],null,100]","reverse":false,"limit":101,"want":101}');
select kv.keep_page('{"start":"plan:","end":"plan;","owner":null,"where":[],"order":[{"column":"f_created_at","type":"time","desc":false}],"shape":"[{\"start\":\"plan:\",\"end\":\"plan;\"},\"platform\",false,[],[{\"column\":\"f_created_at\",\"type\":\"time\",\"desc\":false}],[false,false],100]","reverse":false,"limit":101,"want":101,"after":["","key"]}');
select kv.keep_page('{"start":"plan:","end":"plan;","owner":null,"where":[],"order":[{"column":"f_created_at","type":"time","desc":true}],"shape":"[{\"start\":\"plan:\",\"end\":\"plan;\"},\"platform\",false,[],[{\"column\":\"f_created_at\",\"type\":\"time\",\"desc\":true}],null,100]","reverse":true,"limit":101,"want":101}');
select kv.keep_page('{"start":"plan:","end":"plan;","owner":null,"where":[],"order":[{"column":"f_created_at","type":"time","desc":true}],"shape":"[{\"start\":\"plan:\",\"end\":\"plan;\"},\"platform\",false,[],[{\"column\":\"f_created_at\",\"type\":\"time\",\"desc\":true}],[false,false],100]","reverse":true,"limit":101,"want":101,"after":["","key"]}');
select kv.keep_page('{"start":"plan:","end":"plan;","owner":null,"where":[],"order":[{"column":"f_name","type":"text","desc":false}],"shape":"[{\"start\":\"plan:\",\"end\":\"plan;\"},\"platform\",false,[],[{\"column\":\"f_name\",\"type\":\"text\",\"desc\":false}],null,100]","reverse":false,"limit":101,"want":101}');
select kv.keep_page('{"start":"plan:","end":"plan;","owner":null,"where":[],"order":[{"column":"f_name","type":"text","desc":false}],"shape":"[{\"start\":\"plan:\",\"end\":\"plan;\"},\"platform\",false,[],[{\"column\":\"f_name\",\"type\":\"text\",\"desc\":false}],[false,false],100]","reverse":false,"limit":101,"want":101,"after":["","key"]}');
select kv.keep_page('{"start":"plan:","end":"plan;","owner":null,"where":[],"order":[{"column":"f_name","type":"text","desc":true}],"shape":"[{\"start\":\"plan:\",\"end\":\"plan;\"},\"platform\",false,[],[{\"column\":\"f_name\",\"type\":\"text\",\"desc\":true}],null,100]","reverse":true,"limit":101,"want":101}');
select kv.keep_page('{"start":"plan:","end":"plan;","owner":null,"where":[],"order":[{"column":"f_name","type":"text","desc":true}],"shape":"[{\"start\":\"plan:\",\"end\":\"plan;\"},\"platform\",false,[],[{\"column\":\"f_name\",\"type\":\"text\",\"desc\":true}],[false,false],100]","reverse":true,"limit":101,"want":101,"after":["","key"]}');
select kv.keep_page('{"start":"plan:","end":"plan;","owner":null,"where":[],"order":[{"column":"f_price","type":"number","desc":false}],"shape":"[{\"start\":\"plan:\",\"end\":\"plan;\"},\"platform\",false,[],[{\"column\":\"f_price\",\"type\":\"number\",\"desc\":false}],null,100]","reverse":false,"limit":101,"want":101}');
select kv.keep_page('{"start":"plan:","end":"plan;","owner":null,"where":[],"order":[{"column":"f_price","type":"number","desc":false}],"shape":"[{\"start\":\"plan:\",\"end\":\"plan;\"},\"platform\",false,[],[{\"column\":\"f_price\",\"type\":\"number\",\"desc\":false}],[false,false],100]","reverse":false,"limit":101,"want":101,"after":[0,"key"]}');
select kv.keep_page('{"start":"plan:","end":"plan;","owner":null,"where":[],"order":[{"column":"f_price","type":"number","desc":true}],"shape":"[{\"start\":\"plan:\",\"end\":\"plan;\"},\"platform\",false,[],[{\"column\":\"f_price\",\"type\":\"number\",\"desc\":true}],null,100]","reverse":true,"limit":101,"want":101}');
select kv.keep_page('{"start":"plan:","end":"plan;","owner":null,"where":[],"order":[{"column":"f_price","type":"number","desc":true}],"shape":"[{\"start\":\"plan:\",\"end\":\"plan;\"},\"platform\",false,[],[{\"column\":\"f_price\",\"type\":\"number\",\"desc\":true}],[false,false],100]","reverse":true,"limit":101,"want":101,"after":[0,"key"]}');
select kv.keep_page('{"start":"subscription:","end":"subscription;","where":[{"column":"f_status","field":"status","type":"text","in":[""]}],"order":[{"column":"f_current_period_end","type":"time","desc":false}],"shape":"[{\"start\":\"subscription:\",\"end\":\"subscription;\"},\"any\",false,[[\"f_status\",1]],[{\"column\":\"f_current_period_end\",\"type\":\"time\",\"desc\":false}],null,100]","reverse":false,"limit":101,"want":101}');
select kv.keep_page('{"start":"subscription:","end":"subscription;","where":[{"column":"f_status","field":"status","type":"text","in":[""]}],"order":[{"column":"f_current_period_end","type":"time","desc":false}],"shape":"[{\"start\":\"subscription:\",\"end\":\"subscription;\"},\"any\",false,[[\"f_status\",1]],[{\"column\":\"f_current_period_end\",\"type\":\"time\",\"desc\":false}],[false,false],100]","reverse":false,"limit":101,"want":101,"after":["","key"]}');
select kv.keep_page('{"start":"subscription:","end":"subscription;","where":[{"column":"f_status","field":"status","type":"text","in":[""]}],"order":[{"column":"f_current_period_end","type":"time","desc":true}],"shape":"[{\"start\":\"subscription:\",\"end\":\"subscription;\"},\"any\",false,[[\"f_status\",1]],[{\"column\":\"f_current_period_end\",\"type\":\"time\",\"desc\":true}],null,100]","reverse":true,"limit":101,"want":101}');
select kv.keep_page('{"start":"subscription:","end":"subscription;","where":[{"column":"f_status","field":"status","type":"text","in":[""]}],"order":[{"column":"f_current_period_end","type":"time","desc":true}],"shape":"[{\"start\":\"subscription:\",\"end\":\"subscription;\"},\"any\",false,[[\"f_status\",1]],[{\"column\":\"f_current_period_end\",\"type\":\"time\",\"desc\":true}],[false,false],100]","reverse":true,"limit":101,"want":101,"after":["","key"]}');
select kv.keep_page('{"start":"audit:","end":"audit;","owner":"tn_1","where":[],"order":[{"column":"f_seq","type":"number","desc":false}],"shape":"[{\"start\":\"audit:\",\"end\":\"audit;\"},\"tenant\",false,[],[{\"column\":\"f_seq\",\"type\":\"number\",\"desc\":false}],null,100]","reverse":false,"limit":101,"want":101}');
select kv.keep_page('{"start":"audit:","end":"audit;","owner":"tn_1","where":[],"order":[{"column":"f_seq","type":"number","desc":false}],"shape":"[{\"start\":\"audit:\",\"end\":\"audit;\"},\"tenant\",false,[],[{\"column\":\"f_seq\",\"type\":\"number\",\"desc\":false}],[false,false],100]","reverse":false,"limit":101,"want":101,"after":[0,"key"]}');
select kv.keep_page('{"start":"audit:","end":"audit;","owner":"tn_1","where":[],"order":[{"column":"f_seq","type":"number","desc":true}],"shape":"[{\"start\":\"audit:\",\"end\":\"audit;\"},\"tenant\",false,[],[{\"column\":\"f_seq\",\"type\":\"number\",\"desc\":true}],null,100]","reverse":true,"limit":101,"want":101}');
select kv.keep_page('{"start":"audit:","end":"audit;","owner":"tn_1","where":[],"order":[{"column":"f_seq","type":"number","desc":true}],"shape":"[{\"start\":\"audit:\",\"end\":\"audit;\"},\"tenant\",false,[],[{\"column\":\"f_seq\",\"type\":\"number\",\"desc\":true}],[false,false],100]","reverse":true,"limit":101,"want":101,"after":[0,"key"]}');
select kv.keep_page('{"start":"audit:","end":"audit;","where":[],"order":[{"column":"f_timestamp","type":"time","desc":false}],"shape":"[{\"start\":\"audit:\",\"end\":\"audit;\"},\"any\",false,[],[{\"column\":\"f_timestamp\",\"type\":\"time\",\"desc\":false}],null,100]","reverse":false,"limit":101,"want":101}');
select kv.keep_page('{"start":"audit:","end":"audit;","where":[],"order":[{"column":"f_timestamp","type":"time","desc":false}],"shape":"[{\"start\":\"audit:\",\"end\":\"audit;\"},\"any\",false,[],[{\"column\":\"f_timestamp\",\"type\":\"time\",\"desc\":false}],[false,false],100]","reverse":false,"limit":101,"want":101,"after":["","key"]}');
select kv.keep_page('{"start":"audit:","end":"audit;","where":[],"order":[{"column":"f_timestamp","type":"time","desc":true}],"shape":"[{\"start\":\"audit:\",\"end\":\"audit;\"},\"any\",false,[],[{\"column\":\"f_timestamp\",\"type\":\"time\",\"desc\":true}],null,100]","reverse":true,"limit":101,"want":101}');
select kv.keep_page('{"start":"audit:","end":"audit;","where":[],"order":[{"column":"f_timestamp","type":"time","desc":true}],"shape":"[{\"start\":\"audit:\",\"end\":\"audit;\"},\"any\",false,[],[{\"column\":\"f_timestamp\",\"type\":\"time\",\"desc\":true}],[false,false],100]","reverse":true,"limit":101,"want":101,"after":["","key"]}');
select kv.keep_page('{"start":"audit:","end":"audit;","owner":"tn_1","where":[],"order":[{"column":"f_timestamp","type":"time","desc":false}],"shape":"[{\"start\":\"audit:\",\"end\":\"audit;\"},\"tenant\",false,[],[{\"column\":\"f_timestamp\",\"type\":\"time\",\"desc\":false}],null,100]","reverse":false,"limit":101,"want":101}');
select kv.keep_page('{"start":"audit:","end":"audit;","owner":"tn_1","where":[],"order":[{"column":"f_timestamp","type":"time","desc":false}],"shape":"[{\"start\":\"audit:\",\"end\":\"audit;\"},\"tenant\",false,[],[{\"column\":\"f_timestamp\",\"type\":\"time\",\"desc\":false}],[false,false],100]","reverse":false,"limit":101,"want":101,"after":["","key"]}');
select kv.keep_page('{"start":"audit:","end":"audit;","owner":"tn_1","where":[],"order":[{"column":"f_timestamp","type":"time","desc":true}],"shape":"[{\"start\":\"audit:\",\"end\":\"audit;\"},\"tenant\",false,[],[{\"column\":\"f_timestamp\",\"type\":\"time\",\"desc\":true}],null,100]","reverse":true,"limit":101,"want":101}');
select kv.keep_page('{"start":"audit:","end":"audit;","owner":"tn_1","where":[],"order":[{"column":"f_timestamp","type":"time","desc":true}],"shape":"[{\"start\":\"audit:\",\"end\":\"audit;\"},\"tenant\",false,[],[{\"column\":\"f_timestamp\",\"type\":\"time\",\"desc\":true}],[false,false],100]","reverse":true,"limit":101,"want":101,"after":["","key"]}');
select kv.keep_page('{"start":"audit:","end":"audit;","where":[{"column":"f_resource","field":"resource","type":"text","in":[""]},{"column":"f_resource_id","field":"resourceId","type":"text","in":[""]}],"order":[{"column":"f_timestamp","type":"time","desc":false}],"shape":"[{\"start\":\"audit:\",\"end\":\"audit;\"},\"any\",false,[[\"f_resource\",1],[\"f_resource_id\",1]],[{\"column\":\"f_timestamp\",\"type\":\"time\",\"desc\":false}],null,100]","reverse":false,"limit":101,"want":101}');
select kv.keep_page('{"start":"audit:","end":"audit;","where":[{"column":"f_resource","field":"resource","type":"text","in":[""]},{"column":"f_resource_id","field":"resourceId","type":"text","in":[""]}],"order":[{"column":"f_timestamp","type":"time","desc":false}],"shape":"[{\"start\":\"audit:\",\"end\":\"audit;\"},\"any\",false,[[\"f_resource\",1],[\"f_resource_id\",1]],[{\"column\":\"f_timestamp\",\"type\":\"time\",\"desc\":false}],[false,false],100]","reverse":false,"limit":101,"want":101,"after":["","key"]}');
select kv.keep_page('{"start":"audit:","end":"audit;","where":[{"column":"f_resource","field":"resource","type":"text","in":[""]},{"column":"f_resource_id","field":"resourceId","type":"text","in":[""]}],"order":[{"column":"f_timestamp","type":"time","desc":true}],"shape":"[{\"start\":\"audit:\",\"end\":\"audit;\"},\"any\",false,[[\"f_resource\",1],[\"f_resource_id\",1]],[{\"column\":\"f_timestamp\",\"type\":\"time\",\"desc\":true}],null,100]","reverse":true,"limit":101,"want":101}');
select kv.keep_page('{"start":"audit:","end":"audit;","where":[{"column":"f_resource","field":"resource","type":"text","in":[""]},{"column":"f_resource_id","field":"resourceId","type":"text","in":[""]}],"order":[{"column":"f_timestamp","type":"time","desc":true}],"shape":"[{\"start\":\"audit:\",\"end\":\"audit;\"},\"any\",false,[[\"f_resource\",1],[\"f_resource_id\",1]],[{\"column\":\"f_timestamp\",\"type\":\"time\",\"desc\":true}],[false,false],100]","reverse":true,"limit":101,"want":101,"after":["","key"]}');
select kv.keep_page('{"start":"audit:","end":"audit;","where":[{"column":"f_action","field":"action","type":"text","in":[""]}],"order":[{"column":"f_timestamp","type":"time","desc":false}],"shape":"[{\"start\":\"audit:\",\"end\":\"audit;\"},\"any\",false,[[\"f_action\",1]],[{\"column\":\"f_timestamp\",\"type\":\"time\",\"desc\":false}],null,100]","reverse":false,"limit":101,"want":101}');
select kv.keep_page('{"start":"audit:","end":"audit;","where":[{"column":"f_action","field":"action","type":"text","in":[""]}],"order":[{"column":"f_timestamp","type":"time","desc":false}],"shape":"[{\"start\":\"audit:\",\"end\":\"audit;\"},\"any\",false,[[\"f_action\",1]],[{\"column\":\"f_timestamp\",\"type\":\"time\",\"desc\":false}],[false,false],100]","reverse":false,"limit":101,"want":101,"after":["","key"]}');
select kv.keep_page('{"start":"audit:","end":"audit;","where":[{"column":"f_action","field":"action","type":"text","in":[""]}],"order":[{"column":"f_timestamp","type":"time","desc":true}],"shape":"[{\"start\":\"audit:\",\"end\":\"audit;\"},\"any\",false,[[\"f_action\",1]],[{\"column\":\"f_timestamp\",\"type\":\"time\",\"desc\":true}],null,100]","reverse":true,"limit":101,"want":101}');
select kv.keep_page('{"start":"audit:","end":"audit;","where":[{"column":"f_action","field":"action","type":"text","in":[""]}],"order":[{"column":"f_timestamp","type":"time","desc":true}],"shape":"[{\"start\":\"audit:\",\"end\":\"audit;\"},\"any\",false,[[\"f_action\",1]],[{\"column\":\"f_timestamp\",\"type\":\"time\",\"desc\":true}],[false,false],100]","reverse":true,"limit":101,"want":101,"after":["","key"]}');
select kv.keep_page('{"start":"audit:","end":"audit;","where":[{"column":"f_user_id","field":"userId","type":"text","in":[""]}],"order":[{"column":"f_timestamp","type":"time","desc":false}],"shape":"[{\"start\":\"audit:\",\"end\":\"audit;\"},\"any\",false,[[\"f_user_id\",1]],[{\"column\":\"f_timestamp\",\"type\":\"time\",\"desc\":false}],null,100]","reverse":false,"limit":101,"want":101}');
select kv.keep_page('{"start":"audit:","end":"audit;","where":[{"column":"f_user_id","field":"userId","type":"text","in":[""]}],"order":[{"column":"f_timestamp","type":"time","desc":false}],"shape":"[{\"start\":\"audit:\",\"end\":\"audit;\"},\"any\",false,[[\"f_user_id\",1]],[{\"column\":\"f_timestamp\",\"type\":\"time\",\"desc\":false}],[false,false],100]","reverse":false,"limit":101,"want":101,"after":["","key"]}');
select kv.keep_page('{"start":"audit:","end":"audit;","where":[{"column":"f_user_id","field":"userId","type":"text","in":[""]}],"order":[{"column":"f_timestamp","type":"time","desc":true}],"shape":"[{\"start\":\"audit:\",\"end\":\"audit;\"},\"any\",false,[[\"f_user_id\",1]],[{\"column\":\"f_timestamp\",\"type\":\"time\",\"desc\":true}],null,100]","reverse":true,"limit":101,"want":101}');
select kv.keep_page('{"start":"audit:","end":"audit;","where":[{"column":"f_user_id","field":"userId","type":"text","in":[""]}],"order":[{"column":"f_timestamp","type":"time","desc":true}],"shape":"[{\"start\":\"audit:\",\"end\":\"audit;\"},\"any\",false,[[\"f_user_id\",1]],[{\"column\":\"f_timestamp\",\"type\":\"time\",\"desc\":true}],[false,false],100]","reverse":true,"limit":101,"want":101,"after":["","key"]}');
select kv.keep_page('{"start":"admin:","end":"admin;","owner":null,"where":[],"order":[{"column":"f_created_at","type":"time","desc":false}],"shape":"[{\"start\":\"admin:\",\"end\":\"admin;\"},\"platform\",false,[],[{\"column\":\"f_created_at\",\"type\":\"time\",\"desc\":false}],null,100]","reverse":false,"limit":101,"want":101}');
select kv.keep_page('{"start":"admin:","end":"admin;","owner":null,"where":[],"order":[{"column":"f_created_at","type":"time","desc":false}],"shape":"[{\"start\":\"admin:\",\"end\":\"admin;\"},\"platform\",false,[],[{\"column\":\"f_created_at\",\"type\":\"time\",\"desc\":false}],[false,false],100]","reverse":false,"limit":101,"want":101,"after":["","key"]}');
select kv.keep_page('{"start":"admin:","end":"admin;","owner":null,"where":[],"order":[{"column":"f_created_at","type":"time","desc":true}],"shape":"[{\"start\":\"admin:\",\"end\":\"admin;\"},\"platform\",false,[],[{\"column\":\"f_created_at\",\"type\":\"time\",\"desc\":true}],null,100]","reverse":true,"limit":101,"want":101}');
select kv.keep_page('{"start":"admin:","end":"admin;","owner":null,"where":[],"order":[{"column":"f_created_at","type":"time","desc":true}],"shape":"[{\"start\":\"admin:\",\"end\":\"admin;\"},\"platform\",false,[],[{\"column\":\"f_created_at\",\"type\":\"time\",\"desc\":true}],[false,false],100]","reverse":true,"limit":101,"want":101,"after":["","key"]}');
select kv.keep_page('{"start":"admin:","end":"admin;","owner":null,"where":[],"order":[{"column":"f_email","type":"text","desc":false}],"shape":"[{\"start\":\"admin:\",\"end\":\"admin;\"},\"platform\",false,[],[{\"column\":\"f_email\",\"type\":\"text\",\"desc\":false}],null,100]","reverse":false,"limit":101,"want":101}');
select kv.keep_page('{"start":"admin:","end":"admin;","owner":null,"where":[],"order":[{"column":"f_email","type":"text","desc":false}],"shape":"[{\"start\":\"admin:\",\"end\":\"admin;\"},\"platform\",false,[],[{\"column\":\"f_email\",\"type\":\"text\",\"desc\":false}],[false,false],100]","reverse":false,"limit":101,"want":101,"after":["","key"]}');
select kv.keep_page('{"start":"admin:","end":"admin;","owner":null,"where":[],"order":[{"column":"f_email","type":"text","desc":true}],"shape":"[{\"start\":\"admin:\",\"end\":\"admin;\"},\"platform\",false,[],[{\"column\":\"f_email\",\"type\":\"text\",\"desc\":true}],null,100]","reverse":true,"limit":101,"want":101}');
select kv.keep_page('{"start":"admin:","end":"admin;","owner":null,"where":[],"order":[{"column":"f_email","type":"text","desc":true}],"shape":"[{\"start\":\"admin:\",\"end\":\"admin;\"},\"platform\",false,[],[{\"column\":\"f_email\",\"type\":\"text\",\"desc\":true}],[false,false],100]","reverse":true,"limit":101,"want":101,"after":["","key"]}');
select kv.keep_page('{"start":"admin:","end":"admin;","owner":null,"where":[],"order":[{"column":"f_name","type":"text","desc":false}],"shape":"[{\"start\":\"admin:\",\"end\":\"admin;\"},\"platform\",false,[],[{\"column\":\"f_name\",\"type\":\"text\",\"desc\":false}],null,100]","reverse":false,"limit":101,"want":101}');
select kv.keep_page('{"start":"admin:","end":"admin;","owner":null,"where":[],"order":[{"column":"f_name","type":"text","desc":false}],"shape":"[{\"start\":\"admin:\",\"end\":\"admin;\"},\"platform\",false,[],[{\"column\":\"f_name\",\"type\":\"text\",\"desc\":false}],[false,false],100]","reverse":false,"limit":101,"want":101,"after":["","key"]}');
select kv.keep_page('{"start":"admin:","end":"admin;","owner":null,"where":[],"order":[{"column":"f_name","type":"text","desc":true}],"shape":"[{\"start\":\"admin:\",\"end\":\"admin;\"},\"platform\",false,[],[{\"column\":\"f_name\",\"type\":\"text\",\"desc\":true}],null,100]","reverse":true,"limit":101,"want":101}');
select kv.keep_page('{"start":"admin:","end":"admin;","owner":null,"where":[],"order":[{"column":"f_name","type":"text","desc":true}],"shape":"[{\"start\":\"admin:\",\"end\":\"admin;\"},\"platform\",false,[],[{\"column\":\"f_name\",\"type\":\"text\",\"desc\":true}],[false,false],100]","reverse":true,"limit":101,"want":101,"after":["","key"]}');
select kv.keep_page('{"start":"outbox:","end":"outbox;","where":[],"order":[{"column":"f_created_at","type":"time","desc":false}],"shape":"[{\"start\":\"outbox:\",\"end\":\"outbox;\"},\"any\",false,[],[{\"column\":\"f_created_at\",\"type\":\"time\",\"desc\":false}],null,100]","reverse":false,"limit":101,"want":101}');
select kv.keep_page('{"start":"outbox:","end":"outbox;","where":[],"order":[{"column":"f_created_at","type":"time","desc":false}],"shape":"[{\"start\":\"outbox:\",\"end\":\"outbox;\"},\"any\",false,[],[{\"column\":\"f_created_at\",\"type\":\"time\",\"desc\":false}],[false,false],100]","reverse":false,"limit":101,"want":101,"after":["","key"]}');
select kv.keep_page('{"start":"outbox:","end":"outbox;","where":[],"order":[{"column":"f_created_at","type":"time","desc":true}],"shape":"[{\"start\":\"outbox:\",\"end\":\"outbox;\"},\"any\",false,[],[{\"column\":\"f_created_at\",\"type\":\"time\",\"desc\":true}],null,100]","reverse":true,"limit":101,"want":101}');
select kv.keep_page('{"start":"outbox:","end":"outbox;","where":[],"order":[{"column":"f_created_at","type":"time","desc":true}],"shape":"[{\"start\":\"outbox:\",\"end\":\"outbox;\"},\"any\",false,[],[{\"column\":\"f_created_at\",\"type\":\"time\",\"desc\":true}],[false,false],100]","reverse":true,"limit":101,"want":101,"after":["","key"]}');
-- The one way anything is written. Locks are taken in one order by every commit, so keyed commits never
-- deadlock (a prefix or a cascade locks its rows as it finds them; a deadlock with one is run again): key locks (only with checks), owners, existing entries, rollup shards, chain heads, new entries;
-- each sorted.

-- Sets `p_path` in `p_value`, making the objects on the way.
create function kv.put(p_value jsonb, p_path text[], p_new jsonb) returns jsonb
language plpgsql immutable set search_path = '' as $$
begin
  if cardinality(p_path) > 1 then
    p_new := kv.put(case when jsonb_typeof(p_value->p_path[1]) = 'object' then p_value->p_path[1] else '{}' end, p_path[2:], p_new);
  end if;
  return p_value || jsonb_build_object(p_path[1], p_new);
end $$;

-- The record after an `increment` or `append`; null when an addition would leave its bounds.
create function kv.changed(p_value jsonb, p_mutation jsonb) returns jsonb
language plpgsql immutable set search_path = '' as $$
declare
  v_value jsonb := p_value;
  v_add jsonb;
  v_path text[];
  v_old jsonb;
  v_new numeric;
begin
  if p_mutation->>'op' = 'append' then
    v_path := array(select jsonb_array_elements_text(p_mutation->'path'));
    v_old := coalesce(v_value #> v_path, '[]') || (p_mutation->'items');
    if p_mutation ? 'cap' and jsonb_array_length(v_old) > (p_mutation->>'cap')::integer then
      v_old := (select jsonb_agg(item order by o) from jsonb_array_elements(v_old) with ordinality as items(item, o)
                where o > jsonb_array_length(v_old) - (p_mutation->>'cap')::integer);
    end if;
    v_value := kv.put(v_value, v_path, v_old);
  end if;
  for v_add in select * from jsonb_array_elements(coalesce(p_mutation->'add', '[]')) loop
    v_path := array(select jsonb_array_elements_text(v_add->'path'));
    v_old := coalesce(v_value #> v_path, '0');
    if jsonb_typeof(v_old) <> 'number' then
      raise exception 'is not a number' using errcode = 'KV001', detail = '/' || array_to_string(v_path, '/');
    end if;
    v_new := coalesce((v_add->>'to')::numeric, v_old::numeric + (v_add->>'by')::numeric);
    if abs(v_new) > 9007199254740991 and v_new = trunc(v_new) then
      raise exception 'is an integer beyond 2^53 - 1' using errcode = 'KV001', detail = '/' || array_to_string(v_path, '/');
    end if;
    if v_new < (v_add->>'min')::numeric or v_new > (v_add->>'max')::numeric then
      return null;
    end if;
    v_value := kv.put(v_value, v_path, to_jsonb(v_new));
  end loop;
  v_value := v_value || coalesce(p_mutation->'merge', '{}');
  -- jsonb's text has a space after every comma and colon; only what is over the limit with them is measured without.
  if octet_length(v_value::text) > 262144
    and octet_length(regexp_replace(v_value::text, '("(?:[^"\\]|\\.)*")|([,:]) ', '\1\2', 'g')) > 262144 then
    raise exception 'the record grows over 262144 bytes' using errcode = 'KV006';
  end if;
  return v_value;
end $$;

-- Adds the counts of two reports.
create function kv.tally(p_a jsonb, p_b jsonb) returns jsonb
language sql immutable parallel safe
return p_a || coalesce((select jsonb_object_agg(b.key, coalesce((p_a->>b.key)::bigint, 0) + b.value::bigint) from jsonb_each_text(p_b) b), '{}');

-- Takes the owners' rows `for key share` and refuses those deleted; makes rows not seen before.
create function kv.lock_owners(p_owners text[]) returns void
language plpgsql set search_path = '' as $$
declare
  v_owner record;
  v_seen integer := 0;
begin
  for v_owner in select o.owner, o.deleted_at from kv.owners o where o.owner = any(p_owners) order by o.owner for key share loop
    v_seen := v_seen + 1;
    if v_owner.deleted_at is not null then
      raise exception 'tenant % was deleted', v_owner.owner using errcode = 'KV003';
    end if;
  end loop;
  if v_seen < cardinality(p_owners) then
    insert into kv.owners (owner) select o from unnest(p_owners) o order by o on conflict do nothing;
    perform kv.lock_owners(p_owners);
  end if;
end $$;

-- One write of a commit, resolved against its key's declared family.
create type kv.write as (
  ord bigint, op text, key text, value jsonb, owner text, cascades boolean, expires_at timestamptz,
  counters boolean, chained boolean, shard integer, mutation jsonb
);

-- Resolves the keyed mutations. A key of a declared family in another shape, or with another owner than
-- the one it names, is refused: owner alone would let tenant a create `subscription:b`.
create function kv.resolve(p_mutations jsonb) returns kv.write[]
language plpgsql stable set search_path = '' as $$
declare
  v_writes kv.write[];
  v_refused text;
begin
  select array_agg((m.ord, m.op, m.key, m.value, coalesce(r.owner, m.owner), coalesce(m.cascades, f.cascades, true), m.expires_at,
      coalesce(f.counters, false), coalesce(f.chained, false), case when f.rolled_up then kv.shard(m.key) end, m.mutation)::kv.write order by m.key),
    min(m.key) filter (where case
      when f.rule is null then exists (select from kv.families g where g.family = split_part(m.key, ':', 1))
      when m.op = 'delete' or f.rule = 'given' then false
      else m.owner is distinct from r.owner and m.given end)
  into v_writes, v_refused
  from (
    select o as ord, x->>'op' as op, x->>'key' as key, x->'value' as value, coalesce(x->'initial', x) ? 'owner' as given,
      coalesce(x->'initial', x)->>'owner' as owner, (coalesce(x->'initial', x)->'cascades')::boolean as cascades,
      (x->>'expiresAt')::timestamptz as expires_at, x - 'value' as mutation
    from jsonb_array_elements(p_mutations) with ordinality as xs(x, o) where x ? 'key'
  ) m
  left join kv.families f on f.family = split_part(m.key, ':', 1) and f.colons = kv.colons(m.key)
  cross join lateral (select case f.rule when 'segment' then nullif(split_part(m.key, ':', 2), 'global') end as owner) r;
  if v_refused is not null then
    raise exception 'key % names another owner or is not of its family''s shape', v_refused using errcode = 'KV004', detail = v_refused;
  end if;
  if exists (select from unnest(v_writes) w where w.chained and (w.expires_at is not null or w.mutation->'initial' ? 'expiresAt')) then
    raise exception 'an entry of an audit chain cannot expire' using errcode = 'KV001', detail = '/expiresAt';
  end if;
  return coalesce(v_writes, '{}');
end $$;

-- Locks every existing row of the keys, in key order, first entries, then counters; answers which there are.
create function kv.lock_entries(p_keys text[], p_entries boolean, p_counters boolean) returns text[]
language plpgsql set search_path = '' as $$
declare
  v_locked text[] := '{}';
begin
  if p_entries then
    v_locked := array(select e.key from kv.entries e where e.key = any(p_keys) order by e.key for update);
  end if;
  if p_counters then
    v_locked := v_locked || array(select c.key from kv.counters c where c.key = any(p_keys) order by c.key for update);
  end if;
  return v_locked;
end $$;

-- The first key whose live version is not the one expected, or null.
create function kv.failed_check(p_checks jsonb, p_now timestamptz) returns text
language plpgsql set search_path = '' as $$
begin
  return (
    select c->>'key' from jsonb_array_elements(p_checks) with ordinality as cs(c, o)
    left join lateral (
      select e.version from kv.entries e where e.key = c->>'key' and (e.expires_at is null or e.expires_at > p_now)
      union all
      select n.version from kv.counters n where n.key = c->>'key' and (n.expires_at is null or n.expires_at > p_now)
    ) live on true
    where live.version is distinct from (c->>'version')::bigint order by o limit 1);
end $$;

-- Gives an entry of an audit chain its place, under the lock of the chain's head.
-- hash = lower-case hex SHA-256 of `prevHash:seq:contentHash` (data-model.md, audit entry).
create function kv.chain(p_scope text, p_value jsonb) returns jsonb
language plpgsql set search_path = '' as $$
declare
  v_seq bigint;
  v_prev text;
  v_hash text;
begin
  insert into kv.chains (scope, seq, hash) values (p_scope, 0, repeat('0', 64)) on conflict do nothing;
  select c.seq + 1, c.hash into v_seq, v_prev from kv.chains c where c.scope = p_scope for update;
  v_hash := encode(sha256(convert_to(v_prev || ':' || v_seq || ':' || (p_value->>'contentHash'), 'UTF8')), 'hex');
  if v_hash is null then
    raise exception 'an entry of an audit chain needs its contentHash' using errcode = 'KV001', detail = '/contentHash';
  end if;
  update kv.chains c set seq = v_seq, hash = v_hash where c.scope = p_scope;
  return (p_value - 'contentHash') || jsonb_build_object('seq', v_seq, 'prevHash', v_prev, 'hash', v_hash);
end $$;

-- The cascade, one statement a table: what the tenant owns goes, and its id is never accepted again.
create function kv.delete_owner(p_owner text, p_now timestamptz) returns jsonb
language plpgsql set search_path = '' as $$
declare
  v_deleted jsonb;
begin
  insert into kv.owners as o (owner, deleted_at) values (p_owner, p_now)
    on conflict (owner) do update set deleted_at = coalesce(o.deleted_at, excluded.deleted_at);
  with gone as (
    delete from kv.entries e where e.owner = p_owner and e.cascades returning e.key, e.expires_at
  ), counted as (
    delete from kv.counters c using kv.families f
    where f.counters and f.rule = 'segment' and c.owner = p_owner and c.cascades
      and c.key >= f.family || ':' || p_owner || ':' and c.key < f.family || ':' || p_owner || ';'
    returning c.key, c.expires_at
  )
  select jsonb_object_agg(family, n) into v_deleted from (
    select split_part(a.key, ':', 1) as family, count(*) as n from (select * from gone union all select * from counted) a
    where a.expires_at is null or a.expires_at > p_now group by 1) t;
  return coalesce(v_deleted, '{}');
end $$;

-- Deletes the range [p_start, p_end); answers the live ones by family. A prefix is of one family, and then
-- they are counted without reading them back.
create function kv.delete_range(p_start text, p_end text, p_now timestamptz) returns jsonb
language plpgsql set search_path = '' as $$
declare
  v_family text := split_part(p_start, ':', 1);
  v_live bigint;
  v_gone bigint;
begin
  if p_start = '' then
    return kv.delete_keys(array(select e.key from kv.entries e union all select c.key from kv.counters c), p_now);
  end if;
  select -count(*) into v_live from kv.entries e where e.expires_at <= p_now and e.key >= p_start and e.key < p_end;
  delete from kv.entries e where e.key >= p_start and e.key < p_end;
  get diagnostics v_gone = row_count;
  v_live := v_live + v_gone;
  if kv.in_counters(p_start) then
    select v_live - count(*) into v_live from kv.counters c where c.expires_at <= p_now and c.key >= p_start and c.key < p_end;
    delete from kv.counters c where c.key >= p_start and c.key < p_end;
    get diagnostics v_gone = row_count;
    v_live := v_live + v_gone;
  end if;
  return case when v_live = 0 then '{}' else jsonb_build_object(v_family, v_live) end;
end $$;

-- Deletes the given keys; answers the live ones by family.
create function kv.delete_keys(p_keys text[], p_now timestamptz) returns jsonb
language plpgsql set search_path = '' as $$
declare
  v_deleted jsonb;
begin
  with gone as (delete from kv.entries e where e.key = any(p_keys) returning e.key, e.expires_at),
    counted as (delete from kv.counters c where c.key = any(p_keys) returning c.key, c.expires_at)
  select jsonb_object_agg(family, n) into v_deleted from (
    select split_part(a.key, ':', 1) as family, count(*) as n from (select * from gone union all select * from counted) a
    where a.expires_at is null or a.expires_at > p_now group by 1) t;
  return coalesce(v_deleted, '{}');
end $$;

-- Writes the rows. The version is drawn under the row's lock, so a key's versions only grow. A row of
-- `p_fresh` was computed as absent: had another commit made it meanwhile, this one is run again (40001);
-- a row that cannot be seen even now is another tenant's (42501).
create function kv.put_rows(p_rows kv.write[], p_fresh text[], p_now timestamptz) returns jsonb
language plpgsql set search_path = '' as $$
declare
  v_versions jsonb := '{}';
  v_counters jsonb;
  v_expected bigint;
begin
  if exists (select from unnest(p_rows) r where not r.counters) then
    with written as (
      insert into kv.entries as e (key, value, version, owner, cascades, expires_at, created_at, updated_at)
      select r.key, r.value, nextval('kv.versions'), r.owner, r.cascades, r.expires_at, p_now, p_now
      from unnest(p_rows) r where not r.counters order by r.key
      on conflict (key) do update set value = excluded.value, version = nextval('kv.versions'), owner = excluded.owner,
        cascades = excluded.cascades, expires_at = excluded.expires_at, updated_at = excluded.updated_at,
        created_at = case when e.expires_at <= p_now then excluded.created_at else e.created_at end
      where e.key <> all(p_fresh)
      returning e.key, e.version
    ) select coalesce(jsonb_object_agg(w.key, w.version::text), '{}') into v_versions from written w;
  end if;
  if exists (select from unnest(p_rows) r where r.counters) then
    with written as (
      insert into kv.counters as e (key, value, version, owner, cascades, expires_at, created_at, updated_at)
      select r.key, r.value, nextval('kv.versions'), r.owner, r.cascades, r.expires_at, p_now, p_now
      from unnest(p_rows) r where r.counters order by r.key
      on conflict (key) do update set value = excluded.value, version = nextval('kv.versions'), owner = excluded.owner,
        cascades = excluded.cascades, expires_at = excluded.expires_at, updated_at = excluded.updated_at,
        created_at = case when e.expires_at <= p_now then excluded.created_at else e.created_at end
      where e.key <> all(p_fresh)
      returning e.key, e.version
    ) select coalesce(jsonb_object_agg(w.key, w.version::text), '{}') into v_counters from written w;
    v_versions := v_versions || v_counters;
  end if;
  if cardinality(p_fresh) > 0 and exists (select from unnest(p_fresh) k where not v_versions ? k) then
    if exists (select from kv.mget_body(array(select k from unnest(p_fresh) k where not v_versions ? k), '-infinity')) then
      raise exception 'a key was created meanwhile' using errcode = '40001';
    end if;
    raise exception 'a key belongs to another owner' using errcode = '42501';
  end if;
  return v_versions;
end $$;

create function kv.commit_body(p_checks jsonb, p_mutations jsonb, p_now timestamptz) returns jsonb
language plpgsql set search_path = '' as $$
declare
  v_writes kv.write[] := kv.resolve(p_mutations);
  v_rows kv.write[] := '{}';
  v_keys text[];
  v_owners text[];
  v_gone text;
  v_fresh text[] := '{}';
  v_locked text[] := '{}';
  v_values jsonb := '{}';
  v_deleted jsonb := '{}';
  v_conflict text;
  v_write kv.write;
  v_row record;
  v_mutation jsonb;
  v_checked boolean := jsonb_array_length(p_checks) > 0;
  -- Of what kinds the commit is, so that none looks for what it does not have.
  v_ranged boolean := jsonb_array_length(p_mutations) > cardinality(v_writes);
  v_entries boolean;
  v_counters boolean;
  v_deletes boolean;
  v_computed boolean;
  v_sharded boolean;
begin
  select array_agg(distinct w.owner) filter (where w.op <> 'delete' and w.owner is not null), array_agg(w.key),
    bool_or(not w.counters), bool_or(w.counters), bool_or(w.op = 'delete'), bool_or(w.op <> 'delete' and (w.chained or w.op <> 'set')), bool_or(w.shard is not null)
  into v_owners, v_keys, v_entries, v_counters, v_deletes, v_computed, v_sharded from unnest(v_writes) w;
  if v_checked then
    v_keys := v_keys || array(select c->>'key' from jsonb_array_elements(p_checks) c);
    perform pg_advisory_xact_lock(h) from (select distinct hashtextextended(k, 0) as h from unnest(v_keys) k order by h) locks;
  end if;

  if v_ranged then
    select m->>'owner' into v_gone from jsonb_array_elements(p_mutations) m where m->>'op' = 'deleteOwner';
  end if;
  if v_gone is not null then
    perform from kv.owners o where o.owner = v_gone for update;
    if exists (select from unnest(v_writes) w where w.op <> 'delete' and (w.owner <> v_gone or (w.owner = v_gone and w.cascades))) then
      raise exception 'a commit that deletes tenant % can write nothing else of a tenant', v_gone using errcode = 'KV001', detail = '/mutations';
    end if;
    v_owners := null;
  end if;
  if v_owners is not null then
    perform kv.lock_owners(v_owners);
  end if;

  -- A lone blind set needs no look before; everything else locks what exists first.
  if v_checked or cardinality(v_keys) > 1 or v_writes[1].op <> 'set' then
    v_locked := kv.lock_entries(v_keys, v_checked or v_entries, v_checked or v_counters);
  end if;
  if v_checked then
    v_conflict := kv.failed_check(p_checks, p_now);
    if v_conflict is not null then
      return jsonb_build_object('ok', false, 'conflict', v_conflict, 'reason', 'version');
    end if;
    -- "Absent" must still hold at the write: writers without checks take no key lock.
    v_fresh := array(select w.key from unnest(v_writes) w join jsonb_array_elements(p_checks) c on c->>'key' = w.key
      where w.op = 'set' and c->>'version' is null and w.key <> all(v_locked));
  end if;
  if v_sharded then
    perform pg_advisory_xact_lock(hashtext('kv.rollup:' || s.family), s.shard)
      from (select distinct split_part(w.key, ':', 1) as family, w.shard from unnest(v_writes) w where w.shard is not null order by 1, 2) s;
  end if;

  -- Plain sets are written as they come; the others are computed from what is there, chains last.
  v_rows := case when v_computed or v_deletes then array(select w from unnest(v_writes) w where w.op = 'set' and not w.chained) else v_writes end;
  for v_write in select * from unnest(v_writes) w where v_computed and w.op <> 'delete' and (w.chained or w.op <> 'set') order by w.chained, coalesce(w.owner, ''), w.ord loop
    if v_write.chained then
      v_write.value := kv.chain(coalesce(v_write.owner, ''), v_write.value);
    else
      if v_write.counters then
        select c.value, c.owner, c.cascades, c.expires_at, c.expires_at <= p_now as expired into v_row from kv.counters c where c.key = v_write.key;
      else
        select e.value, e.owner, e.cascades, e.expires_at, e.expires_at <= p_now as expired into v_row from kv.entries e where e.key = v_write.key;
      end if;
      if not found then
        v_fresh := v_fresh || v_write.key;
      elsif v_write.key <> all(v_locked) then
        raise exception 'a key was created meanwhile' using errcode = '40001';
      end if;
      if found and v_row.expired is not true then
        v_write.value := v_row.value;
        v_write.owner := v_row.owner;
        v_write.cascades := v_row.cascades;
        v_write.expires_at := v_row.expires_at;
      elsif v_write.mutation ? 'initial' then
        v_write.value := v_write.mutation->'initial'->'value';
        v_write.expires_at := (v_write.mutation->'initial'->>'expiresAt')::timestamptz;
      else
        v_fresh := array_remove(v_fresh, v_write.key);
        v_values := v_values || jsonb_build_object(v_write.key, null);
        continue;
      end if;
      v_write.value := kv.changed(v_write.value, v_write.mutation);
      if v_write.value is null then
        return jsonb_build_object('ok', false, 'conflict', v_write.key, 'reason', 'bounds');
      end if;
      v_values := v_values || jsonb_build_object(v_write.key, v_write.value);
    end if;
    v_rows := v_rows || v_write;
  end loop;

  if v_ranged then
    for v_mutation in select m from jsonb_array_elements(p_mutations) m where m->>'op' in ('deletePrefix', 'deleteOwner') loop
      v_deleted := kv.tally(v_deleted, case v_mutation->>'op'
        when 'deleteOwner' then kv.delete_owner(v_mutation->>'owner', p_now)
        else kv.delete_range(v_mutation->>'start', v_mutation->>'end', p_now) end);
    end loop;
  end if;
  if v_deletes then
    v_deleted := kv.tally(v_deleted, kv.delete_keys(array(select w.key from unnest(v_writes) w where w.op = 'delete'), p_now));
  end if;
  return jsonb_build_object('ok', true, 'versions', kv.put_rows(v_rows, v_fresh, p_now), 'values', v_values, 'deleted', v_deleted);
end $$;

-- Removes the bytes of entries already gone by the caller's clock, at most p_limit in all.
create function kv.sweep_body(p_limit integer, p_now timestamptz) returns bigint
language plpgsql set search_path = '' as $$
declare
  v_entries bigint;
  v_counters bigint;
begin
  delete from kv.entries where key in (
    select e.key from kv.entries e where e.expires_at <= p_now order by e.expires_at limit p_limit for update skip locked);
  get diagnostics v_entries = row_count;
  delete from kv.counters where key in (
    select c.key from kv.counters c where c.expires_at <= p_now order by c.expires_at limit p_limit - v_entries for update skip locked);
  get diagnostics v_counters = row_count;
  return v_entries + v_counters;
end $$;
-- The tenant door's own copies of the bodies. A plan belongs to the role it was made for, so a session that
-- served both doors in turn would plan every statement again at each call (a set: 1.0 -> 1.8 ms).
do $$
declare
  v_names text[] := array['mget_body', 'list_body', 'count_body', 'query_body', 'total_body', 'aggregate_body', 'lock_owners', 'resolve',
    'lock_entries', 'failed_check', 'chain', 'delete_owner', 'delete_range', 'delete_keys', 'put_rows', 'commit_body'];
  v_name text;
  v_other text;
  v_source text;
begin
  foreach v_name in array v_names loop
    v_source := pg_get_functiondef(('kv.' || v_name)::regproc);
    foreach v_other in array v_names loop
      v_source := replace(v_source, 'kv.' || v_other || '(', 'kv.tenant_' || v_other || '(');
    end loop;
    execute replace(v_source, 'kv.page_%s', 'kv.tenant_page_%s');
  end loop;
end $$;
-- Who sees what. Two policies a table: the service door sees all, the tenant door its own rows (and the
-- platform's readable ones). With no tenant set the tenant door sees nothing.
create policy service on kv.entries to kv_service using (true) with check (true);
create policy service on kv.counters to kv_service using (true) with check (true);
create policy service on kv.owners to kv_service using (true) with check (true);
create policy service on kv.chains to kv_service using (true) with check (true);
create policy service on kv.rollups to kv_service using (true) with check (true);
create policy everyone on kv.families for select to kv_service, kv_tenant using (true);
create policy retention on kv.entries to kv_retention using (true);

create policy tenant_read on kv.entries for select to kv_tenant
  using (owner = (select kv.tenant()) or (owner is null and kv.tenant_readable(key)));
create policy tenant_insert on kv.entries for insert to kv_tenant with check (owner = (select kv.tenant()) and kv.key_allows(key, owner));
create policy tenant_update on kv.entries for update to kv_tenant
  using (owner = (select kv.tenant())) with check (owner = (select kv.tenant()) and kv.key_allows(key, owner));
create policy tenant_delete on kv.entries for delete to kv_tenant using (owner = (select kv.tenant()));
create policy tenant on kv.counters to kv_tenant
  using (owner = (select kv.tenant())) with check (owner = (select kv.tenant()) and kv.key_allows(key, owner));
create policy tenant on kv.owners to kv_tenant using (owner = (select kv.tenant())) with check (owner = (select kv.tenant()) and deleted_at is null);
create policy tenant on kv.chains to kv_tenant using (scope = (select kv.tenant())) with check (scope = (select kv.tenant()));

create function kv.enter(p_tenant text) returns void
language plpgsql set search_path = '' as $$
begin
  if coalesce(p_tenant, '') = '' then
    raise exception 'a tenant call needs its tenant' using errcode = 'KV001', detail = '/tenant';
  end if;
  perform set_config('kv.tenant', p_tenant, true);
end $$;

create function kv.leave() returns void
language plpgsql set search_path = '' as $$
begin
  perform set_config('kv.tenant', '', true);
end $$;
-- The doors: all that may be called from outside. Thin, security definer, in `public` so that PostgREST
-- reaches them. Their plans are generic: ranges and keys differ, the right plan never does. `kv_*` are the service's; `kv_tenant_*` first bind the call to one tenant.

create function public.kv_get(p_key text, p_now timestamptz) returns setof kv.entry
language plpgsql stable security definer set search_path = '' set plan_cache_mode = force_generic_plan as $$
begin
  return query
    select e.key, e.value, e.version::text, e.owner, e.created_at, e.updated_at, e.expires_at
    from kv.entries e where e.key = p_key and (e.expires_at is null or e.expires_at > p_now);
  if not found then
    return query
      select c.key, c.value, c.version::text, c.owner, c.created_at, c.updated_at, c.expires_at
      from kv.counters c where c.key = p_key and (c.expires_at is null or c.expires_at > p_now);
  end if;
end $$;

create function public.kv_mget(p_keys text[], p_now timestamptz) returns setof kv.entry
language plpgsql stable security definer set search_path = '' set plan_cache_mode = force_generic_plan as $$
begin
  return query select * from kv.mget_body(p_keys, p_now);
end $$;

create function public.kv_list(p_start text, p_end text, p_reverse boolean, p_limit integer, p_keys_only boolean, p_now timestamptz)
returns setof kv.entry
language plpgsql stable security definer set search_path = '' set plan_cache_mode = force_generic_plan as $$
begin
  return query select * from kv.list_body(p_start, p_end, p_reverse, p_limit, p_keys_only, p_now);
end $$;

create function public.kv_count(p_start text, p_end text, p_now timestamptz) returns bigint
language plpgsql stable security definer set search_path = '' set plan_cache_mode = force_generic_plan as $$
begin
  return kv.count_body(p_start, p_end, p_now);
end $$;

create function public.kv_query(p_query jsonb, p_now timestamptz)
returns setof kv.page
language plpgsql security definer set search_path = '' set plan_cache_mode = force_generic_plan as $$
begin
  return query select * from kv.query_body(p_query, p_now);
end $$;

create function public.kv_total(p_query jsonb, p_now timestamptz) returns bigint
language plpgsql stable security definer set search_path = '' set plan_cache_mode = force_generic_plan as $$
begin
  return kv.total_body(p_query, p_now);
end $$;

create function public.kv_aggregate(p_query jsonb, p_now timestamptz) returns table ("group" jsonb, count bigint, sum text)
language plpgsql stable security definer set search_path = '' set plan_cache_mode = force_generic_plan as $$
begin
  if p_query ? 'rollup' then
    return query select * from kv.rollup_body(p_query);
  else
    return query select * from kv.aggregate_body(p_query, p_now);
  end if;
end $$;

-- A commit waits at most 5 s for a row (55P03, rolled back): one stuck session must not hold up all writes.
create function public.kv_commit(p_checks jsonb, p_mutations jsonb, p_now timestamptz) returns jsonb
language plpgsql security definer set search_path = '' set plan_cache_mode = force_generic_plan set lock_timeout = '5s' as $$
begin
  return kv.commit_body(p_checks, p_mutations, p_now);
end $$;

create function public.kv_sweep(p_limit integer, p_now timestamptz) returns bigint
language plpgsql security definer set search_path = '' set plan_cache_mode = force_generic_plan as $$
begin
  return kv.sweep_body(p_limit, p_now);
end $$;

-- A sign of life: the newest migration, as the CLI's own table has it; null where that table is missing.
create function public.kv_ping() returns text
language plpgsql stable security definer set search_path = '' set plan_cache_mode = force_generic_plan as $$
begin
  if to_regclass('supabase_migrations.schema_migrations') is null then
    return null;
  end if;
  return (select max(m.version) from supabase_migrations.schema_migrations m);
end $$;

-- Reads for several tenants at once: one row a pair found, with its tenant.
create function public.kv_tenant_mget(p_tenants text[], p_keys text[], p_now timestamptz)
returns table (tenant text, key text, value jsonb, version text, owner text, created_at timestamptz, updated_at timestamptz, expires_at timestamptz)
language plpgsql security definer set search_path = '' set plan_cache_mode = force_generic_plan as $$
declare
  v_tenant text;
begin
  foreach v_tenant in array array(select distinct t from unnest(p_tenants) t) loop
    perform kv.enter(v_tenant);
    return query select v_tenant, m.* from kv.tenant_mget_body(
      array(select p.k from unnest(p_tenants, p_keys) p(t, k) where p.t = v_tenant), p_now) m;
  end loop;
  perform kv.leave();
end $$;

create function public.kv_tenant_list(p_tenant text, p_start text, p_end text, p_reverse boolean, p_limit integer, p_keys_only boolean, p_now timestamptz)
returns setof kv.entry
language plpgsql security definer set search_path = '' set plan_cache_mode = force_generic_plan as $$
begin
  perform kv.enter(p_tenant);
  return query select * from kv.tenant_list_body(p_start, p_end, p_reverse, p_limit, p_keys_only, p_now);
  perform kv.leave();
end $$;

create function public.kv_tenant_count(p_tenant text, p_start text, p_end text, p_now timestamptz) returns bigint
language plpgsql security definer set search_path = '' set plan_cache_mode = force_generic_plan as $$
declare
  v_count bigint;
begin
  perform kv.enter(p_tenant);
  v_count := kv.tenant_count_body(p_start, p_end, p_now);
  perform kv.leave();
  return v_count;
end $$;

create function public.kv_tenant_query(p_tenant text, p_query jsonb, p_now timestamptz)
returns setof kv.page
language plpgsql security definer set search_path = '' set plan_cache_mode = force_generic_plan as $$
begin
  perform kv.enter(p_tenant);
  return query select * from kv.tenant_query_body(p_query, p_now);
  perform kv.leave();
end $$;

create function public.kv_tenant_total(p_tenant text, p_query jsonb, p_now timestamptz) returns bigint
language plpgsql security definer set search_path = '' set plan_cache_mode = force_generic_plan as $$
declare
  v_total bigint;
begin
  perform kv.enter(p_tenant);
  v_total := kv.tenant_total_body(p_query, p_now);
  perform kv.leave();
  return v_total;
end $$;

create function public.kv_tenant_aggregate(p_tenant text, p_query jsonb, p_now timestamptz) returns table ("group" jsonb, count bigint, sum text)
language plpgsql security definer set search_path = '' set plan_cache_mode = force_generic_plan as $$
begin
  perform kv.enter(p_tenant);
  return query select * from kv.tenant_aggregate_body(p_query, p_now);
  perform kv.leave();
end $$;

create function public.kv_tenant_commit(p_tenant text, p_checks jsonb, p_mutations jsonb, p_now timestamptz) returns jsonb
language plpgsql security definer set search_path = '' set plan_cache_mode = force_generic_plan set lock_timeout = '5s' as $$
declare
  v_result jsonb;
begin
  perform kv.enter(p_tenant);
  v_result := kv.tenant_commit_body(p_checks, p_mutations, p_now);
  perform kv.leave();
  return v_result;
end $$;

-- Several tenants' commits without checks in one transaction: [{tenant, mutations}], answered in order.
create function public.kv_tenant_commit_many(p_calls jsonb, p_now timestamptz) returns jsonb
language plpgsql security definer set search_path = '' set plan_cache_mode = force_generic_plan set lock_timeout = '5s' as $$
declare
  v_call record;
  v_results jsonb := '[]';
begin
  for v_call in select c->>'tenant' as tenant, c->'mutations' as mutations from jsonb_array_elements(p_calls) with ordinality as cs(c, o) order by o loop
    perform kv.enter(v_call.tenant);
    v_results := v_results || jsonb_build_array(kv.tenant_commit_body('[]', v_call.mutations, p_now));
  end loop;
  perform kv.leave();
  return v_results;
end $$;

-- The head of an audit chain, to compare what is there with: {seq, hash}; nothing where no entry was ever made.
create function public.kv_chain_head(p_scope text) returns jsonb
language plpgsql stable security definer set search_path = '' as $$
begin
  return (select jsonb_build_object('seq', c.seq, 'hash', c.hash) from kv.chains c where c.scope = p_scope);
end $$;

create function public.kv_tenant_chain_head(p_tenant text, p_scope text) returns jsonb
language plpgsql security definer set search_path = '' as $$
declare
  v_head jsonb;
begin
  perform kv.enter(p_tenant);
  v_head := (select jsonb_build_object('seq', c.seq, 'hash', c.hash) from kv.chains c where c.scope = p_scope);
  perform kv.leave();
  return v_head;
end $$;

-- Which of the keys is held by a row this tenant cannot see: raised as KV007 with the key, so that
-- nothing tried here stays. Called only after a commit was refused for one.
create function public.kv_tenant_taken(p_tenant text, p_keys text[], p_now timestamptz) returns void
language plpgsql security definer set search_path = '' set plan_cache_mode = force_generic_plan as $$
declare
  v_key text;
begin
  perform kv.enter(p_tenant);
  foreach v_key in array p_keys loop
    if not exists (select from kv.tenant_mget_body(array[v_key], '-infinity')) and kv.key_allows(v_key, p_tenant) then
      insert into kv.entries (key, value, version, owner, cascades, created_at, updated_at)
        values (v_key, '{}', 0, p_tenant, true, p_now, p_now) on conflict do nothing;
      if not found then
        raise exception 'taken' using errcode = 'KV007', detail = v_key;
      end if;
    end if;
  end loop;
  raise exception 'none is taken' using errcode = 'KV007', detail = '';
end $$;
-- Hands the doors to their roles and closes everything else. Execute goes to service_role alone.
do $$
declare
  v_door regprocedure;
begin
  for v_door in
    select p.oid::regprocedure from pg_proc p join pg_namespace n on n.oid = p.pronamespace
    where n.nspname = 'public' and p.proname like 'kv\_%'
  loop
    execute format('alter function %s owner to %I', v_door, case when v_door::text like 'kv\_tenant\_%' or v_door::text like 'public.kv\_tenant\_%' then 'kv_tenant' else 'kv_service' end);
    execute format('revoke all on function %s from public, anon, authenticated', v_door);
    execute format('grant execute on function %s to service_role', v_door);
  end loop;
end $$;

revoke all on schema kv from public;
revoke all on all functions in schema kv from public;
grant execute on all functions in schema kv to kv_service, kv_tenant;
grant execute on function kv.refuse_change() to kv_retention;
-- It makes functions; only migrations call it.
revoke execute on function kv.keep_page(jsonb) from kv_service, kv_tenant;
revoke create on schema kv, public from kv_service, kv_tenant;

do $$
begin
  if to_regclass('supabase_migrations.schema_migrations') is not null then
    grant usage on schema supabase_migrations to kv_service;
    execute 'grant select on supabase_migrations.schema_migrations to kv_service';
  end if;
end $$;
