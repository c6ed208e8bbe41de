-- Roles that own the entry points. The functions are security definer, so row-level security applies to these roles, whichever
-- login calls. None of them can log in or bypass row-level security.
do $$
declare
  v_role text;
  -- From PostgreSQL 16 on, transferring ownership to a role requires membership with the option SET.
  v_set text := case when current_setting('server_version_num')::integer >= 160000 then 'SET' else 'MEMBER' end;
  v_schema text;
begin
  foreach v_role in array array['kv_service', 'kv_tenant', 'kv_retention'] loop
    if not exists (select from pg_roles where rolname = v_role) then
      execute format('create role %I nologin noinherit nobypassrls', v_role);
    end if;
    -- The migrating role must be a member to transfer the functions. Roles belong to the server: the owner of another
    -- database may have created them.
    if not (pg_has_role(current_user, v_role, v_set) and pg_has_role(current_user, v_role, 'USAGE')) then
      begin
        execute format('grant %I to %I', v_role, current_user);
      exception when insufficient_privilege then
        raise exception 'the roles kv_service, kv_tenant and kv_retention already exist, and % may not grant them: run as a superuser "grant kv_service, kv_tenant, kv_retention to %"',
          current_user, quote_ident(current_user) using errcode = '42501';
      end;
    end if;
  end loop;
  -- Search needs pg_trgm, which may be in any schema.
  if not exists (select from pg_extension where extname = 'pg_trgm') then
    create schema if not exists extensions;
    create extension pg_trgm with schema extensions;
  end if;
  select n.nspname into v_schema from pg_extension e join pg_namespace n on n.oid = e.extnamespace where e.extname = 'pg_trgm';
  if not has_schema_privilege(v_schema, 'usage') then
    raise exception 'the extension pg_trgm is in the schema %, which % may not use: run as a superuser "grant usage on schema % to %"',
      v_schema, current_user, quote_ident(v_schema), quote_ident(current_user) using errcode = '42501';
  end if;
end $$;

-- kv: tables and shared functions. kv_service, kv_tenant: per-role copies of the same functions, because a cached plan belongs
-- to one role (70_copies.sql).
create schema kv;
create schema kv_service;
create schema kv_tenant;
grant usage on schema kv, kv_service to kv_service;
grant usage on schema kv, kv_tenant to kv_tenant;
grant usage on schema kv to kv_retention;
-- Revoked in 90_grants.sql, after the ownership of the functions is transferred.
grant create on schema public, kv to kv_service, kv_tenant;
grant create on schema kv to kv_retention;

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

-- Functions of values and keys. Their bodies are parsed at creation, so a session's search_path does not affect them. They are
-- not strict: PostgreSQL would not inline a strict SQL function that contains a condition.

-- The text that search compares: lower case without accents. Immutable.
create function kv.fold(p_text text) returns text
language sql immutable parallel safe
return lower(regexp_replace(normalize(p_text, NFKD), '[\u0300-\u036f]', '', 'g') collate "und-x-icu");

-- The LIKE pattern for a substring, with its special characters escaped.
create function kv.like_pattern(p_text text) returns text
language sql immutable parallel safe
return '%' || regexp_replace(kv.fold(p_text), '([\\%_])', '\\\1', 'g') || '%';

-- A member of a value as an indexed field. A member of another type is null and does not make the write fail. Text is cut to 128
-- characters, so that a tuple of four fields stays below the 2,704 bytes of an index tuple; equality rechecks the value.
create function kv.text_field(p_value jsonb, p_field text) returns text
language sql immutable parallel safe
return lower(left(p_value->>p_field, 128) collate "und-x-icu");

create function kv.time_field(p_value jsonb, p_field text) returns text
language sql immutable parallel safe
return case when length(p_value->>p_field) = 24 then p_value->>p_field end;

create function kv.number_field(p_value jsonb, p_field text) returns numeric
language sql immutable parallel safe
return case when jsonb_typeof(p_value->p_field) = 'number' then (p_value->p_field)::numeric end;

create function kv.boolean_field(p_value jsonb, p_field text) returns boolean
language sql immutable parallel safe
return case when jsonb_typeof(p_value->p_field) = 'boolean' then (p_value->p_field)::boolean end;

create function kv.colons(p_key text) returns integer
language sql immutable parallel safe
return length(p_key) - length(replace(p_key, ':', ''));

-- Reserved ids: names of the platform's scopes or paths of the API. They cannot be owners.
create function kv.is_reserved(p_owner text) returns boolean
language sql immutable parallel safe
return p_owner in ('global', 'platform', 'settings', 'stats', 'resolve');

-- The rollup shard of a key, one of 16, which reduces lock contention on a bucket. With 64 shards a sum takes 0.39 ms instead of
-- 0.16, at 1,560 commits per second instead of 1,520 (32 clients changing tenants).
create function kv.shard(p_key text) returns integer
language sql immutable parallel safe
return (hashtextextended(p_key, 0) & 15)::integer;

-- The first key of a family. The family name itself is also a key, with one segment.
create function kv.family_start(p_family text, p_keys text[]) returns text
language sql immutable parallel safe
return case when p_family = any(p_keys) then p_family else p_family || ':' end;

-- Milliseconds since the Unix epoch. Unlike the text of a timestamp, it does not depend on session settings.
create function kv.epoch_ms(p_at timestamptz) returns bigint
language sql stable parallel safe
return (extract(epoch from p_at) * 1000)::bigint;

-- The bytes of a value as JSON without white space. Only values near the limit are measured: a number such as 5e-324 has 326
-- characters but a tenth of that in storage.
create function kv.is_oversized(p_value jsonb) returns boolean
language sql immutable parallel safe
return pg_column_size(p_value) > 6000 and octet_length(p_value::text) > 262144
  and octet_length(regexp_replace(p_value::text, '("(?:[^"\\]|\\.)*")|([,:]) ', '\1\2', 'g')) > 262144;

-- Whether the number survives a conversion to double and back. Every number of up to 15 digits does.
create function kv.fits_double(p_number numeric) returns boolean
language plpgsql immutable strict parallel safe set extra_float_digits = 1 as $$
begin
  if p_number = trunc(p_number) or abs(p_number) > 9007199254740991 then
    return abs(p_number) <= 9007199254740991;
  end if;
  return abs(p_number) > 1e-300 and length(ltrim(replace(trim_scale(abs(p_number))::text, '.', ''), '0')) <= 15 or p_number::float8::text::numeric = p_number;
end $$;

-- The tenants of the current call, which the tenant entry points set for the transaction; null means none.
create function kv.tenants() returns text[]
language sql stable parallel safe
return string_to_array(nullif(current_setting('kv.tenants', true), ''), ',') collate "C";

-- The key shapes whose platform rows tenants may read, such as `plan/1`.
create function kv.readable_shapes() returns text[]
language sql stable parallel safe
return array(select f.family || '/' || f.colons from kv.families f where f.tenant_readable);

-- Whether a key may have an owner. In a declared family with a tenant segment, that segment must be the owner.
create function kv.key_allows(p_key text, p_owner text) returns boolean
language sql stable parallel safe
return coalesce(
  (select case f.owner_rule when 'segment' then split_part(p_key, ':', 2) = p_owner else f.owner_rule = 'given' end
   from kv.families f where f.family = split_part(p_key, ':', 1) and f.colons = kv.colons(p_key)),
  not exists (select from kv.families f where f.family = split_part(p_key, ':', 1)));

-- Functions that migrations call to declare families, indexes and rollups; `npm run schema` writes the calls. Only the migrating
-- role may call them. It must bypass row-level security: with `row_security = off`, hidden rows are an error.

create function kv.partition_of(p_family text) returns text
language sql immutable strict parallel safe
return format('kv.%I', 'entries_' || p_family);

-- Refuses changes of append-only entries by every role, including the owner of the table. Only retention may delete them.
create function kv.refuse_change() returns trigger
language plpgsql set search_path = pg_catalog, pg_temp as $$
begin
  if tg_op = 'DELETE' and current_user = 'kv_retention' then
    return old;
  end if;
  raise exception 'entries of an audit chain cannot be changed or deleted' using errcode = 'KV005';
end $$;

-- Creates the partition of a family, or changes the fillfactor of an existing one. Rows that were written while the family was
-- undeclared are moved into it. kv.attach_families, last in the migration, attaches it; readers wait only for that step.
create function kv.add_family(p_family text, p_fillfactor integer default 90) returns void
language plpgsql set search_path = pg_catalog, pg_temp set row_security = off as $$
declare
  v_partition text := kv.partition_of(p_family);
begin
  if to_regclass(v_partition) is not null then
    execute format('alter table %s set (fillfactor = %s)', v_partition, p_fillfactor);
    return;
  end if;
  execute format('create table %s (like kv.entries including all) with (fillfactor = %s)', v_partition, p_fillfactor);
  execute format('alter table %s enable row level security, force row level security', v_partition);
  if kv.has_undeclared(p_family) then
    -- Every statement of the store locks this partition with the others, so all of them wait until this migration commits.
    lock table kv.entries_default in access exclusive mode;
    execute format('with moved as (delete from kv.entries_default where key >= %1$L and key < %2$L returning *) insert into %3$s select * from moved',
      p_family || ':', p_family || ';', v_partition);
  end if;
end $$;

create function kv.has_undeclared(p_family text) returns boolean
language sql stable set search_path = pg_catalog, pg_temp set row_security = off as $$
  select exists (select from kv.entries_default e where e.key >= p_family || ':' and e.key < p_family || ';')
$$;

-- Attaches the partitions of families declared in this migration. It takes the strongest lock at once: with two steps, a writer
-- between them would cause a deadlock.
create function kv.attach_families() returns void
language plpgsql set search_path = pg_catalog, pg_temp as $$
declare
  v_family text;
begin
  for v_family in select distinct f.family from kv.families f
    where not exists (select from pg_inherits i where i.inhrelid = kv.partition_of(f.family)::regclass) order by 1
  loop
    lock table kv.entries_default in access exclusive mode;
    if kv.has_undeclared(v_family) then
      -- The SQLSTATE of an unavailable lock, so that the migration is tried again.
      raise exception 'rows of family % were written meanwhile', v_family using errcode = '55P03';
    end if;
    execute format('alter table kv.entries attach partition %s for values from (%L) to (%L)', kv.partition_of(v_family), v_family || ':', v_family || ';');
  end loop;
end $$;

-- Declares the key shape of an entity, or replaces its declaration. If the owner rule is new, existing rows get the owner that it
-- defines. Writes wait while rows change their owner or cascade rule: earlier writes, resolved against the old declaration, have
-- ended, and later ones see the new declaration.
create function kv.add_entity(
  p_entity text, p_family text, p_colons integer, owner_rule text, cascades boolean default true,
  append_only boolean default false, tenant_readable boolean default false
) returns void
language plpgsql set search_path = pg_catalog, pg_temp set client_min_messages = warning as $$
declare
  v_partition text := kv.partition_of(p_family);
  v_trigger text := format('append_only_%s', p_colons);
  v_owner text := case owner_rule when 'segment' then $o$nullif(split_part(key, ':', 2), 'global')$o$ when 'platform' then 'null' end;
begin
  -- Checked instead of set: the triggers of the rollups run as a role that is subject to row-level security.
  if row_security_active(v_partition::regclass) then
    raise exception 'row-level security applies to %, so rows of family % would not be updated', current_user, p_family using errcode = '42501';
  end if;
  if exists (select from kv.families f where f.family = p_family and f.colons = p_colons and (f.owner_rule <> $4 or f.cascades <> $5)) then
    lock table kv.families in access exclusive mode;
  end if;
  if v_owner is not null and not exists (select from kv.families f where f.family = p_family and f.colons = p_colons and f.owner_rule = $4) then
    execute format('update %s set owner = %s, cascades = %L where kv.colons(key) = %s and owner is distinct from %s and kv.is_reserved(%s) is not true',
      v_partition, v_owner, cascades, p_colons, v_owner, v_owner);
  end if;
  -- The declaration also changes the cascade rule of existing rows, except for deleted tenants: their cascade has ended, and a row
  -- that is deleted with its tenant implies that its tenant exists.
  if exists (select from kv.families f where f.family = p_family and f.colons = p_colons and f.cascades <> $5) and not append_only then
    execute format('update %s e set cascades = %L where kv.colons(key) = %s and cascades <> %L
      and not exists (select from kv.owners o where o.owner = e.owner and o.deleted_at is not null)', v_partition, cascades, p_colons, cascades);
  end if;
  insert into kv.families as f (family, colons, entity, owner_rule, cascades, append_only, tenant_readable)
  values (p_family, p_colons, p_entity, owner_rule, cascades, append_only, tenant_readable)
  on conflict (family, colons) do update set entity = excluded.entity, owner_rule = excluded.owner_rule, cascades = excluded.cascades,
    append_only = excluded.append_only, tenant_readable = excluded.tenant_readable;
  execute format('drop trigger if exists %I on %s', v_trigger, v_partition);
  execute format('drop trigger if exists %I on %s', v_trigger || '_truncate', v_partition);
  if append_only then
    execute format('create trigger %I before update or delete on %s for each row when (kv.colons(old.key) = %s) execute function kv.refuse_change()',
      v_trigger, v_partition, p_colons);
    execute format('create trigger %I before truncate on %s for each statement execute function kv.refuse_change()', v_trigger || '_truncate', v_partition);
  end if;
end $$;

-- Removes a declaration. Its rows, and their protection against changes, remain.
create function kv.drop_entity(p_entity text) returns void
language sql set search_path = pg_catalog, pg_temp as $$
  delete from kv.families f where f.entity = p_entity
$$;

-- Whether a family has over 100,000 rows, estimated from statistics or size (300 bytes per row) because counting would hold the
-- migration's locks. Indexes and rollups of a large family are built outside of the migration.
create function kv.is_large(p_family text) returns boolean
language sql stable set search_path = pg_catalog, pg_temp as $$
  select greatest(c.reltuples, pg_relation_size(c.oid) / 300) > 100000 from pg_class c where c.oid = kv.partition_of(p_family)::regclass
$$;

-- The index expression of a declared field. Text is ordered by bytes.
create function kv.field_sql(p_field text, p_type text) returns text
language plpgsql immutable parallel safe set search_path = pg_catalog, pg_temp as $$
begin
  if p_type in ('text', 'time') then
    return format('(kv.%s_field(value, %L) collate "C")', p_type, p_field);
  elsif p_type in ('number', 'boolean') then
    return format('kv.%s_field(value, %L)', p_type, p_field);
  end if;
  raise exception 'contains the unknown field type %', p_type using errcode = 'KV001', detail = '/query';
end $$;

-- The search text of an entity's fields.
create function kv.search_sql(p_fields text[]) returns text
language sql immutable parallel safe set search_path = pg_catalog, pg_temp as $$
  select format('kv.fold(%s)', string_agg(format('coalesce(value->>%L, '''')', f), $j$ || E'\n' || $j$ order by o)) from unnest(p_fields) with ordinality fs(f, o)
$$;

-- The statement that builds an index. The operator class of search is looked up in the schema of its extension.
create function kv.index_sql(p_name text, p_concurrently boolean) returns text
language plpgsql stable set search_path = pg_catalog, pg_temp as $$
declare
  v_index kv.indexes;
  v_columns text;
begin
  select * into v_index from kv.indexes i where i.name = p_name;
  if v_index.fields like 'search(%' then
    v_columns := format('using gin (%s %s)', kv.search_sql(string_to_array(substr(v_index.fields, 8, length(v_index.fields) - 8), ', ')),
      (select format('%I.gin_trgm_ops', n.nspname) from pg_opclass o join pg_namespace n on n.oid = o.opcnamespace where o.opcname = 'gin_trgm_ops' limit 1));
  else
    v_columns := (select format('(%s, key)', string_agg(case when f = 'owner' then 'owner' else kv.field_sql(split_part(f, ' ', 1), split_part(f, ' ', 2)) end, ', ' order by o))
      from unnest(string_to_array(v_index.fields, ', ')) with ordinality fs(f, o));
  end if;
  return format('create index %s%I on %s %s%s', case when p_concurrently then 'concurrently ' else '' end, p_name,
    kv.partition_of((select f.family from kv.families f where f.entity = v_index.entity limit 1)), v_columns,
    ' where kv.colons(key) = ' || v_index.colons);
end $$;

-- The name of an index, such as `tenant_status_created_at` or `tenant_search`.
create function kv.index_name(p_entity text, p_fields text) returns text
language sql immutable parallel safe set search_path = pg_catalog, pg_temp as $$
  select lower(replace(p_entity, '-', '_') || '_' || case when p_fields like 'search(%' then 'search'
    else regexp_replace((select string_agg(split_part(f, ' ', 1), '_' order by o) from unnest(string_to_array(p_fields, ', ')) with ordinality fs(f, o)),
      '([A-Z])', '_\1', 'g') end)
$$;

-- Builds an index at once, or records it for `npm run migrate` if the family is large, which builds it concurrently.
create function kv.add_index(p_entity text, p_fields text, colons integer default null) returns void
language plpgsql set search_path = pg_catalog, pg_temp as $$
declare
  v_name text := kv.index_name(p_entity, p_fields);
  v_large boolean := kv.is_large((select f.family from kv.families f where f.entity = p_entity limit 1));
begin
  insert into kv.indexes (name, entity, fields, colons, built) values (v_name, p_entity, p_fields, colons, not v_large);
  if not v_large then
    execute kv.index_sql(v_name, false);
  end if;
  if p_fields not like 'search(%' then
    perform kv.add_pages(v_name);
  end if;
end $$;

create function kv.drop_index(p_name text) returns void
language plpgsql set search_path = pg_catalog, pg_temp as $$
begin
  delete from kv.indexes i where i.name = p_name;
  perform kv.drop_pages(p_name);
  execute format('drop index if exists kv.%I', p_name);
end $$;

-- Adds to one bucket. Commits lock the shards beforehand, in order; this lock is for other writers. An entry that
-- kv.fill_rollup has not reached yet is counted there and not here; both hold the same locks.
create function kv.rollup_add(p_rollup text, p_key text, p_bucket jsonb, p_count integer, p_total numeric) returns void
language plpgsql set search_path = pg_catalog, pg_temp as $$
declare
  v_shard integer := kv.shard(p_key);
begin
  perform pg_advisory_xact_lock(hashtext('kv.rollup:' || p_rollup), v_shard);
  insert into kv.rollup_shards as r (rollup, shard, bucket, count, total)
  select p_rollup, v_shard, p_bucket::text, p_count, p_total
  from kv.rollups d where d.rollup = p_rollup and (d.filled_to is null or p_key collate "C" <= d.filled_to)
  on conflict (rollup, bucket, shard) do update set count = r.count + excluded.count, total = r.total + excluded.total;
end $$;

-- Declares counts (and one sum) of an entity by fields, which triggers update in the writing transaction. kv.fill_rollup counts
-- existing rows: at once if the family is small, otherwise in `npm run migrate`.
create function kv.add_rollup(p_rollup text, p_group_by text[], sum text default null) returns void
language plpgsql set search_path = pg_catalog, pg_temp as $$
#variable_conflict use_column
declare
  p_sum text := $3;
  p_family text;
  p_colons integer;
  v_partition text;
  v_function text := format('kv.%I', 'rollup_' || replace(p_rollup, '-', '_'));
  v_bucket text := (select format('jsonb_build_array(%s)', string_agg(format('ROW.value->%L', f), ', ')) from unnest(p_group_by) f);
  v_total text := case when p_sum is null then '0' else format('coalesce(kv.number_field(ROW.value, %L), 0)', p_sum) end;
  v_shape text;
  v_old text;
  v_new text;
begin
  select f.family, f.colons into p_family, p_colons from kv.families f where f.entity = p_rollup;
  v_partition := kv.partition_of(p_family);
  v_shape := format('kv.colons(ROW.key) = %s', p_colons);
  insert into kv.rollups (rollup, family, colons, group_by, sum, filled_to) values (p_rollup, p_family, p_colons, p_group_by, p_sum, '');
  update kv.families f set rollup = p_rollup where f.family = p_family and f.colons = p_colons;
  v_old := replace(format('perform kv.rollup_add(%L, ROW.key, %s, -1, -%s);', p_rollup, v_bucket, v_total), 'ROW', 'old');
  v_new := replace(format('perform kv.rollup_add(%L, ROW.key, %s, 1, %s);', p_rollup, v_bucket, v_total), 'ROW', 'new');
  execute format($sql$create function %s() returns trigger
    language plpgsql security definer set search_path = pg_catalog, pg_temp as %L$sql$, v_function,
    format('begin if tg_op <> ''INSERT'' then %s end if; if tg_op <> ''DELETE'' then %s end if; return null; end', v_old, v_new));
  execute format('create trigger %I after insert on %s for each row when (%s) execute function %s()',
    'rollup_insert_' || p_colons, v_partition, replace(v_shape, 'ROW', 'new'), v_function);
  execute format('create trigger %I after update on %s for each row when (%s and (%s, %s) is distinct from (%s, %s)) execute function %s()',
    'rollup_update_' || p_colons, v_partition, replace(v_shape, 'ROW', 'new'), replace(v_bucket, 'ROW', 'old'), replace(v_total, 'ROW', 'old'),
    replace(v_bucket, 'ROW', 'new'), replace(v_total, 'ROW', 'new'), v_function);
  execute format('create trigger %I after delete on %s for each row when (%s) execute function %s()',
    'rollup_delete_' || p_colons, v_partition, replace(v_shape, 'ROW', 'old'), v_function);
  grant create on schema kv to kv_service;
  execute format('alter function %s() owner to kv_service', v_function);
  revoke create on schema kv from kv_service;
  execute format('revoke all on function %s() from public', v_function);
  if not kv.is_large(p_family) then
    perform kv.fill_rollup(p_rollup, 100000);
  end if;
end $$;

create function kv.drop_rollup(p_rollup text) returns void
language plpgsql set search_path = pg_catalog, pg_temp set row_security = off as $$
begin
  execute format('drop function kv.%I cascade', 'rollup_' || replace(p_rollup, '-', '_'));
  -- A fold that is running adds rows which the deletion would not see. After the table's lock, as writers take them.
  perform pg_advisory_xact_lock(hashtext('kv.rollup:' || p_rollup), shard) from generate_series(0, 15) shard;
  update kv.families f set rollup = null where f.rollup = p_rollup;
  delete from kv.rollups r where r.rollup = p_rollup;
  delete from kv.rollup_shards r where r.rollup = p_rollup;
end $$;

-- Counts the next p_limit entries into a rollup. It holds all locks of the rollup: it waits for running writers and blocks new ones
-- during this step. Returns whether the rollup is complete.
create function kv.fill_rollup(p_rollup text, p_limit integer) returns boolean
language plpgsql set search_path = pg_catalog, pg_temp set row_security = off as $$
declare
  v_rollup kv.rollups;
  v_last text;
begin
  perform pg_advisory_xact_lock(hashtext('kv.rollup:' || p_rollup), shard) from generate_series(0, 15) shard;
  select * into v_rollup from kv.rollups r where r.rollup = p_rollup and r.filled_to is not null for update;
  if not found then
    return true;
  end if;
  -- An upper bound instead of the last row: a row that is written below it later is counted by its trigger.
  execute format('select e.key from %s e where e.key > $1 order by e.key offset %s limit 1', kv.partition_of(v_rollup.family), p_limit - 1)
    into v_last using v_rollup.filled_to;
  execute format($sql$insert into kv.rollup_shards as r (rollup, shard, bucket, count, total)
    select %L, -1, jsonb_build_array(%s)::text, count(*), sum(%s)
    from %s e where e.key > $1 and ($2 is null or e.key <= $2) and kv.colons(e.key) = %s group by 3
    on conflict (rollup, bucket, shard) do update set count = r.count + excluded.count, total = r.total + excluded.total$sql$,
    p_rollup, (select string_agg(format('e.value->%L', f), ', ') from unnest(v_rollup.group_by) f),
    case when v_rollup.sum is null then '0' else format('coalesce(kv.number_field(e.value, %L), 0)', v_rollup.sum) end,
    kv.partition_of(v_rollup.family), v_rollup.colons) using v_rollup.filled_to, v_last;
  update kv.rollups r set filled_to = v_last where r.rollup = p_rollup;
  return v_last is null;
end $$;

-- The declarations as `npm run schema` compares them.
create function kv.declared() returns json
language sql stable set search_path = pg_catalog, pg_temp as $$
  select json_build_object(
    'families', (select coalesce(json_agg(json_build_object('family', substr(c.relname, 9),
        'fillfactor', (select option_value::integer from pg_options_to_table(c.reloptions) where option_name = 'fillfactor'))), '[]')
      from pg_inherits i join pg_class c on c.oid = i.inhrelid where i.inhparent = 'kv.entries'::regclass and c.oid <> 'kv.entries_default'::regclass),
    'entities', (select coalesce(json_agg(f), '[]') from kv.families f),
    'indexes', (select coalesce(json_agg(i), '[]') from kv.indexes i),
    'rollups', (select coalesce(json_agg(r), '[]') from kv.rollups r))
$$;

-- Indexes and rollups that `npm run migrate` still has to build, by kind and name.
create function kv.pending() returns table (kind text, name text)
language sql stable set search_path = pg_catalog, pg_temp as $$
  select 'index', i.name from kv.indexes i where not i.built
  union all select 'rollup', r.rollup from kv.rollups r where r.filled_to is not null order by 1, 2
$$;

-- Reads. These functions run as the role of the entry point that calls them, under its policies and with its search_path.
-- kv_tenant has a copy of each (70_copies.sql). p_tenant is null in calls of the service.
--
-- An entry is live while `expires_at > p_now`. The caller passes the time, so expiry is exact and testable. Entries are returned
-- as JSON objects {key, value, version, owner, created_at, updated_at, expires_at} with times in milliseconds.

-- Finds keys, family by family, so that the planner can exclude the other partitions. One call may have keys of several tenants:
-- p_keys[i] is looked up for p_tenants[i], in its own rows and the readable rows of the platform. Each result has its position,
-- because two tenants may ask for one key. A plan that was made when a family was empty must not read all of its later rows.
create function kv_service.mget(p_tenants text[], p_keys text[], p_now timestamptz) returns json
language plpgsql stable set enable_seqscan = off as $$
declare
  v_family text;
  v_found json;
  v_all json[] := '{}';
begin
  foreach v_family in array array(select distinct split_part(k, ':', 1) from unnest(p_keys) k) loop
    if p_tenants is null then
      select json_agg(r) into v_found from (
        select e.key, e.value, e.version::text, e.owner,
          kv.epoch_ms(e.created_at) as created_at, kv.epoch_ms(e.updated_at) as updated_at, kv.epoch_ms(e.expires_at) as expires_at
        from kv.entries e where e.key = any(p_keys) and e.key >= kv.family_start(v_family, p_keys) and e.key < v_family || ';'
          and split_part(e.key, ':', 1) = v_family and (e.expires_at is null or e.expires_at > p_now)) r;
    else
      with found as materialized (
        select * from kv.entries e where e.key = any(p_keys) and e.key >= kv.family_start(v_family, p_keys) and e.key < v_family || ';'
          and split_part(e.key, ':', 1) = v_family and (e.expires_at is null or e.expires_at > p_now)
      )
      select json_agg(r) into v_found from (
        select p.position, e.key, e.value, e.version::text, e.owner,
          kv.epoch_ms(e.created_at) as created_at, kv.epoch_ms(e.updated_at) as updated_at, kv.epoch_ms(e.expires_at) as expires_at
        from rows from (unnest(p_keys), unnest(p_tenants)) with ordinality p(key, tenant, position)
        join found e on e.key = p.key where e.owner = p.tenant or e.owner is null) r;
    end if;
    if v_found is not null then
      v_all := v_all || v_found;
    end if;
  end loop;
  -- Texts, because json_array_elements would parse every entry again.
  return case when cardinality(v_all) < 2 then v_all[1]
    else ('[' || (select string_agg(substr(f::text, 2, length(f::text) - 2), ',') from unnest(v_all) f) || ']')::json end;
end $$;

-- An entry of a list. If only keys are requested, the value is not read from storage.
create function kv.listed(p_entry kv.entries, p_keys_only boolean) returns kv.entries
language sql immutable parallel safe
return row((p_entry).key, case when not p_keys_only then (p_entry).value end, (p_entry).version, (p_entry).owner, (p_entry).cascades,
  (p_entry).expires_at, (p_entry).created_at, (p_entry).updated_at)::kv.entries;

-- One page of the range [p_start, p_end) in byte order. A tenant's page merges its own rows, by (owner, key), with the platform's
-- readable rows. Without sorts the planner uses the order of the indexes and stops at the limit; with them, a generic plan would
-- read all of a tenant's rows first.
create function kv_service.list(p_tenant text, p_start text, p_end text, p_reverse boolean, p_limit integer, p_keys_only boolean, p_now timestamptz)
returns json
language plpgsql stable set enable_sort = off as $$
declare
  v_page kv.entries[];
begin
  if p_tenant is null and not p_reverse then
    v_page := array(select kv.listed(e, p_keys_only) from kv.entries e where e.key >= p_start and e.key < p_end and (e.expires_at is null or e.expires_at > p_now)
      order by e.key limit p_limit);
  elsif p_tenant is null then
    v_page := array(select kv.listed(e, p_keys_only) from kv.entries e where e.key >= p_start and e.key < p_end and (e.expires_at is null or e.expires_at > p_now)
      order by e.key desc limit p_limit);
  elsif not p_reverse then
    v_page := array(
      (select kv.listed(e, p_keys_only) from kv.entries e where e.owner = p_tenant and e.key >= p_start and e.key < p_end and (e.expires_at is null or e.expires_at > p_now)
       order by e.key limit p_limit)
      union all
      (select r.e from kv.families f cross join lateral (
         select kv.listed(e, p_keys_only) as e from kv.entries e where e.owner is null and e.key >= greatest(p_start, f.family || ':') and e.key < least(p_end, f.family || ';') and kv.colons(e.key) = f.colons
           and (e.expires_at is null or e.expires_at > p_now) order by e.key limit p_limit) r
       where f.tenant_readable));
  else
    v_page := array(
      (select kv.listed(e, p_keys_only) from kv.entries e where e.owner = p_tenant and e.key >= p_start and e.key < p_end and (e.expires_at is null or e.expires_at > p_now)
       order by e.key desc limit p_limit)
      union all
      (select r.e from kv.families f cross join lateral (
         select kv.listed(e, p_keys_only) as e from kv.entries e where e.owner is null and e.key >= greatest(p_start, f.family || ':') and e.key < least(p_end, f.family || ';') and kv.colons(e.key) = f.colons
           and (e.expires_at is null or e.expires_at > p_now) order by e.key desc limit p_limit) r
       where f.tenant_readable));
  end if;
  return (
    select json_agg(r) from (
      select e.key, e.value, e.version::text, e.owner,
        kv.epoch_ms(e.created_at) as created_at, kv.epoch_ms(e.updated_at) as updated_at, kv.epoch_ms(e.expires_at) as expires_at
      from unnest(v_page) e order by case when p_reverse then e.key end desc, e.key limit p_limit) r);
end $$;

create function kv_service.count(p_tenant text, p_start text, p_end text, p_now timestamptz) returns bigint
language plpgsql stable as $$
begin
  if p_tenant is null then
    return (select count(*) from kv.entries e where e.key >= p_start and e.key < p_end and (e.expires_at is null or e.expires_at > p_now));
  end if;
  return (select count(*) from kv.entries e
    where e.owner = p_tenant and e.key >= p_start and e.key < p_end and (e.expires_at is null or e.expires_at > p_now))
  + (select coalesce(sum(r.n), 0) from kv.families f cross join lateral (
      select count(*) as n from kv.entries e where e.owner is null and e.key >= greatest(p_start, f.family || ':') and e.key < least(p_end, f.family || ';') and kv.colons(e.key) = f.colons
        and (e.expires_at is null or e.expires_at > p_now)) r
    where f.tenant_readable);
end $$;

-- Filter, search, sort, page, count and group by declared fields. The program builds the query object from the declaration:
-- {family, colons?, owner?, where[], search?, prefix[], order[], after?, limit, offset?}. Field names are quoted literals, types
-- come from a closed list, and every value is a bound parameter.

-- A bound value, cast to the type of the field.
create function kv.operand_sql(p_path text, p_type text) returns text
language plpgsql immutable parallel safe as $$
begin
  return case p_type
    when 'number' then format('(%s)::numeric', p_path)
    when 'boolean' then format('(%s)::boolean', p_path)
    when 'time' then format('(%s) collate "C"', p_path)
    else format('(lower(left(%s, 128) collate "und-x-icu")) collate "C"', p_path)
  end;
end $$;

-- The conditions of a query as SQL over the parameters $1 (the query) and $2 (now).
create function kv.where_sql(p_query jsonb) returns text
language plpgsql immutable as $$
declare
  v_sql text := format('e.key >= %L and e.key < %L and (e.expires_at is null or e.expires_at > $2)',
    (p_query->>'family') || ':', (p_query->>'family') || ';');
  v_condition jsonb;
  v_field text;
  v_path text;
  v_member text;
  v_type text;
  i integer := 0;
begin
  -- Restricts the key shape if entities share the family.
  if p_query ? 'colons' then
    v_sql := v_sql || format(' and kv.colons(e.key) = %s', (p_query->>'colons')::integer);
  end if;
  if p_query ? 'owner' then
    v_sql := v_sql || case when p_query->>'owner' is null then ' and e.owner is null' else ' and e.owner = ($1->>''owner'') collate "C"' end;
  end if;
  for v_condition in select * from jsonb_array_elements(coalesce(p_query->'where', '[]')) loop
    v_type := v_condition->>'type';
    v_field := kv.field_sql(v_condition->>'field', v_type);
    v_path := format('$1->''where''->%s', i);
    v_member := format('e.value->>%L', v_condition->>'field');
    if v_condition ? 'in' then
      -- Indexed text is cut to 128 characters: the index finds candidates and the value decides.
      if jsonb_array_length(v_condition->'in') = 1 then
        v_sql := v_sql || format(' and %s = %s', v_field, kv.operand_sql(v_path || '->''in''->>0', v_type));
      else
        v_sql := v_sql || format(' and %s = any(array(select %s from jsonb_array_elements_text(%s->''in'') as v(item)))',
          v_field, kv.operand_sql('v.item', v_type), v_path);
      end if;
      if v_type = 'text' then
        -- A case expression, so that the planner does not estimate the recheck as a second condition.
        v_sql := v_sql || format(' and case when %s->''in'' ? (%s) then true end', v_path, v_member);
      end if;
    elsif v_condition ? 'has' then
      v_sql := v_sql || format(' and e.value->%L ? (%s)', v_condition->>'field', v_path || '->>''has''');
    elsif v_condition ? 'overlaps' then
      v_sql := v_sql || format(' and coalesce(e.value->%L ?| array(select jsonb_array_elements_text(%s)), true)', v_condition->>'field', v_path || '->''overlaps''');
    elsif v_condition ? 'notIn' then
      v_sql := v_sql || format(' and (%s->''notIn'' ? (%s)) is not true', v_path, v_member);
    elsif v_condition ? 'prefix' then
      -- A half-open byte range, rechecked on the value, instead of a pattern.
      v_sql := v_sql || format(' and %1$s >= %2$s and %1$s < (%2$s || chr(1114111)) and case when left(%3$s, length(%4$s)) = %4$s then true end',
        v_field, kv.operand_sql(v_path || '->>''prefix''', v_type), v_member, v_path || '->>''prefix''');
    else
      if v_condition ? 'from' then
        v_sql := v_sql || format(' and %s >= %s', v_field, kv.operand_sql(v_path || '->>''from''', v_type));
      end if;
      if v_condition ? 'to' then
        v_sql := v_sql || format(' and %s < %s', v_field, kv.operand_sql(v_path || '->>''to''', v_type));
      end if;
    end if;
    i := i + 1;
  end loop;
  if p_query ? 'search' then
    v_sql := v_sql || format(' and %s like kv.like_pattern($1->''search''->>''text'')',
      kv.search_sql(array(select jsonb_array_elements_text(p_query->'search'->'fields'))));
  end if;
  return v_sql;
end $$;

-- The position of a cursor as PostgreSQL's text of the field, so that numbers are not converted to doubles.
create function kv.position_sql(p_at integer, p_type text) returns text
language sql immutable strict parallel safe
return kv.operand_sql(format('$1->''after''->>%s', p_at), case p_type when 'text' then 'time' else p_type end);

-- The condition "after the cursor" in lexicographic order of the sort fields from p_from on, then the key. Nulls come last in
-- both directions.
create function kv.after_sql(p_query jsonb, p_from integer) returns text
language plpgsql immutable as $$
declare
  v_order jsonb := p_query->'order';
  v_equal text := '';
  v_sql text := '';
  v_field text;
  v_position text;
begin
  for i in p_from .. jsonb_array_length(v_order) - 1 loop
    v_field := kv.field_sql(v_order->i->>'field', v_order->i->>'type');
    if p_query->'after'->>i is null then
      v_equal := v_equal || format('%s is null and ', v_field);
    else
      v_position := kv.position_sql(i, v_order->i->>'type');
      v_sql := v_sql || format('(%s(%s %s %s or %2$s is null)) or ', v_equal, v_field,
        case when (v_order->i->>'desc')::boolean then '<' else '>' end, v_position);
      v_equal := v_equal || format('%s = %s and ', v_field, v_position);
    end if;
  end loop;
  return v_sql || format('(%se.key %s ($1->''after''->>-1) collate "C")', v_equal, case when (p_query->>'reverse')::boolean then '<' else '>' end);
end $$;

-- One branch of a page with the position of the next page. The limit is a literal, so that the planner knows it.
create function kv.branch_sql(p_query jsonb, p_where text, p_order text) returns text
language sql immutable parallel safe
return format('(select e.key, e.value, e.version, e.owner, e.created_at, e.updated_at, e.expires_at, array[%se.key] as position from kv.entries e where %s order by %s limit %s)',
  (select string_agg(kv.field_sql(o->>'field', o->>'type') || '::text, ', '' order by n) from jsonb_array_elements(p_query->'order') with ordinality os(o, n)),
  p_where, p_order, (p_query->>'limit')::integer + coalesce((p_query->>'offset')::integer, 0));

-- The page as SQL. Rows whose first sort field is null form a second branch, which is read only if the first does not fill the
-- page. This way one index serves both directions with nulls last.
create function kv.page_sql(p_query jsonb) returns text
language plpgsql immutable as $$
declare
  v_order jsonb := p_query->'order';
  v_after jsonb := p_query->'after';
  v_where text := kv.where_sql(p_query);
  v_way text := case when (p_query->>'reverse')::boolean then 'desc' else 'asc' end;
  v_prefix text := '';
  v_rest text := '';
  v_uniform boolean := true;
  v_first text;
  v_first_desc boolean;
  v_range text;
  v_branches text[] := '{}';
begin
  if jsonb_array_length(v_order) = 0 then
    v_branches := array[kv.branch_sql(p_query, v_where || coalesce(' and ' || case when v_after is not null then kv.after_sql(p_query, 0) end, ''), 'e.key ' || v_way)];
  else
    -- Fields with one value each that lead the index. The page is also sorted by them, because under row-level security the planner
    -- does not treat `expression = constant` as a constant.
    select coalesce(string_agg(format('%s %s, ', kv.field_sql(f->>'field', f->>'type'), v_way), '' order by o), '') into v_prefix
    from jsonb_array_elements(coalesce(p_query->'prefix', '[]')) with ordinality fs(f, o);
    v_first := kv.field_sql(v_order->0->>'field', v_order->0->>'type');
    v_first_desc := (v_order->0->>'desc')::boolean;
    for i in 0 .. jsonb_array_length(v_order) - 1 loop
      v_uniform := v_uniform and (v_order->i->>'desc')::boolean = (p_query->>'reverse')::boolean;
      if i > 0 then
        v_rest := v_rest || format('%s %s nulls last, ', kv.field_sql(v_order->i->>'field', v_order->i->>'type'),
          case when (v_order->i->>'desc')::boolean then 'desc' else 'asc' end);
      end if;
    end loop;
    if v_after is null or v_after->>0 is not null then
      v_range := case
        when v_after is null then ''
        when jsonb_array_length(v_order) = 1 and v_uniform then format(' and (%s, e.key) %s (%s, ($1->''after''->>-1) collate "C")', v_first,
          case when v_first_desc then '<' else '>' end, kv.position_sql(0, v_order->0->>'type'))
        else format(' and %s %s %s and (%s)', v_first, case when v_first_desc then '<=' else '>=' end,
          kv.position_sql(0, v_order->0->>'type'), kv.after_sql(p_query, 0)) end;
      v_branches := v_branches || kv.branch_sql(p_query, format('%s and %s is not null%s', v_where, v_first, v_range),
        format('%s%s %s, %se.key %s', v_prefix, v_first, case when v_first_desc then 'desc' else 'asc' end, v_rest, v_way));
    end if;
    v_range := case when v_after is not null and v_after->>0 is null then ' and (' || kv.after_sql(p_query, 1) || ')' else '' end;
    v_branches := v_branches || kv.branch_sql(p_query, format('%s and %s is null%s', v_where, v_first, v_range),
      format('%s%s %s, %se.key %s', v_prefix, v_first, v_way, v_rest, v_way));
  end if;
  return format($sql$select json_agg(r) from (
    select p.key, p.value, p.version::text, p.owner, kv.epoch_ms(p.created_at) as created_at, kv.epoch_ms(p.updated_at) as updated_at,
      kv.epoch_ms(p.expires_at) as expires_at, p.position from (%s) p limit ($1->>'limit')::integer offset %s) r$sql$,
    array_to_string(v_branches, ' union all '), coalesce((p_query->>'offset')::integer, 0));
end $$;

-- Each declared index has its own page functions, because planning a page takes five times as long as reading it: equality on the
-- leading fields, sorted by the last one, up to 100 entries. `tenant_status_mrr` has page_tenant_status_mrr_asc and _desc, and
-- variants with `_after` for pages behind a cursor.
create function kv.add_pages(p_index text) returns void
language plpgsql set search_path = pg_catalog, pg_temp as $$
declare
  v_entity text := (select i.entity from kv.indexes i where i.name = p_index);
  v_fields text[] := (select string_to_array(i.fields, ', ') from kv.indexes i where i.name = p_index);
  v_lead jsonb;
  v_query jsonb;
  v_where jsonb;
  v_roles text[] := array['kv_service'];
  v_role text;
  v_way text;
  v_name text;
begin
  select coalesce(jsonb_agg(jsonb_build_object('field', split_part(f, ' ', 1), 'type', split_part(f, ' ', 2)) order by o), '[]') into v_lead
    from unnest(v_fields[:cardinality(v_fields) - 1]) with ordinality fs(f, o) where f <> 'owner';
  select jsonb_build_object('family', min(f.family), 'prefix', v_lead, 'limit', 101,
      'where', (select coalesce(jsonb_agg(l || '{"in": [null]}' order by l->>'field' collate "C"), '[]') from jsonb_array_elements(v_lead) l))
    || case when count(*) = 1 then jsonb_build_object('colons', min(f.colons)) else '{}'::jsonb end
    || case when v_fields[1] = 'owner' then '{"owner": ""}'::jsonb when bool_and(f.owner_rule = 'platform') then '{"owner": null}' else '{}' end
    into v_query from kv.families f where f.entity = v_entity;
  if v_query ? 'owner' then
    v_roles := v_roles || 'kv_tenant'::text;
  end if;
  foreach v_way in array array['asc', 'desc'] loop
    v_query := v_query || jsonb_build_object('reverse', v_way = 'desc', 'order', jsonb_build_array(jsonb_build_object(
      'field', split_part(v_fields[cardinality(v_fields)], ' ', 1), 'type', split_part(v_fields[cardinality(v_fields)], ' ', 2), 'desc', v_way = 'desc')));
    foreach v_role in array v_roles loop
      v_name := format('%I.%I', v_role, format('page_%s_%s', p_index, v_way));
      perform kv.add_page(v_name, v_query, v_role);
      perform kv.add_page(format('%I.%I', v_role, format('page_%s_%s_after', p_index, v_way)), v_query || '{"after": ["", ""]}', v_role);
    end loop;
  end loop;
  if v_fields[1] = 'owner' then
    return;
  end if;
  v_where := v_query->'where' || jsonb_build_object('from', null, 'field', split_part(v_fields[cardinality(v_fields)], ' ', 1),
    'type', split_part(v_fields[cardinality(v_fields)], ' ', 2));
  perform kv.add_count(format('count_%s_from', p_index), v_query || jsonb_build_object('where',
    (select jsonb_agg(w order by w->>'field' collate "C") from jsonb_array_elements(v_where) w)));
  if jsonb_array_length(v_lead) > 0 then
    perform kv.add_count(format('count_%s', p_index), v_query);
  end if;
end $$;

-- The count functions of an index, for the same reason: equality on the leading fields, and with `_from` the last one from a value on,
-- up to a limit. A scan in another order than the index would not end at the limit.
create function kv.add_count(p_name text, p_query jsonb) returns void
language plpgsql set search_path = pg_catalog, pg_temp as $$
begin
  execute format('create function kv_service.%I(p_query jsonb, p_now timestamptz) returns bigint language plpgsql stable
    set random_page_cost = 1.1 set enable_seqscan = off set enable_bitmapscan = off as %L', p_name,
    format('begin return (select count(*) from (select from kv.entries e where %s limit ($1->>''upTo'')::integer) found); end',
      kv.where_sql(p_query)));
  execute format('revoke all on function kv_service.%I(jsonb, timestamptz) from public', p_name);
  execute format('grant execute on function kv_service.%I(jsonb, timestamptz) to kv_service', p_name);
end $$;

create function kv.add_page(p_name text, p_query jsonb, p_role text) returns void
language plpgsql set search_path = pg_catalog, pg_temp as $$
begin
  execute format('create function %s(p_query jsonb, p_now timestamptz) returns json language plpgsql stable
    set random_page_cost = 1.1 set enable_sort = off as %L',
    p_name, 'begin return (' || kv.page_sql(p_query) || '); end');
  execute format('revoke all on function %s(jsonb, timestamptz) from public', p_name);
  execute format('grant execute on function %s(jsonb, timestamptz) to %I', p_name, p_role);
end $$;

create function kv.drop_pages(p_index text) returns void
language plpgsql set search_path = pg_catalog, pg_temp as $$
declare
  v_function regprocedure;
begin
  for v_function in select p.oid from pg_proc p where p.pronamespace in ('kv_service'::regnamespace, 'kv_tenant'::regnamespace)
    and p.proname = any(array[format('page_%s_asc', p_index), format('page_%s_desc', p_index), format('page_%s_asc_after', p_index), format('page_%s_desc_after', p_index),
      format('count_%s', p_index), format('count_%s_from', p_index)])
  loop
    execute format('drop function %s', v_function);
  end loop;
end $$;

-- A page in the order of an index, read from the range on. Without statistics, or for two ranges of which one implies the other, the
-- planner expects a few rows: it would read all that follow and sort them.
create function kv_service.walk(p_query jsonb, p_now timestamptz) returns json
language plpgsql stable set max_parallel_workers_per_gather = 0 set random_page_cost = 1.1 set enable_sort = off as $$
declare
  v_page json;
begin
  execute kv.page_sql(p_query) into v_page using p_query, p_now;
  return v_page;
end $$;

-- A page. Each entry has its position: PostgreSQL's text of the sort fields and the key. `page` is the name of a page function of
-- this role. The settings tell the planner that pages are short and random reads are cheap.
create function kv_service.page(p_query jsonb, p_now timestamptz) returns json
language plpgsql stable set max_parallel_workers_per_gather = 0 set random_page_cost = 1.1 as $$
declare
  v_page json;
begin
  if p_query->>'page' is not null and to_regprocedure(format('%I(jsonb, timestamptz)', 'page_' || (p_query->>'page'))) is not null then
    execute format('select %I($1, $2)', 'page_' || (p_query->>'page')) into v_page using p_query, p_now;
  elsif p_query ? 'walk' then
    v_page := walk(p_query, p_now);
  else
    execute kv.page_sql(p_query) into v_page using p_query, p_now;
  end if;
  return v_page;
end $$;

create function kv_service.total(p_query jsonb, p_now timestamptz) returns bigint
language plpgsql stable as $$
declare
  v_total bigint;
begin
  if p_query->>'counter' is not null and to_regprocedure(format('%I(jsonb, timestamptz)', 'count_' || (p_query->>'counter'))) is not null then
    execute format('select %I($1, $2)', 'count_' || (p_query->>'counter')) into v_total using p_query, p_now;
    return v_total;
  end if;
  -- With `upTo`, the scan ends there.
  execute format('select count(*) from (select from kv.entries e where %s %s) found', kv.where_sql(p_query),
    case when p_query ? 'upTo' then 'limit ' || (p_query->>'upTo')::integer end) into v_total using p_query, p_now;
  return v_total;
end $$;

-- Groups as [[group values], count, sum], with sums as exact decimals.
create function kv_service.aggregate(p_query jsonb, p_now timestamptz) returns json
language plpgsql stable as $$
declare
  v_group text := (select coalesce(string_agg(format('e.value->>%L', field), ', '), '') from jsonb_array_elements_text(p_query->'groupBy') field);
  v_groups json;
begin
  execute format(
    'select json_agg(json_build_array(g.groups, g.n, g.total)) from (
       select json_build_array(%1$s) as groups, count(*) as n, trim_scale(coalesce(sum(%2$s), 0))::text as total from kv.entries e where %3$s %4$s) g',
    v_group, coalesce(kv.field_sql(p_query->>'sum', 'number'), '0'), kv.where_sql(p_query), case when v_group = '' then '' else 'group by ' || v_group end)
    into v_groups using p_query, p_now;
  return v_groups;
end $$;

-- The groups of rollups as the rollups have them, in one statement: p_reads is [{rollup?: {name, from?}}]. `from` is a month, a day or an
-- instant, and the first field of the buckets is one: a bucket begins with `["2026-01`. Null for a read without a rollup, and while the
-- rollup is being filled. The text is put together here, because a bucket is JSON already.
create function kv_service.rollups(p_reads jsonb) returns json[]
language plpgsql stable set enable_seqscan = off set enable_bitmapscan = off as $$
begin
  return coalesce((
    select array_agg((
      select ('[' || coalesce(string_agg('[' || b.bucket || ',' || b.n || ',"' || b.total || '"]', ','), '') || ']')::json
      from (
        select r.bucket, sum(r.count) as n, trim_scale(sum(r.total)) as total
        from kv.rollup_shards r
        -- With `from`, up to the buckets whose first field is null; without it, all.
        where r.rollup = d.rollup and r.bucket >= coalesce('["' || (read->'rollup'->>'from'), '')
          and r.bucket < case when read->'rollup' ? 'from' then '[#' else ']' end
        group by r.bucket
      ) b where b.n <> 0 having d.rollup is not null
    ) order by o)
    from jsonb_array_elements(p_reads) with ordinality as rs(read, o)
    left join kv.rollups d on d.rollup = read->'rollup'->>'name' and d.filled_to is null), '{}');
end $$;

-- The same from a rollup with more fields: {name, keep: [positions of groupBy in the bucket], where: [{at, in}]}. Returns null while the
-- rollup is being filled.
create function kv_service.rollup_groups(p_rollup jsonb) returns json
language plpgsql stable as $$
begin
  if not exists (select from kv.rollups r where r.rollup = p_rollup->>'name' and r.filled_to is null) then
    return null;
  end if;
  return coalesce((
    select json_agg(json_build_array(g.groups, g.n, g.total))
    from (
      select kept.bucket as groups, sum(total.n)::bigint as n, trim_scale(sum(total.amount))::text as total
      from (
        select r.bucket::jsonb as bucket, sum(r.count) as n, sum(r.total) as amount
        from kv.rollup_shards r where r.rollup = p_rollup->>'name' group by r.bucket
      ) total
      cross join lateral (
        select coalesce(jsonb_agg(total.bucket->>(k::integer) order by o), '[]') as bucket
        from jsonb_array_elements_text(p_rollup->'keep') with ordinality as ks(k, o)
      ) kept
      where total.n <> 0 and not exists (
        select from jsonb_array_elements(p_rollup->'where') w where not (w->'in') @> jsonb_build_array(total.bucket->((w->>'at')::integer)))
      group by kept.bucket
    ) g), '[]');
end $$;

-- From the rollup, if the query has one and it is filled.
create function kv_service.groups(p_query jsonb, p_now timestamptz) returns json
language plpgsql stable as $$
begin
  return coalesce(case when p_query ? 'rollup' then rollup_groups(p_query->'rollup') end, aggregate(p_query, p_now));
end $$;

-- Writes. Every commit takes its locks in one order: keys, owners, entries, rollup shards, chain heads, each sorted. Commits
-- therefore do not deadlock with each other. A cascade, and a prefix deletion beside other writes, lock rows in the order they
-- find them; after a deadlock with one, the program repeats the commit.

-- One write, resolved against the declaration of its key; later with the resulting row.
create type kv.write as (
  "position" integer, op text, key text, tenant text, owner text, cascades boolean, expires_at timestamptz,
  append_only boolean, rollup text collate "C", mutation jsonb,
  -- The value gets a member `receipt` with what the commit computed and deleted.
  receipt boolean,
  -- Null: nothing is written. `fault` is the reason, if there is one.
  value jsonb, fault text, message text, detail text
);

-- Sets `p_path` in `p_value` and creates missing objects on the path.
create function kv.put(p_value jsonb, p_path text[], p_new jsonb) returns jsonb
language plpgsql immutable as $$
begin
  if cardinality(p_path) > 1 then
    p_new := kv.put(coalesce(p_value->p_path[1], '{}'), p_path[2:], p_new);
  end if;
  return p_value || jsonb_build_object(p_path[1], p_new);
end $$;

-- The record after an `increment` or `append`: {add: [{path, by or to, min?, max?, maxOf?: {member, percent?}}], path?, items?, cap?, merge?}, with
-- paths as array literals. Returns a fault if the change is not possible, such as `bounds`.
create function kv.change(p_value jsonb, p_mutation jsonb, out value jsonb, out fault text, out message text, out detail text)
language plpgsql immutable as $$
declare
  v_adds jsonb := coalesce(p_mutation->'add', '[]');
  v_add jsonb;
  v_path text[];
  v_parent jsonb;
  v_old jsonb;
  v_bound jsonb;
  v_new numeric;
begin
  value := p_value;
  if jsonb_typeof(value) <> 'object' then
    fault := 'KV001'; message := 'must be an object'; detail := '/';
    v_adds := '[]';
  end if;
  -- The list of an append is the last path.
  if fault is null and p_mutation ? 'items' then
    v_adds := v_adds || jsonb_build_array(p_mutation);
  end if;
  for i in 0 .. jsonb_array_length(v_adds) - 1 loop
    v_add := v_adds->i;
    v_path := (v_add->>'path')::text[];
    if cardinality(v_path) not between 1 and 32 then
      fault := 'KV001'; message := 'must have 1 to 32 members'; detail := '/path';
      exit;
    end if;
    v_parent := value;
    for j in 1 .. cardinality(v_path) loop
      if jsonb_typeof(v_parent) <> 'object' then
        fault := 'KV001'; message := 'must be an object'; detail := '/' || array_to_string(v_path[:j - 1], '/');
        exit;
      end if;
      v_old := v_parent->v_path[j];
      v_parent := v_old;
    end loop;
    exit when fault is not null;
    if v_add ? 'items' then
      if jsonb_typeof(v_old) <> 'array' then
        fault := 'KV001'; message := 'must be a list'; detail := '/' || array_to_string(v_path, '/');
        exit;
      end if;
      v_old := coalesce(v_old, '[]') || (v_add->'items');
      if (v_add->>'cap')::integer < 1 then
        fault := 'KV001'; message := 'must be at least 1'; detail := '/cap';
        exit;
      elsif jsonb_array_length(v_old) > (v_add->>'cap')::integer then
        v_old := (select jsonb_agg(x.item order by x.o) from jsonb_array_elements(v_old) with ordinality x(item, o)
                  where x.o > jsonb_array_length(v_old) - (v_add->>'cap')::integer);
      end if;
    else
      if jsonb_typeof(v_old) <> 'number' then
        fault := 'KV001'; message := 'must be a number'; detail := '/' || array_to_string(v_path, '/');
        exit;
      end if;
      v_new := coalesce((v_add->>'to')::numeric, coalesce(v_old::numeric, 0) + (v_add->>'by')::numeric);
      -- `whole`: the sum of several calls. Their separate results can be computed only from integers.
      if v_new < (v_add->>'min')::numeric or v_new > (v_add->>'max')::numeric or v_add ? 'whole' and v_new <> trunc(v_new) then
        fault := 'bounds';
        exit;
      end if;
      if v_add ? 'maxOf' then
        v_bound := value->(v_add->'maxOf'->>'member');
        if jsonb_typeof(v_bound) = 'number' and v_new > round(v_bound::numeric * coalesce((v_add->'maxOf'->>'percent')::numeric, 100) / 100, 6) then
          fault := 'bounds';
          exit;
        end if;
      end if;
      if (v_new <> trunc(v_new) or abs(v_new) > 9007199254740991) and not kv.fits_double(v_new) then
        fault := 'KV001'; message := 'must stay a number that a double represents exactly, and within 2^53 - 1';
        detail := '/' || array_to_string(v_path, '/');
        exit;
      end if;
      v_old := to_jsonb(v_new);
    end if;
    value := case when cardinality(v_path) = 1 then value || jsonb_build_object(v_path[1], v_old) else kv.put(value, v_path, v_old) end;
  end loop;
  if fault is null and p_mutation ? 'merge' then
    value := value || (p_mutation->'merge');
  end if;
  if fault is null and pg_column_size(value) > 6000 and kv.is_oversized(value) then
    fault := 'KV006'; message := 'the record exceeds 262144 bytes';
  end if;
  if fault is not null then
    value := null;
  end if;
end $$;

-- Raises the first fault as an error.
create function kv.refuse(p_writes kv.write[]) returns void
language plpgsql as $$
declare
  v_write kv.write;
begin
  select w.* into v_write from unnest(p_writes) w where w.fault is not null order by w.position limit 1;
  raise exception using errcode = v_write.fault, message = v_write.message, detail = coalesce(v_write.detail, '');
end $$;

-- Completes a fault that kv_service.resolve found; `message` has the name of the entity.
create function kv.explain(p_write kv.write) returns kv.write
language plpgsql immutable as $$
declare
  v_reason text := p_write.fault;
begin
  p_write.mutation := null;
  p_write.fault := case v_reason when 'op' then 'KV001' when 'expiry' then 'KV001' when 'size' then 'KV006' else 'KV004' end;
  p_write.detail := case v_reason when 'op' then '/op' when 'expiry' then '/expiresAt' else p_write.key end;
  p_write.message := case v_reason
    when 'op' then 'must be set, delete, increment or append'
    when 'shape' then format('key %s does not have the number of segments that its family declares', p_write.key)
    when 'owner' then format('key %s belongs to another tenant or to the platform', p_write.key)
    when 'expiry' then format('entries of %s cannot expire', p_write.message)
    when 'reserved' then format('%s is reserved and cannot be the id of a tenant', p_write.owner)
    when 'size' then 'the value exceeds 262144 bytes'
  end;
  return p_write;
end $$;

-- Resolves mutations against the declarations of their keys. An undeclared shape of a declared family, or an owner other than the
-- key's, is a fault: otherwise tenant a could create `subscription:b`. If p_tenant is null, each mutation may set its owner.
-- `offset 0` prevents repeated evaluation. Volatile, so that a call that waited for a migration sees its declarations.
create function kv_service.resolve(p_tenant text, p_mutations jsonb) returns kv.write[]
language plpgsql as $$
declare
  v_writes kv.write[];
  v_faulty boolean;
begin
  select array_agg(row(r.position, r.op, r.key, r.tenant, r.owner, r.cascades, r.expires_at, r.append_only, r.rollup,
      case when r.op in ('increment', 'append') then r.mutation end, r.op = 'set' and r.mutation ? 'receipt', case when r.op = 'set' then r.mutation->'value' end,
      r.fault, case when r.fault is not null then r.entity end, null)::kv.write), bool_or(r.fault is not null)
  into v_writes, v_faulty
  from (
    select o.*, case
      when o.op is null or o.op not in ('set', 'delete', 'increment', 'append') then 'op'
      when o.entity is null and o.family in (select d.family from kv.families d) then 'shape'
      when o.op = 'delete' then null
      when o.owner_rule <> 'given' and o.placed ? 'owner' and o.placed->>'owner' is distinct from o.owner then 'owner'
      when o.expires_at is not null and (o.append_only or o.rollup is not null) then 'expiry'
      when o.tenant is not null and o.owner is distinct from o.tenant then 'owner'
      when kv.is_reserved(o.owner) then 'reserved'
      when pg_column_size(o.mutation) > 6000 and kv.is_oversized(o.mutation->'value') then 'size'
    end as fault
    from (
      select m.*, f.entity, f.owner_rule, f.rollup, coalesce(f.append_only, false) as append_only,
        case coalesce(f.owner_rule, 'given')
          when 'segment' then nullif(split_part(m.key, ':', 2), 'global')
          when 'given' then case when m.placed ? 'owner' then m.placed->>'owner' else m.tenant end
        end as owner,
        not coalesce(f.append_only, false) and coalesce((m.placed->'cascades')::boolean, f.cascades, true) as cascades,
        (m.placed->>'expiresAt')::timestamptz as expires_at
      from (
        select x.position::integer, x.mutation->>'op' as op, x.mutation->>'key' as key, split_part(x.mutation->>'key', ':', 1) as family,
          coalesce(p_tenant, x.mutation->>'tenant') as tenant, coalesce(x.mutation->'initial', x.mutation) as placed, x.mutation
        from jsonb_array_elements(p_mutations) with ordinality x(mutation, position) where x.mutation ? 'key'
        offset 0) m
      left join lateral (select * from kv.families x where x.family = m.family and x.colons = kv.colons(m.key) offset 0) f on true
      offset 0) o
    offset 0) r;
  if v_faulty then
    v_writes := array(select case when w.fault is null then w else kv.explain(w) end from unnest(v_writes) w);
  end if;
  return coalesce(v_writes, '{}');
end $$;

-- Applies an increment or append to the live row or to the initial value. A live row keeps its owner and expiry.
create function kv.compute(p_write kv.write, p_live boolean, p_value jsonb, p_owner text, p_cascades boolean, p_expires_at timestamptz)
returns kv.write
language plpgsql immutable as $$
declare
  v_change record;
begin
  if p_live then
    p_write.owner := p_owner;
    p_write.cascades := p_cascades;
    p_write.expires_at := p_expires_at;
  elsif p_write.mutation ? 'initial' then
    p_value := p_write.mutation->'initial'->'value';
  else
    return p_write;
  end if;
  v_change := kv.change(p_value, p_write.mutation);
  p_write.value := v_change.value;
  p_write.fault := v_change.fault;
  p_write.message := v_change.message;
  p_write.detail := v_change.detail;
  return p_write;
end $$;

-- Computes increments and appends from the rows found.
create function kv.compute_all(p_writes kv.write[], p_rows kv.entries[], p_now timestamptz) returns kv.write[]
language plpgsql immutable as $$
begin
  return array(select case when w.mutation is null then w else kv.compute(w, e.key is not null and (e.expires_at is null or e.expires_at > p_now),
      e.value, e.owner, e.cascades, e.expires_at) end
    from unnest(p_writes) w left join unnest(p_rows) e on e.key = w.key);
end $$;

-- Advisory locks on keys, also on those without a row, so that a check for absence holds until commit. Above 200 keys, their
-- families are locked instead; a lock on a key includes a shared lock on its family.
create function kv_service.lock_keys(p_keys text[]) returns void
language plpgsql as $$
begin
  if cardinality(p_keys) > 200 then
    perform pg_advisory_xact_lock(l.family) from (
      select distinct hashtextextended(split_part(k, ':', 1), 1) as family from unnest(p_keys) k order by 1) l;
  else
    perform pg_advisory_xact_lock_shared(l.family) from (
      select distinct hashtextextended(split_part(k, ':', 1), 1) as family from unnest(p_keys) k order by 1) l;
    perform pg_advisory_xact_lock(l.key) from (select distinct hashtextextended(k, 0) as key from unnest(p_keys) k order by 1) l;
  end if;
end $$;

-- Locks the owners' rows `for key share`, creates missing ones, and refuses deleted owners.
create function kv_service.lock_owners(p_owners text[]) returns void
language plpgsql as $$
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
    perform add_owners(p_owners);
    perform lock_owners(p_owners);
  end if;
end $$;

-- Creates missing rows of owners, under a lock that kv_write_many tries without waiting.
create function kv_service.add_owners(p_owners text[]) returns void
language plpgsql as $$
begin
  perform pg_advisory_xact_lock(l.owner) from (select distinct hashtextextended(o, 2) as owner from unnest(p_owners) o
    where not exists (select from kv.owners k where k.owner = o) order by 1) l;
  insert into kv.owners (owner) select o from unnest(p_owners) o order by o on conflict do nothing;
end $$;

-- Adds an entry to its audit chain, under the lock of the chain's head.
-- hash = lower-case hex SHA-256 of `prevHash:seq:contentHash` (data-model.md, audit entry).
create function kv_service.chain(p_scope text, p_value jsonb) returns jsonb
language plpgsql as $$
declare
  v_seq bigint;
  v_prev text;
  v_hash text;
begin
  insert into kv.chains (scope, seq, hash) values (p_scope, 0, repeat('0', 64)) on conflict do nothing;
  select c.seq + 1, c.hash into v_seq, v_prev from kv.chains c where c.scope = p_scope for update;
  v_hash := encode(sha256(convert_to(v_prev || ':' || v_seq || ':' || (p_value->>'contentHash'), 'UTF8')), 'hex');
  if v_hash is null then
    raise exception 'is required in an entry of an audit chain' using errcode = 'KV001', detail = '/contentHash';
  end if;
  update kv.chains c set seq = v_seq, hash = v_hash where c.scope = p_scope;
  return (p_value - 'contentHash') || jsonb_build_object('seq', v_seq, 'prevHash', v_prev, 'hash', v_hash);
end $$;

-- The number of live entries among those deleted, by entity, or by family if undeclared.
create function kv_service.tally(p_keys text[]) returns jsonb
language plpgsql stable as $$
begin
  return coalesce((select jsonb_object_agg(t.entity, t.n) from (
    select coalesce(f.entity, split_part(k, ':', 1)) as entity, count(*) as n from unnest(p_keys) k
    left join kv.families f on f.family = split_part(k, ':', 1) and f.colons = kv.colons(k) group by 1) t), '{}');
end $$;

-- Adds the counts of two reports.
create function kv.add_tallies(p_a jsonb, p_b jsonb) returns jsonb
language sql immutable parallel safe
return p_a || coalesce((select jsonb_object_agg(b.key, coalesce((p_a->>b.key)::bigint, 0) + b.value::bigint) from jsonb_each_text(p_b) b), '{}');

-- The cascade in one statement: deletes the tenant's rows and marks its id, whose row the commit has locked, as deleted for good.
create function kv_service.delete_owner(p_owner text, p_now timestamptz) returns jsonb
language plpgsql as $$
declare
  v_gone text[];
begin
  update kv.owners o set deleted_at = coalesce(o.deleted_at, p_now) where o.owner = p_owner;
  with gone as (
    delete from kv.entries e where e.owner = p_owner and e.cascades returning e.key, e.expires_at
  ) select array_agg(g.key) into v_gone from gone g where g.expires_at is null or g.expires_at > p_now;
  return tally(v_gone);
end $$;

-- Audit entries from this instant on are kept, whatever the caller says: the login of the program must not be able to delete recent
-- evidence. By the server's clock. No policy for audit entries is shorter (MIN_AUDIT_DAYS in shared/features/retention/rules.ts).
create function kv.purge_floor() returns text
language sql stable
return to_char((now() at time zone 'UTC') - interval '30 days', 'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"');

-- Deletes the oldest entries of one audit chain, up to the entry p_seq, and returns their number by entity. It refuses to delete the
-- head, an entry that is not older than p_before and than the floor, more than 1,000 entries, and anything if the entry p_seq has
-- another hash or the entries have gaps. It runs as kv_retention, which alone may delete audit entries (90_grants.sql).
create function kv.purge_chain(p_family text, p_scope text, p_seq bigint, p_hash text, p_before text) returns jsonb
language plpgsql security definer set search_path = pg_catalog, pg_temp set row_security = on as $$
declare
  v_entity text := (select f.entity from kv.families f where f.family = p_family and f.append_only limit 1);
  v_keys text[];
  v_gone record;
begin
  if v_entity is null or not exists (select from kv.chains c where c.scope = p_scope and c.seq > p_seq) then
    raise exception 'only entries below the head of an audit chain can be deleted' using errcode = 'KV005';
  end if;
  -- In the order of the index on (owner, seq): under row-level security the planner would not choose it for the condition alone.
  if p_scope = '' then
    v_keys := array(select e.key from kv.entries e where e.key >= p_family || ':' and e.key < p_family || ';' and e.owner is null
      and kv.number_field(e.value, 'seq') <= p_seq order by kv.number_field(e.value, 'seq') limit 1001);
  else
    v_keys := array(select e.key from kv.entries e where e.key >= p_family || ':' and e.key < p_family || ';' and e.owner = p_scope
      and kv.number_field(e.value, 'seq') <= p_seq order by kv.number_field(e.value, 'seq') limit 1001);
  end if;
  with gone as (
    delete from kv.entries e where e.key = any(v_keys) and e.key >= p_family || ':' and e.key < p_family || ';' returning e.value
  ) select count(*) as entries, min((g.value->>'seq')::bigint) as first, max((g.value->>'seq')::bigint) as last,
      bool_and(coalesce(length(g.value->>'timestamp') = 24
        and (g.value->>'timestamp') collate "C" < least(p_before collate "C", kv.purge_floor() collate "C"), false)) as old,
      bool_or((g.value->>'seq')::bigint = p_seq and g.value->>'hash' = p_hash) as matches
    into v_gone from gone g;
  -- A missing argument or member must refuse, too: `least` ignores null.
  if (p_before is not null and v_gone.old and v_gone.matches and v_gone.entries = v_gone.last - v_gone.first + 1 and v_gone.entries <= 1000) is not true then
    raise exception 'the entries up to % of the audit chain are not at most 1000 without gaps, all before % and 30 days old, the last with this hash', p_seq, p_before
      using errcode = 'KV005';
  end if;
  return jsonb_build_object(v_entity, v_gone.entries);
end $$;

-- Deletes the range [p_start, p_end); for a tenant, only its own rows. They are locked first, in key order as by a commit.
create function kv_service.delete_range(p_tenant text, p_start text, p_end text, p_now timestamptz) returns jsonb
language plpgsql as $$
declare
  v_gone text[];
begin
  if p_tenant is null then
    perform from kv.entries e where e.key >= p_start and e.key < p_end order by e.key for update;
    with gone as (
      delete from kv.entries e where e.key >= p_start and e.key < p_end returning e.key, e.expires_at
    ) select array_agg(g.key) into v_gone from gone g where g.expires_at is null or g.expires_at > p_now;
  else
    perform from kv.entries e where e.owner = p_tenant and e.key >= p_start and e.key < p_end order by e.key for update;
    with gone as (
      delete from kv.entries e where e.owner = p_tenant and e.key >= p_start and e.key < p_end returning e.key, e.expires_at
    ) select array_agg(g.key) into v_gone from gone g where g.expires_at is null or g.expires_at > p_now;
  end if;
  return tally(v_gone);
end $$;

-- Locks the existing rows of the keys in key order, family by family, so that the planner can exclude the other partitions.
-- Values are read only for mutations that need them. A plan that was made when a family was empty must not read all of its later rows.
create function kv_service.lock_rows(p_keys text[], p_computed text[]) returns kv.entries[]
language plpgsql set enable_seqscan = off as $$
declare
  v_family text;
  v_rows kv.entries[] := '{}';
begin
  for v_family in select distinct split_part(k, ':', 1) collate "C" from unnest(p_keys) k order by 1 loop
    v_rows := v_rows || array(
      select row(e.key, case when e.key = any(p_computed) then e.value end, e.version, e.owner, e.cascades, e.expires_at, e.created_at, e.updated_at)::kv.entries
      from kv.entries e where e.key = any(p_keys) and e.key >= kv.family_start(v_family, p_keys) and e.key < v_family || ';'
        and split_part(e.key, ':', 1) = v_family order by e.key for update);
  end loop;
  return v_rows;
end $$;

create function kv_service.delete_keys(p_keys text[], p_now timestamptz) returns jsonb
language plpgsql as $$
declare
  v_family text;
  v_gone text[] := '{}';
begin
  for v_family in select distinct split_part(k, ':', 1) from unnest(p_keys) k loop
    with gone as (
      delete from kv.entries e where e.key = any(p_keys) and e.key >= kv.family_start(v_family, p_keys) and e.key < v_family || ';'
        and split_part(e.key, ':', 1) = v_family returning e.key, e.expires_at
    ) select v_gone || array_agg(g.key) into v_gone from gone g where g.expires_at is null or g.expires_at > p_now;
  end loop;
  return tally(v_gone);
end $$;

-- Writes the mutations that have a value, in key order, and returns {key: version}. The versions of a key only increase, so a
-- version is taken under the lock of the row: by the caller, which has locked all rows, or here for each row.
create function kv_service.put_rows(p_writes kv.write[], p_now timestamptz, p_version bigint default null) returns jsonb
language plpgsql as $$
declare
  v_versions jsonb;
begin
  with written as (
    insert into kv.entries as e (key, value, version, owner, cascades, expires_at, created_at, updated_at)
    select w.key, w.value, coalesce(p_version, nextval('kv.versions')), w.owner, w.cascades, w.expires_at, p_now, p_now
    from unnest(p_writes) w where w.value is not null order by w.key collate "C"
    on conflict (key) do update set value = excluded.value, version = coalesce(p_version, nextval('kv.versions')), owner = excluded.owner,
      cascades = excluded.cascades, expires_at = excluded.expires_at, updated_at = excluded.updated_at,
      created_at = case when e.expires_at <= p_now then excluded.created_at else e.created_at end
    returning e.key, e.version
  ) select jsonb_object_agg(w.key, w.version::text) into v_versions from written w;
  return coalesce(v_versions, '{}');
end $$;

-- Inserts rows. A row that exists, visible to the caller or not, is not changed and gets no version.
create function kv_service.insert_rows(p_writes kv.write[], p_now timestamptz, p_version bigint default null) returns jsonb
language plpgsql as $$
declare
  v_versions jsonb;
begin
  with written as (
    insert into kv.entries as e (key, value, version, owner, cascades, expires_at, created_at, updated_at)
    select w.key, w.value, coalesce(p_version, nextval('kv.versions')), w.owner, w.cascades, w.expires_at, p_now, p_now
    from unnest(p_writes) w where w.value is not null order by w.key collate "C"
    on conflict do nothing
    returning e.key, e.version
  ) select jsonb_object_agg(w.key, w.version::text) into v_versions from written w;
  return coalesce(v_versions, '{}');
end $$;

-- Adds entries to their audit chains, ordered by scope.
create function kv_service.link_chains(p_writes kv.write[]) returns kv.write[]
language plpgsql as $$
declare
  v_linked kv.write[] := array(select w from unnest(p_writes) w where not (w.append_only and w.op = 'set'));
  v_write kv.write;
begin
  for v_write in select * from unnest(p_writes) w where w.append_only and w.op = 'set' order by coalesce(w.owner, '') collate "C", w.position loop
    v_write.value := chain(coalesce(v_write.owner, ''), v_write.value);
    v_linked := v_linked || v_write;
  end loop;
  return v_linked;
end $$;

-- Adds {values: records after the increments that ask for it, deleted: counts} to the writes that ask for a receipt.
create function kv.with_receipts(p_writes kv.write[], p_deleted jsonb) returns kv.write[]
language plpgsql immutable as $$
declare
  v_receipt jsonb := jsonb_build_object('receipt', jsonb_build_object('deleted', p_deleted, 'values',
    (select coalesce(jsonb_object_agg(w.key, w.value), '{}') from unnest(p_writes) w where w.mutation->'receipt' = 'true')));
begin
  for i in 1 .. cardinality(p_writes) loop
    if p_writes[i].receipt then
      p_writes[i].value := p_writes[i].value || v_receipt;
    end if;
  end loop;
  return p_writes;
end $$;

-- One atomic commit: {ok: true, versions, values, deleted} or {ok: false, conflict, reason}. All its writes have one version.
create function kv_service.commit(p_tenant text, p_checks jsonb, p_mutations jsonb, p_now timestamptz) returns json
language plpgsql as $$
declare
  v_writes kv.write[] := resolve(p_tenant, p_mutations);
  v_rows kv.entries[];
  v_owners text[];
  v_gone text;
  v_deleted jsonb := '{}';
  v_version bigint;
  v_versions jsonb;
  v_write kv.write;
  v_conflict text;
  v_check jsonb;
  v_mutation jsonb;
  -- The kinds of mutations in the commit, so that steps without work are skipped.
  v_checked boolean := jsonb_array_length(p_checks) > 0;
  v_ranged boolean := jsonb_array_length(p_mutations) > cardinality(v_writes);
  v_keys text[];
  v_computed text[];
  v_faulty boolean;
  v_deletes boolean;
  v_chained boolean;
  v_rolled_up boolean;
  v_receipts boolean;
begin
  select array_agg(w.key), array_agg(w.key) filter (where w.op in ('increment', 'append')), bool_or(w.fault is not null), bool_or(w.op = 'delete'),
    bool_or(w.append_only), bool_or(w.rollup is not null), bool_or(w.receipt),
    array_agg(distinct w.owner) filter (where w.op <> 'delete' and w.owner is not null)
  into v_keys, v_computed, v_faulty, v_deletes, v_chained, v_rolled_up, v_receipts, v_owners from unnest(v_writes) w;
  if v_faulty then
    perform kv.refuse(v_writes);
  end if;
  if v_checked then
    -- A key that is checked and written counts once towards the limit of lock_keys.
    v_keys := array(select k from unnest(v_keys) k union select c->>'key' from jsonb_array_elements(p_checks) c);
  end if;
  perform lock_keys(v_keys);

  if v_ranged then
    select m->>'tenantId' into v_gone from jsonb_array_elements(p_mutations) m where m->>'op' = 'deleteOwner';
  end if;
  if v_gone is not null then
    -- Created before it is locked: without a row to lock, the tenant's first writers would not wait.
    perform add_owners(array[v_gone]);
    perform from kv.owners o where o.owner = v_gone for update;
  elsif v_owners is not null then
    perform lock_owners(v_owners);
  end if;

  v_rows := lock_rows(v_keys, v_computed);
  if v_checked then
    select c->>'key' into v_conflict
    from jsonb_array_elements(p_checks) with ordinality cs(c, o)
    left join unnest(v_rows) e on e.key = c->>'key' and (e.expires_at is null or e.expires_at > p_now)
    -- A platform row that the tenant may read but not lock.
    -- The offset keeps it a look-up for each such key; as part of the join, the platform's rows of all families could be read.
    left join lateral (select x.version from kv.entries x where p_tenant is not null and e.key is null and x.key = c->>'key'
      and x.owner is null and (x.expires_at is null or x.expires_at > p_now) offset 0) readable on true
    where c ? 'version' and coalesce(e.version, readable.version)::numeric is distinct from (c->>'version')::numeric order by o limit 1;
    if found then
      return json_build_object('ok', false, 'conflict', v_conflict, 'reason', 'version');
    end if;
    -- Counted by a new snapshot, under the lock of the check's key.
    for v_check in select c from jsonb_array_elements(p_checks) c where c ? 'atMost' loop
      if total(v_check->'query', p_now) > (v_check->>'atMost')::bigint then
        return json_build_object('ok', false, 'conflict', v_check->>'key', 'reason', 'version');
      end if;
    end loop;
  end if;

  if v_computed is not null then
    v_writes := kv.compute_all(v_writes, v_rows, p_now);
    select w.* into v_write from unnest(v_writes) w where w.fault is not null order by w.position limit 1;
    if v_write.fault = 'bounds' then
      return json_build_object('ok', false, 'conflict', v_write.key, 'reason', 'bounds');
    elsif v_write.fault is not null then
      perform kv.refuse(v_writes);
    end if;
  end if;
  -- From here on, each write has the owner of its row.
  if v_gone is not null then
    if exists (select from unnest(v_writes) w where w.op <> 'delete' and (w.owner <> v_gone or (w.owner = v_gone and w.cascades))) then
      raise exception 'must not write rows of a tenant in the commit that deletes tenant %', v_gone using errcode = 'KV001', detail = '/mutations';
    end if;
  elsif v_computed is not null then
    select o.owner into v_gone from kv.owners o join unnest(v_writes) w on w.owner = o.owner
      where w.mutation is not null and w.value is not null and o.deleted_at is not null limit 1;
    if found then
      raise exception 'tenant % was deleted', v_gone using errcode = 'KV003';
    end if;
  end if;
  -- Before the locks that follow: it waits for rows, and who holds those may wait for a chain.
  if v_ranged then
    for v_mutation in select m from jsonb_array_elements(p_mutations) m where m->>'op' in ('deletePrefix', 'deleteOwner', 'purgeChain') loop
      -- Not in the case expression: a tenant's commit may not execute it.
      if v_mutation->>'op' = 'purgeChain' then
        v_deleted := kv.add_tallies(v_deleted, kv.purge_chain(v_mutation->>'family', v_mutation->>'scope', (v_mutation->>'seq')::bigint,
          v_mutation->>'hash', v_mutation->>'before'));
        continue;
      end if;
      v_deleted := kv.add_tallies(v_deleted, case v_mutation->>'op'
        when 'deleteOwner' then delete_owner(v_mutation->>'tenantId', p_now)
        else delete_range(p_tenant, v_mutation->>'start', v_mutation->>'end', p_now) end);
    end loop;
  end if;
  if v_rolled_up then
    perform pg_advisory_xact_lock(hashtext('kv.rollup:' || s.rollup), s.shard)
      from (select distinct w.rollup, kv.shard(w.key) as shard from unnest(v_writes) w where w.rollup is not null order by 1, 2) s;
  end if;
  if v_chained then
    v_writes := link_chains(v_writes);
  end if;
  if v_deletes then
    v_deleted := kv.add_tallies(v_deleted, delete_keys(array(select w.key from unnest(v_writes) w where w.op = 'delete'), p_now));
  end if;

  if v_receipts then
    v_writes := kv.with_receipts(v_writes, v_deleted);
  end if;

  -- Every key and every existing row is locked.
  v_version := nextval('kv.versions');
  if p_tenant is null then
    v_versions := put_rows(v_writes, p_now, v_version);
  else
    v_versions := put_rows(array(select w from unnest(v_writes) w where exists (select from unnest(v_rows) e where e.key = w.key)), p_now, v_version)
      || insert_rows(array(select w from unnest(v_writes) w where not exists (select from unnest(v_rows) e where e.key = w.key)), p_now, v_version);
    select w.key into v_conflict from unnest(v_writes) w where w.value is not null and not v_versions ? w.key order by w.position limit 1;
    if found then
      -- Raised to roll back: the tenant cannot see the row.
      raise exception 'key % is taken', v_conflict using errcode = 'KV007', detail = v_conflict;
    end if;
  end if;
  return json_build_object('ok', true, 'versions', v_versions, 'deleted', v_deleted, 'values', coalesce(case when v_computed is not null then
    (select json_object_agg(w.key, w.value) from unnest(v_writes) w where w.mutation is not null) end, '{}'));
end $$;

-- Inserts absent rows without waiting: {versions: {key: version}, faults: {key: fault}}.
create function kv_service.create_rows(p_writes kv.write[], p_now timestamptz) returns jsonb
language plpgsql as $$
declare
  v_owners text[] := array(select distinct w.owner from unnest(p_writes) w where w.owner is not null);
  v_live text[] := '{}';
  v_deleted text[] := '{}';
  v_versions jsonb;
begin
  if cardinality(v_owners) > 0 then
    insert into kv.owners (owner) select o from unnest(v_owners) o
      where not exists (select from kv.owners k where k.owner = o) and pg_try_advisory_xact_lock(hashtextextended(o, 2)) order by o on conflict do nothing;
    with locked as (
      select o.owner, o.deleted_at from kv.owners o where o.owner = any(v_owners) for key share skip locked
    ) select array_agg(l.owner) filter (where l.deleted_at is null), array_agg(l.owner) filter (where l.deleted_at is not null) into v_live, v_deleted from locked l;
  end if;
  -- A key that another transaction has locked or inserted is not free.
  v_versions := insert_rows(array(select w from unnest(p_writes) w
    where (w.owner is null or w.owner = any(v_live))
      and pg_try_advisory_xact_lock_shared(hashtextextended(split_part(w.key, ':', 1), 1))
      and pg_try_advisory_xact_lock(hashtextextended(w.key, 0))), p_now);
  return jsonb_build_object('versions', v_versions, 'faults', (select coalesce(jsonb_object_agg(w.key,
      case when w.owner = any(v_deleted) then jsonb_build_object('fault', 'KV003', 'message', format('tenant %s was deleted', w.owner)) else '{"fault": "busy"}' end), '{}')
    from unnest(p_writes) w where not v_versions ? w.key));
end $$;

-- Single-key writes of many callers, each with its own result; no key occurs twice. It never waits for a lock: a write that would
-- wait is `busy`, and its caller sends it as a commit. The fault `commit` marks a write that needs kv_commit. Returns {versions:
-- {key: version}, values: {key: the record after an increment}, faults: {key: {fault, message, detail}}}. A key in neither
-- versions nor faults was absent and had no initial value.
create function kv_service.write_many(p_calls jsonb, p_now timestamptz) returns json
language plpgsql as $$
declare
  v_writes kv.write[] := resolve(null, p_calls);
  v_family record;
  v_found kv.entries[];
  v_rows kv.entries[] := '{}';
  v_held text[] := '{}';
  v_computed boolean := false;
  v_over kv.write[];
  v_new kv.write[];
  v_versions jsonb := '{}';
  v_faults jsonb := '{}';
  v_created jsonb;
begin
  for v_family in
    select split_part(w.key, ':', 1) as name, array_agg(w.key) as keys, coalesce(array_agg(w.key) filter (where w.mutation is not null), '{}') as computed
    from unnest(v_writes) w where w.fault is null and not w.append_only and w.rollup is null group by 1
  loop
    v_found := array(
      select row(e.key, case when e.key = any(v_family.computed) then e.value end, e.version, e.owner, e.cascades, e.expires_at, e.created_at, e.updated_at)::kv.entries
      from kv.entries e where e.key = any(v_family.keys) and e.key >= v_family.name and e.key < v_family.name || ';' for update skip locked);
    -- A row that exists and was skipped is locked by another transaction.
    if cardinality(v_found) < cardinality(v_family.keys) then
      v_held := v_held || array(select e.key from kv.entries e where e.key = any(v_family.keys) and e.key >= v_family.name and e.key < v_family.name || ';'
        and not exists (select from unnest(v_found) f where f.key = e.key));
    end if;
    v_rows := v_rows || v_found;
    v_computed := v_computed or cardinality(v_family.computed) > 0;
  end loop;
  if v_computed then
    v_writes := kv.compute_all(v_writes, v_rows, p_now);
  end if;
  -- The owner need not be locked if the row keeps its owner and is deleted with it: a cascade waits for the row.
  v_over := array(select w from unnest(v_writes) w join unnest(v_rows) e on e.key = w.key
    where w.fault is null and e.cascades and e.owner is not distinct from w.owner and (w.tenant is null or e.owner = w.tenant));
  if cardinality(v_over) < cardinality(v_writes) then
    v_new := array(select w from unnest(v_writes) w where w.fault is null and not w.append_only and w.rollup is null
      and not w.key = any(v_held) and not exists (select from unnest(v_rows) e where e.key = w.key));
    -- Only kv_commit locks chain heads and rollup shards. A result computed without the row, or from another tenant's row, is not
    -- valid; a fault that did not need the row has left no mutation.
    v_faults := (select coalesce(jsonb_object_agg(w.key, case
        when w.key = any(v_held)
          or exists (select from unnest(v_rows) e where e.key = w.key and w.tenant is not null and e.owner is distinct from w.tenant) then '{"fault": "busy"}'
        when (w.append_only or w.rollup is not null) and (w.fault is null or w.mutation is not null) then '{"fault": "commit"}'
        when w.fault is not null then jsonb_build_object('fault', w.fault, 'message', w.message, 'detail', w.detail)
        else '{"fault": "busy"}' end), '{}')
      from unnest(v_writes) w where not exists (select from unnest(v_over || v_new) d where d.key = w.key));
    v_created := create_rows(array(select w from unnest(v_new) w where w.value is not null), p_now);
    v_versions := v_created->'versions';
    v_faults := v_faults || (v_created->'faults');
  end if;
  v_versions := v_versions || put_rows(v_over, p_now);
  return json_build_object('versions', v_versions, 'faults', v_faults, 'values', coalesce(case when v_computed then
    (select json_object_agg(w.key, w.value) from unnest(v_over || v_new) w where w.mutation is not null) end, '{}'));
end $$;

-- Deletes entries that have expired by the caller's clock, at most p_limit.
create function kv_service.sweep(p_limit integer, p_except text[], p_now timestamptz) returns bigint
language plpgsql as $$
declare
  v_gone bigint;
begin
  delete from kv.entries e using (
    select x.key from kv.entries x where x.expires_at <= p_now and (x.owner is null or x.owner <> all(p_except)) order by x.expires_at limit p_limit for update skip locked) old
  where e.key = old.key;
  get diagnostics v_gone = row_count;
  return v_gone;
end $$;

-- Policies of the partitioned table. Partitions have row security without a policy, so they cannot be read directly. The service
-- role sees all rows. The tenant role sees the tenant's rows and the platform's readable ones, and nothing if no tenant is set.
create policy service on kv.entries to kv_service using (true) with check (true);
create policy service on kv.owners to kv_service using (true) with check (true);
create policy service on kv.chains to kv_service using (true) with check (true);
create policy service on kv.rollup_shards to kv_service using (true) with check (true);
create policy service on kv.rollups to kv_service using (true) with check (true);
create policy service on kv.indexes for select to kv_service using (true);
create policy service on kv.migrations for select to kv_service using (true);
create policy everyone on kv.families for select to kv_service, kv_tenant, kv_retention using (true);
-- Not narrower: before a condition of a policy, the index on (owner, seq) could not be used.
create policy retention on kv.entries to kv_retention using (true);
create policy retention on kv.chains for select to kv_retention using (true);

create policy tenant_read on kv.entries for select to kv_tenant
  using (owner = any ((select kv.tenants())::text[])
    or (owner is null and split_part(key, ':', 1) || '/' || kv.colons(key) = any ((select kv.readable_shapes())::text[])));
create policy tenant_insert on kv.entries for insert to kv_tenant
  with check (owner = any ((select kv.tenants())::text[]) and kv.key_allows(key, owner));
create policy tenant_update on kv.entries for update to kv_tenant
  using (owner = any ((select kv.tenants())::text[])) with check (owner = any ((select kv.tenants())::text[]) and kv.key_allows(key, owner));
create policy tenant_delete on kv.entries for delete to kv_tenant using (owner = any ((select kv.tenants())::text[]));
create policy tenant on kv.owners to kv_tenant
  using (owner = any ((select kv.tenants())::text[])) with check (owner = any ((select kv.tenants())::text[]) and deleted_at is null);
create policy tenant on kv.chains to kv_tenant
  using (scope = any ((select kv.tenants())::text[])) with check (scope = any ((select kv.tenants())::text[]));

-- Binds the current call to its tenants. Only a batch of calls has several.
create function kv.bind(p_tenants text[]) returns void
language plpgsql as $$
declare
  v_list text := array_to_string(p_tenants, ',');
begin
  if coalesce(v_list, '') = '' or '' = any(p_tenants) or cardinality(string_to_array(v_list, ',')) <> cardinality(p_tenants)
    or translate(v_list, 'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._~@+-,', '') <> '' then
    raise exception 'must be the id of a tenant' using errcode = 'KV001', detail = '/tenantId';
  end if;
  perform set_config('kv.tenants', v_list, true);
end $$;

create function kv.unbind() returns void
language plpgsql as $$
begin
  perform set_config('kv.tenants', '', true);
end $$;

-- Creates kv_tenant's copy of every function of kv_service, with the same name. The bodies call each other without a schema, so
-- that each copy calls its own role's functions.
do $$
declare
  v_function oid;
begin
  for v_function in select oid from pg_proc where pronamespace = 'kv_service'::regnamespace loop
    execute replace(pg_get_functiondef(v_function), 'FUNCTION kv_service.', 'FUNCTION kv_tenant.');
  end loop;
end $$;

-- Claims due entries for a worker with `for update skip locked`, as a queue does. Created after the copies (70_copies.sql): a tenant
-- claims nothing.
--
-- p_claim is {family, colons?, where[], due, now, until, set, limit, perTenant?}. An entry is due if the time in its field `due` is at
-- most `now`. The claim sets that field to `until`, when the lease ends and the entry is due again, and merges `set` into the value.

-- The oldest due keys, at most perTenant of each tenant: the first of every tenant, then the second ones, and so on. Tenants are
-- visited one by one through the index on (owner, due), so that a tenant's 10,000 entries cost no more than those that are taken.
create function kv_service.due_keys(p_claim jsonb, p_count integer, p_now timestamptz) returns text[]
language plpgsql stable set random_page_cost = 1.1 as $$
declare
  v_where text := kv.where_sql(p_claim);
  v_due text := kv.field_sql(p_claim->>'due', 'time');
  v_is_due text := format('%s and %s <= ($1->>''now'') collate "C"', v_where, v_due);
  v_keys text[];
  v_seen bigint;
begin
  execute format($sql$
    with due as (select e.key, e.owner, %2$s as at from kv.entries e where %1$s order by %2$s, e.key limit $3)
    select array_agg(r.key order by r.rank, r.at, r.key) filter (where r.rank <= ($1->>'perTenant')::integer), count(*)
    from (select d.key, d.at, row_number() over (partition by d.owner order by d.at, d.key) as rank from due d) r$sql$, v_is_due, v_due)
    into v_keys, v_seen using p_claim, p_now, p_count;
  if v_seen < p_count then
    return coalesce(v_keys, '{}');
  end if;
  -- More are due than were read, perhaps all of them of one tenant.
  execute format($sql$
    with recursive owners as (
      (select e.owner, %3$s as at from kv.entries e where %2$s and e.owner is not null order by e.owner, %3$s limit 1)
      union all
      select n.* from owners o cross join lateral (
        select e.owner, %3$s as at from kv.entries e where %2$s and e.owner > o.owner order by e.owner, %3$s limit 1) n
    ), firsts as materialized (
      select o.owner from owners o where o.at <= ($1->>'now') collate "C" order by o.at limit $3
    ), due as (
      select d.* from firsts f cross join lateral (
        select e.key, %3$s as at, row_number() over (order by %3$s, e.key) as rank from kv.entries e
        where %1$s and e.owner = f.owner order by %3$s, e.key
        limit least(($1->>'perTenant')::integer, (select $3 / greatest(count(*), 1) + 1 from firsts))) d
      union all
      (select e.key, %3$s as at, row_number() over (order by %3$s, e.key) as rank from kv.entries e
       where %1$s and e.owner is null order by %3$s, e.key limit ($1->>'perTenant')::integer)
    )
    select array_agg(d.key order by d.rank, d.at, d.key) from (select * from due order by rank, at, key limit $3) d$sql$, v_is_due, v_where, v_due)
    into v_keys using p_claim, p_now, p_count;
  return coalesce(v_keys, '{}');
end $$;

-- One statement finds, locks and changes the entries. An entry that another claim has locked is skipped; one that it has changed is
-- no longer due when its lock is taken. Of the candidates of a fair claim there are four times as many, for claims at the same time.
create function kv_service.claim(p_claim jsonb, p_now timestamptz) returns json
language plpgsql set random_page_cost = 1.1 as $$
declare
  v_due text := kv.field_sql(p_claim->>'due', 'time');
  v_limit integer := (p_claim->>'limit')::integer;
  v_fair boolean := p_claim ? 'perTenant';
  v_keys text[] := case when v_fair then due_keys(p_claim, 4 * v_limit, p_now) end;
  v_claimed json;
begin
  execute format($sql$
    with taken as materialized (
      select e.key, %2$s as position from kv.entries e %3$s where %1$s and %4$s <= ($1->>'now') collate "C"
      order by %2$s, e.key limit $4 for update of e skip locked
    ), claimed as (
      update kv.entries e set value = e.value || ($1->'set') || jsonb_build_object($1->>'due', $1->'until'), version = nextval('kv.versions'), updated_at = $2
      from taken t where e.key = t.key and e.key >= %5$L and e.key < %6$L
      returning t.position, e.key, e.value, e.version, e.owner, e.created_at, e.updated_at, e.expires_at
    )
    select json_agg(r) from (
      select c.key, c.value, c.version::text, c.owner, kv.epoch_ms(c.created_at) as created_at, kv.epoch_ms(c.updated_at) as updated_at,
        kv.epoch_ms(c.expires_at) as expires_at from claimed c order by c.position, c.key) r$sql$,
    kv.where_sql(p_claim), case when v_fair then 'c.position' else v_due end,
    case when v_fair then 'join unnest($3) with ordinality c(key, position) on c.key = e.key' else '' end,
    v_due, (p_claim->>'family') || ':', (p_claim->>'family') || ';')
    into v_claimed using p_claim, p_now, v_keys, v_limit;
  return v_claimed;
end $$;

-- Takes tokens from token buckets, for rate limits. Created after the copies (70_copies.sql): a tenant takes nothing.
--
-- p_takes is [{key, capacity, window, cost, wanted}], with each key once. A bucket holds at most `capacity` tokens and is refilled
-- evenly, from empty to full in `window` seconds. `cost` is charged also when the bucket has less. Of the `wanted` further tokens,
-- at most a twentieth of what is left is taken: `more`.

-- The bucket after one call, from its value before (null if it is new): `had` is what it held before the call, by the server's
-- clock, because the clocks of the callers differ. Called under the lock of the row. The least number of tokens is such that a full
-- window refills one. Rounded down, so that no rounding adds tokens. If the clock was set back, nothing is refilled in this call.
create function kv_service.charged(p_bucket jsonb, p_take jsonb) returns jsonb
language plpgsql as $$
declare
  v_now numeric := extract(epoch from clock_timestamp());
  v_capacity numeric := (p_take->'capacity')::numeric;
  v_had numeric := case when p_bucket is null then v_capacity else least(v_capacity, (p_bucket->'tokens')::numeric
    + greatest(0, v_now - (p_bucket->'at')::numeric) * v_capacity / (p_take->'window')::numeric) end;
  v_left numeric := v_had - (p_take->'cost')::numeric;
  v_more numeric := least((p_take->'wanted')::numeric, trunc(greatest(v_left, 0) / 20));
begin
  return jsonb_build_object('capacity', v_capacity, 'window', p_take->'window', 'cost', p_take->'cost', 'wanted', p_take->'wanted',
    'at', v_now, 'had', floor(v_had * 1000000) / 1000000, 'more', v_more,
    'tokens', floor(greatest(v_left - v_more, 1 - v_capacity) * 1000000) / 1000000);
end $$;

-- Whether the member is a whole number from p_least to p_most.
create function kv.is_whole(p_value jsonb, p_least numeric, p_most numeric) returns boolean
language sql immutable parallel safe
return case when jsonb_typeof(p_value) = 'number'
  then p_value::numeric between p_least and p_most and p_value::numeric = trunc(p_value::numeric) else false end;

-- Whether it is such a take, with whole numbers. The cost is the sum of many calls.
create function kv_service.is_take(p_take jsonb) returns boolean
language sql immutable
return coalesce(p_take->>'key' ~ '^ratelimit:[A-Za-z0-9._~@+-]+$' and length(p_take->>'key') <= 138
  and kv.is_whole(p_take->'capacity', 1, 10000000) and kv.is_whole(p_take->'window', 1, 10000000)
  and kv.is_whole(p_take->'cost', 0, 9007199254740991) and kv.is_whole(p_take->'wanted', 0, 10000000), false);

-- The end of a bucket: the third window from now, by when it must be full again.
create function kv.bucket_end(p_take jsonb, p_windows integer) returns timestamptz
language sql volatile
return clock_timestamp() + p_windows * make_interval(secs => (p_take->'window')::integer);

-- The buckets after the calls: {key: {had, more, tokens, …}}. A bucket expires when it must be full again; its expiry changes once a
-- window, so that an update stays on its page and changes no index. Unless p_wait, a bucket that another transaction has locked is
-- null and not charged, so that it delays no other. With p_wait, rows are locked in the order of their keys.
create function kv_service.take(p_takes jsonb, p_wait boolean) returns json
language plpgsql as $$
declare
  v_takes jsonb;
  v_keys text[];
  v_valid boolean;
  v_found text[];
  v_held text[] := '{}';
  v_taken json;
  v_created jsonb;
begin
  -- The function writes values without the checks of a commit, so it writes no other family and no other amounts.
  select jsonb_object_agg(t.key, t.take) filter (where t.key is not null), array_agg(t.key), bool_and(t.valid) into v_takes, v_keys, v_valid
    from (select take->>'key' as key, take, is_take(take) as valid from jsonb_array_elements(p_takes) take) t;
  if not v_valid then
    raise exception 'must be takes from rate limits, with whole numbers' using errcode = 'KV001', detail = '/takes';
  end if;
  -- No caller waits for the disk: what a crash loses is the last fraction of a second.
  perform set_config('synchronous_commit', 'off', true);
  if p_wait then
    v_found := array(select e.key from kv.entries e where e.key = any(v_keys) and e.key >= 'ratelimit:' and e.key < 'ratelimit;' order by e.key for no key update);
  else
    v_found := array(select e.key from kv.entries e where e.key = any(v_keys) and e.key >= 'ratelimit:' and e.key < 'ratelimit;' for no key update skip locked);
  end if;
  with taken as (
    update kv.entries e set value = charged(e.value, v_takes->e.key), version = nextval('kv.versions'), updated_at = clock_timestamp(),
      expires_at = case when e.expires_at > kv.bucket_end(v_takes->e.key, 2) then e.expires_at else kv.bucket_end(v_takes->e.key, 3) end
    where e.key = any(v_found) and e.key >= 'ratelimit:' and e.key < 'ratelimit;'
    returning e.key, e.value
  ) select json_object_agg(t.key, t.value) into v_taken from taken t;
  if cardinality(v_found) = cardinality(v_keys) then
    return v_taken;
  end if;
  -- The other buckets are held or new. If another transaction creates one of the new ones, this one waits for it.
  v_held := array(select e.key from kv.entries e where e.key = any(v_keys) and e.key >= 'ratelimit:' and e.key < 'ratelimit;' and e.key <> all(v_found));
  with created as (
    insert into kv.entries as e (key, value, version, owner, cascades, expires_at, created_at, updated_at)
    select k.key, charged(null, v_takes->k.key), nextval('kv.versions'), null, true, kv.bucket_end(v_takes->k.key, 3), clock_timestamp(), clock_timestamp()
    from unnest(v_keys) k(key) where k.key <> all(v_found) and k.key <> all(v_held) order by k.key collate "C"
    on conflict (key) do update set value = charged(e.value, v_takes->e.key), version = excluded.version, updated_at = clock_timestamp(),
      expires_at = case when e.expires_at > kv.bucket_end(v_takes->e.key, 2) then e.expires_at else excluded.expires_at end
    returning e.key, e.value
  ) select jsonb_object_agg(t.key, t.value) into v_created
    from (select * from created union all select h.key, null from unnest(v_held) h(key)) t;
  return coalesce(v_taken::jsonb, '{}') || coalesce(v_created, '{}');
end $$;

-- Adds the 16 shards of every rollup to the shard -1, which only this function and kv.fill_rollup write, and removes groups that have
-- become empty. Reads then add up one row a group, and what was written since. Created after the copies (70_copies.sql): a tenant folds
-- nothing. The locks are those of a commit, in the same order; writers wait for some milliseconds. A cascade takes them in another order;
-- after a deadlock with one, the program repeats the fold. Returns the number of rows added.
create function kv_service.fold_rollups() returns bigint
language plpgsql as $$
declare
  v_rollup text;
  v_all bigint := 0;
begin
  for v_rollup in select r.rollup from kv.rollups r order by 1 loop
    perform pg_advisory_xact_lock(hashtext('kv.rollup:' || v_rollup), shard) from generate_series(0, 15) shard;
    v_all := v_all + (select count(*) from kv.rollup_shards r where r.rollup = v_rollup and r.shard >= 0);
    with folded as (
      delete from kv.rollup_shards r where r.rollup = v_rollup and r.shard >= 0 returning r.bucket, r.count, r.total
    )
    insert into kv.rollup_shards as r (rollup, shard, bucket, count, total)
    select v_rollup, -1, f.bucket, sum(f.count), sum(f.total) from folded f group by f.bucket order by f.bucket
    on conflict (rollup, bucket, shard) do update set count = r.count + excluded.count, total = r.total + excluded.total;
    delete from kv.rollup_shards r where r.rollup = v_rollup and r.shard = -1 and r.count = 0 and r.total = 0;
  end loop;
  return v_all;
end $$;

-- The entry points: security definer functions in `public`, so that PostgREST can call them. Each returns one value. `kv_*` are for
-- the service; `kv_tenant_*` first bind the call to its tenant.
--
-- Each pins its search_path: pg_catalog first, its role's functions next, pg_temp last, so that a session's own types, tables and
-- functions are never used. Each sets row_security, which pg_dump may leave off in a pooled session. Plans are generic, because the
-- best plan does not depend on the keys.

-- A commit requires READ COMMITTED: with an older snapshot, its reads after locking would be outdated.
create function kv.assert_isolation() returns void
language plpgsql as $$
begin
  if current_setting('transaction_isolation') <> 'read committed' then
    raise exception 'writes require the isolation level read committed, not %', current_setting('transaction_isolation') using errcode = 'KV008';
  end if;
end $$;

create function public.kv_get(p_key text, p_now timestamptz) returns json
language plpgsql stable security definer set search_path = pg_catalog, kv_service, pg_temp set row_security = on set plan_cache_mode = force_generic_plan as $$
begin
  return (select row_to_json(r) from (
    select e.key, e.value, e.version::text, e.owner,
      kv.epoch_ms(e.created_at) as created_at, kv.epoch_ms(e.updated_at) as updated_at, kv.epoch_ms(e.expires_at) as expires_at
    from kv.entries e where e.key = p_key and (e.expires_at is null or e.expires_at > p_now)) r);
end $$;

-- Few keys are looked up one by one, as in kv_get: equality with a variable excludes the other partitions before the plan starts. All
-- look-ups of a stable function have one snapshot.
create function public.kv_mget(p_keys text[], p_now timestamptz) returns json
language plpgsql stable security definer set search_path = pg_catalog, kv_service, pg_temp set row_security = on set plan_cache_mode = force_generic_plan as $$
declare
  v_key text;
  v_entry text;
  v_found text := '';
begin
  if cardinality(p_keys) > 4 then
    return mget(null, p_keys, p_now);
  end if;
  foreach v_key in array p_keys loop
    v_entry := (select row_to_json(r)::text from (
      select e.key, e.value, e.version::text, e.owner,
        kv.epoch_ms(e.created_at) as created_at, kv.epoch_ms(e.updated_at) as updated_at, kv.epoch_ms(e.expires_at) as expires_at
      from kv.entries e where e.key = v_key and (e.expires_at is null or e.expires_at > p_now)) r);
    if v_entry is not null then
      v_found := v_found || ',' || v_entry;
    end if;
  end loop;
  return '[' || substr(v_found, 2) || ']';
end $$;

create function public.kv_list(p_start text, p_end text, p_reverse boolean, p_limit integer, p_keys_only boolean, p_now timestamptz) returns json
language plpgsql stable security definer set search_path = pg_catalog, kv_service, pg_temp set row_security = on set plan_cache_mode = force_generic_plan as $$
begin
  return list(null, p_start, p_end, p_reverse, p_limit, p_keys_only, p_now);
end $$;

create function public.kv_count(p_start text, p_end text, p_now timestamptz) returns bigint
language plpgsql stable security definer set search_path = pg_catalog, kv_service, pg_temp set row_security = on set plan_cache_mode = force_generic_plan as $$
begin
  return count(null, p_start, p_end, p_now);
end $$;

create function public.kv_query(p_query jsonb, p_now timestamptz) returns json
language plpgsql stable security definer set search_path = pg_catalog, kv_service, pg_temp set row_security = on set plan_cache_mode = force_generic_plan as $$
begin
  return page(p_query, p_now);
end $$;

create function public.kv_total(p_query jsonb, p_now timestamptz) returns bigint
language plpgsql stable security definer set search_path = pg_catalog, kv_service, pg_temp set row_security = on set plan_cache_mode = force_generic_plan as $$
begin
  return total(p_query, p_now);
end $$;

create function public.kv_aggregate(p_query jsonb, p_now timestamptz) returns json
language plpgsql stable security definer set search_path = pg_catalog, kv_service, pg_temp set row_security = on set plan_cache_mode = force_generic_plan as $$
begin
  return groups(p_query, p_now);
end $$;

-- Several reads with one snapshot. Each is {query}, {total} or {aggregate, rollup?}, with the argument of kv_query, kv_total or
-- kv_aggregate. Returns their results in the same order.
create function public.kv_read_all(p_reads jsonb, p_now timestamptz) returns json
language plpgsql stable security definer set search_path = pg_catalog, kv_service, pg_temp set row_security = on set plan_cache_mode = force_generic_plan as $$
declare
  v_results json[] := rollups(p_reads);
  v_read jsonb;
begin
  for i in 1 .. cardinality(v_results) loop
    v_read := p_reads->(i - 1);
    v_results[i] := case
      when v_read ? 'query' then page(v_read->'query', p_now)
      when v_read ? 'total' then to_json(total(v_read->'total', p_now))
      else coalesce(v_results[i], groups(v_read->'aggregate', p_now)) end;
  end loop;
  return array_to_json(v_results);
end $$;

-- The lock timeout of a commit (55P03, rolled back), so that one stuck session does not block all writes.
create function public.kv_commit(p_checks jsonb, p_mutations jsonb, p_lock_timeout_ms integer, p_now timestamptz) returns json
language plpgsql security definer set search_path = pg_catalog, kv_service, pg_temp set row_security = on set plan_cache_mode = force_generic_plan set lock_timeout = '5s' as $$
begin
  perform kv.assert_isolation();
  perform set_config('lock_timeout', greatest(1, least(coalesce(p_lock_timeout_ms, 5000), 5000))::text, true);
  return commit(null, p_checks, p_mutations, p_now);
end $$;

create function public.kv_write_many(p_calls jsonb, p_now timestamptz) returns json
language plpgsql security definer set search_path = pg_catalog, kv_service, pg_temp set row_security = on set plan_cache_mode = force_generic_plan set lock_timeout = '1s' as $$
begin
  perform kv.assert_isolation();
  return write_many(p_calls, p_now);
end $$;

create function public.kv_sweep(p_limit integer, p_except text[], p_now timestamptz) returns bigint
language plpgsql security definer set search_path = pg_catalog, kv_service, pg_temp set row_security = on set plan_cache_mode = force_generic_plan set lock_timeout = '5s' as $$
begin
  return sweep(p_limit, p_except, p_now);
end $$;

create function public.kv_claim(p_claim jsonb, p_now timestamptz) returns json
language plpgsql security definer set search_path = pg_catalog, kv_service, pg_temp set row_security = on set plan_cache_mode = force_generic_plan set lock_timeout = '5s' as $$
begin
  perform kv.assert_isolation();
  return claim(p_claim, p_now);
end $$;

create function public.kv_take(p_takes jsonb, p_wait boolean) returns json
language plpgsql security definer set search_path = pg_catalog, kv_service, pg_temp set row_security = on set plan_cache_mode = force_generic_plan set lock_timeout = '1s' as $$
begin
  perform kv.assert_isolation();
  return take(p_takes, p_wait);
end $$;

create function public.kv_fold_rollups() returns bigint
language plpgsql security definer set search_path = pg_catalog, kv_service, pg_temp set row_security = on set plan_cache_mode = force_generic_plan set lock_timeout = '5s' as $$
begin
  perform kv.assert_isolation();
  return fold_rollups();
end $$;

-- Returns the newest migration, pending builds, the reason why writes are refused, or null, and the server's time. Volatile, because PostgREST runs
-- stable functions in read-only transactions.
create function public.kv_ping() returns json
language plpgsql security definer set search_path = pg_catalog, kv_service, pg_temp set row_security = on as $$
begin
  return json_build_object('migration', (select max(m.version) from kv.migrations m),
    'pending', (select coalesce(json_agg(p.kind || ' ' || p.name), '[]') from kv.pending() p),
    'refusesWrites', case
      when current_setting('transaction_read_only')::boolean then 'the database is read-only'
      when current_setting('transaction_isolation') <> 'read committed' then
        format('transactions of this login are %s, not read committed', current_setting('transaction_isolation')) end,
    'now', to_char(clock_timestamp() at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"'));
end $$;

-- The head of an audit chain, {seq, hash}; null if the chain has no entries.
create function public.kv_chain_head(p_scope text) returns json
language plpgsql stable security definer set search_path = pg_catalog, kv_service, pg_temp set row_security = on as $$
begin
  return (select json_build_object('seq', c.seq, 'hash', c.hash) from kv.chains c where c.scope = p_scope);
end $$;

-- The heads of the audit chains after the scope p_after, in the order of the scopes: [{scope, seq, hash}].
create function public.kv_chain_heads(p_after text, p_limit integer) returns json
language plpgsql stable security definer set search_path = pg_catalog, kv_service, pg_temp set row_security = on set plan_cache_mode = force_generic_plan as $$
begin
  return (select coalesce(json_agg(r), '[]') from (
    select c.scope, c.seq, c.hash from kv.chains c where p_after is null or c.scope > p_after order by c.scope limit p_limit) r);
end $$;

-- Reads for several tenants in one call: p_keys[i] is read for tenant p_tenants[i].
create function public.kv_tenant_mget(p_tenants text[], p_keys text[], p_now timestamptz) returns json
language plpgsql security definer set search_path = pg_catalog, kv_tenant, pg_temp set row_security = on set plan_cache_mode = force_generic_plan as $$
declare
  v_entries json;
begin
  perform kv.bind(p_tenants);
  v_entries := mget(p_tenants, p_keys, p_now);
  perform kv.unbind();
  return v_entries;
end $$;

create function public.kv_tenant_list(p_tenant text, p_start text, p_end text, p_reverse boolean, p_limit integer, p_keys_only boolean, p_now timestamptz)
returns json
language plpgsql security definer set search_path = pg_catalog, kv_tenant, pg_temp set row_security = on set plan_cache_mode = force_generic_plan as $$
declare
  v_page json;
begin
  perform kv.bind(array[p_tenant]);
  v_page := list(p_tenant, p_start, p_end, p_reverse, p_limit, p_keys_only, p_now);
  perform kv.unbind();
  return v_page;
end $$;

create function public.kv_tenant_count(p_tenant text, p_start text, p_end text, p_now timestamptz) returns bigint
language plpgsql security definer set search_path = pg_catalog, kv_tenant, pg_temp set row_security = on set plan_cache_mode = force_generic_plan as $$
declare
  v_count bigint;
begin
  perform kv.bind(array[p_tenant]);
  v_count := count(p_tenant, p_start, p_end, p_now);
  perform kv.unbind();
  return v_count;
end $$;

-- The same for rows of the bound tenant alone. Row security is checked before the range of a declared field, so all earlier rows of the
-- tenant would be read. This reads as the service, and the query names the tenant, which is checked here.
create function kv.walk_of_tenant(p_query jsonb, p_now timestamptz) returns json
language plpgsql stable security definer set search_path = pg_catalog, kv_service, pg_temp set row_security = on as $$
begin
  if (p_query->>'owner' = any (kv.tenants())) is not true then
    raise exception 'must be the tenant of the call' using errcode = 'KV001', detail = '/tenantId';
  end if;
  return walk(p_query, p_now);
end $$;

create function public.kv_tenant_query(p_tenant text, p_query jsonb, p_now timestamptz) returns json
language plpgsql security definer set search_path = pg_catalog, kv_tenant, pg_temp set row_security = on set plan_cache_mode = force_generic_plan as $$
declare
  v_page json;
begin
  perform kv.bind(array[p_tenant]);
  v_page := case when p_query ? 'walk' and p_query->>'owner' = p_tenant then kv.walk_of_tenant(p_query, p_now) else page(p_query, p_now) end;
  perform kv.unbind();
  return v_page;
end $$;

create function public.kv_tenant_total(p_tenant text, p_query jsonb, p_now timestamptz) returns bigint
language plpgsql security definer set search_path = pg_catalog, kv_tenant, pg_temp set row_security = on set plan_cache_mode = force_generic_plan as $$
declare
  v_total bigint;
begin
  perform kv.bind(array[p_tenant]);
  v_total := total(p_query, p_now);
  perform kv.unbind();
  return v_total;
end $$;

create function public.kv_tenant_aggregate(p_tenant text, p_query jsonb, p_now timestamptz) returns json
language plpgsql security definer set search_path = pg_catalog, kv_tenant, pg_temp set row_security = on set plan_cache_mode = force_generic_plan as $$
declare
  v_groups json;
begin
  perform kv.bind(array[p_tenant]);
  v_groups := aggregate(p_query, p_now);
  perform kv.unbind();
  return v_groups;
end $$;

create function public.kv_tenant_commit(p_tenant text, p_checks jsonb, p_mutations jsonb, p_lock_timeout_ms integer, p_now timestamptz) returns json
language plpgsql security definer set search_path = pg_catalog, kv_tenant, pg_temp set row_security = on set plan_cache_mode = force_generic_plan set lock_timeout = '5s' as $$
declare
  v_result json;
begin
  perform kv.assert_isolation();
  perform set_config('lock_timeout', greatest(1, least(coalesce(p_lock_timeout_ms, 5000), 5000))::text, true);
  perform kv.bind(array[p_tenant]);
  v_result := commit(p_tenant, p_checks, p_mutations, p_now);
  perform kv.unbind();
  return v_result;
end $$;

-- Each write has its tenant.
create function public.kv_tenant_write_many(p_calls jsonb, p_now timestamptz) returns json
language plpgsql security definer set search_path = pg_catalog, kv_tenant, pg_temp set row_security = on set plan_cache_mode = force_generic_plan set lock_timeout = '1s' as $$
declare
  v_results json;
begin
  perform kv.assert_isolation();
  perform kv.bind(array(select c->>'tenant' from jsonb_array_elements(p_calls) c));
  v_results := write_many(p_calls, p_now);
  perform kv.unbind();
  return v_results;
end $$;

create function public.kv_tenant_chain_head(p_tenant text, p_scope text) returns json
language plpgsql security definer set search_path = pg_catalog, kv_tenant, pg_temp set row_security = on as $$
declare
  v_head json;
begin
  perform kv.bind(array[p_tenant]);
  v_head := (select json_build_object('seq', c.seq, 'hash', c.hash) from kv.chains c where c.scope = p_scope);
  perform kv.unbind();
  return v_head;
end $$;

-- Transfers the entry points to their roles and revokes all other access. Only service_role may execute them.
do $$
declare
  v_function regprocedure;
begin
  for v_function in
    select p.oid from pg_proc p join pg_namespace n on n.oid = p.pronamespace where n.nspname = 'public' and p.proname like 'kv\_%'
  loop
    execute format('alter function %s owner to %I', v_function, case when v_function::text ~ '^(public\.)?kv_tenant_' then 'kv_tenant' else 'kv_service' end);
    execute format('revoke all on function %s from public, anon, authenticated', v_function);
    execute format('grant execute on function %s to service_role', v_function);
  end loop;
end $$;

revoke all on schema kv, kv_service, kv_tenant from public;
revoke all on all functions in schema kv, kv_service, kv_tenant from public;
grant execute on all functions in schema kv to kv_service, kv_tenant;
grant execute on all functions in schema kv_service to kv_service;
grant execute on all functions in schema kv_tenant to kv_tenant;
grant execute on function kv.refuse_change(), kv.colons(text), kv.number_field(jsonb, text), kv.purge_floor() to kv_retention;
-- Reads as the service what a bound tenant owns.
alter function kv.walk_of_tenant(jsonb, timestamptz) owner to kv_service;
-- The only function that deletes audit entries. Tenants cannot call it.
alter function kv.purge_chain(text, text, bigint, text, text) owner to kv_retention;
revoke all on function kv.purge_chain(text, text, bigint, text, text) from public, kv_tenant;
grant execute on function kv.purge_chain(text, text, bigint, text, text) to kv_service;
-- Functions that only migrations call.
do $$
declare
  v_function regprocedure;
begin
  for v_function in
    select p.oid from pg_proc p where p.pronamespace = 'kv'::regnamespace and p.proname ~ '^(add_(family|entity|index|rollup|pages?)$|drop_|fill_rollup$|index_(sql|name)$|is_large$|declared$|has_undeclared$|attach_families$)'
  loop
    execute format('revoke execute on function %s from kv_service, kv_tenant', v_function);
  end loop;
end $$;
revoke create on schema public, kv from kv_service, kv_tenant;
revoke create on schema kv from kv_retention;

-- Written by `npm run schema` from the declarations.

-- domain-claim: The tenant that holds a custom domain.
select kv.add_family('domain');
select kv.add_entity('domain-claim', 'domain', 1, owner_rule => 'given');

-- sign-up: Says that a tenant was created on a day. It counts as a sign-up of that day also after the tenant was deleted.
select kv.add_family('signup');
select kv.add_entity('sign-up', 'signup', 2, owner_rule => 'platform');
select kv.add_rollup('sign-up', '{day}');

-- subdomain-claim: The tenant that holds a subdomain label.
select kv.add_family('subdomain');
select kv.add_entity('subdomain-claim', 'subdomain', 1, owner_rule => 'given');

-- tenant: A customer of the platform.
select kv.add_family('tenant');
select kv.add_entity('tenant', 'tenant', 1, owner_rule => 'segment');
select kv.add_index('tenant', fields) from unnest(array[
  'createdAt time', 'name text', 'subdomain text', 'mrr number', 'usagePercent number', 'owner text', 'trialEndsAt time',
  'status text, createdAt time', 'status text, name text', 'status text, mrr number', 'plan text, createdAt time', 'plan text, name text',
  'plan text, mrr number', 'region text, createdAt time', 'status text, plan text, createdAt time', 'status text, plan text, mrr number',
  'ownerUserId text', 'search(name, subdomain, owner, ownerName)'
]) fields;
select kv.add_rollup('tenant', '{status, plan}', sum => 'mrr');

-- plan: What a tenant can subscribe to: price, limits, features.
select kv.add_family('plan');
select kv.add_entity('plan', 'plan', 1, owner_rule => 'platform', tenant_readable => true);
select kv.add_index('plan', fields) from unnest(array[
  'createdAt time', 'name text', 'price number', 'search(name, displayName, description)'
]) fields;

-- plan-version: The price, limits and features that a plan had. It is never changed, and subscribers keep the version they were sold.
select kv.add_family('planversion');
select kv.add_entity('plan-version', 'planversion', 2, owner_rule => 'platform', tenant_readable => true);
select kv.add_index('plan-version', fields) from unnest(array[
  'planId text, n number', 'createdAt time'
]) fields;

-- subscription: The subscription of a tenant to a plan.
select kv.add_family('subscription');
select kv.add_entity('subscription', 'subscription', 1, owner_rule => 'segment');
select kv.add_index('subscription', fields) from unnest(array[
  'planId text, planVersion number', 'status text, currentPeriodEnd time', 'nextBillingAt time'
]) fields;
select kv.add_rollup('subscription', '{status}');

-- metric: A kind of usage that is metered. A gauge is a level and carries over to the next month; a counter starts at zero each month.
select kv.add_family('metric');
select kv.add_entity('metric', 'metric', 1, owner_rule => 'platform', tenant_readable => true);
select kv.add_index('metric', fields) from unnest(array[
  'createdAt time', 'name text', 'search(name, description)'
]) fields;

-- usage-change: Says that usage of a tenant in a month changed, so that the job `usage` finds it.
select kv.add_family('usagechange');
select kv.add_entity('usage-change', 'usagechange', 2, owner_rule => 'segment');
select kv.add_index('usage-change', 'until time');

-- usage-level: A copy of one metric's usage of a tenant in a month, at most a minute old, by which all tenants are sorted and summed.
select kv.add_family('usagelevel');
select kv.add_entity('usage-level', 'usagelevel', 3, owner_rule => 'segment');
select kv.add_index('usage-level', fields) from unnest(array[
  'metric text, period text, percentage number', 'metric text, period text, current number', 'period text, percentage number',
  'tenantId text, period text', 'updatedAt time'
]) fields;
select kv.add_rollup('usage-level', '{metric, period}', sum => 'current');

-- usage-month: The month that the percentages of all tenants stand for. In another month, the job `usage` computes them again.
select kv.add_family('usagemonth');
select kv.add_entity('usage-month', 'usagemonth', 1, owner_rule => 'platform');

-- usage-record: One metric of one tenant in one month.
select kv.add_family('usage', 75);
select kv.add_entity('usage-record', 'usage', 3, owner_rule => 'segment');

-- alert: Usage of a metric reached a percentage of its limit. There is one for each metric, month and threshold.
select kv.add_family('alert');
select kv.add_entity('alert', 'alert', 2, owner_rule => 'segment');
select kv.add_index('alert', fields) from unnest(array[
  'owner, triggeredAt time', 'openUntil time', 'resolvedAt time'
]) fields;
select kv.add_rollup('alert', '{openUntil}');

-- notification: A message to the users of a tenant, or of all tenants.
select kv.add_family('notification');
select kv.add_entity('notification', 'notification', 2, owner_rule => 'segment', tenant_readable => true);
select kv.add_index('notification', fields) from unnest(array[
  'tenantId text, publishAt time', 'tenantId text, expiresAt time', 'id text', 'expiresAt time'
]) fields;

-- notification-preferences: The categories of notifications that one user of one tenant has muted, by channel.
select kv.add_family('inbox', 75);
select kv.add_entity('notification-preferences', 'inbox', 3, owner_rule => 'segment');
select kv.add_index('notification-preferences', fields, colons => 3) from unnest(array[
  'updatedAt time', 'userId text'
]) fields;

-- notification-reads: What one user of one tenant has read: an instant up to which, and single notifications after it.
select kv.add_entity('notification-reads', 'inbox', 2, owner_rule => 'segment');
select kv.add_index('notification-reads', fields, colons => 2) from unnest(array[
  'updatedAt time', 'userId text'
]) fields;

-- notification-revision: Counts the changes of the notifications of one tenant, or of the platform. A cached unread count belongs to one revision.
select kv.add_entity('notification-revision', 'inbox', 1, owner_rule => 'segment', tenant_readable => true);

-- email: A notification for one user by e-mail. Its text and address are read when it is sent.
select kv.add_family('email');
select kv.add_entity('email', 'email', 1, owner_rule => 'given');
select kv.add_index('email', fields) from unnest(array[
  'createdAt time', 'dueAt time', 'status text, createdAt time', 'tenantId text, createdAt time', 'userId text'
]) fields;

-- email-address: The address to which one user of one tenant wants notifications.
select kv.add_family('emailaddress');
select kv.add_entity('email-address', 'emailaddress', 2, owner_rule => 'segment');
select kv.add_index('email-address', fields) from unnest(array[
  'tenantId text', 'subject text', 'address text'
]) fields;

-- mailing: A notification whose mails are not all made yet, and how far the job has come.
select kv.add_family('mailing');
select kv.add_entity('mailing', 'mailing', 2, owner_rule => 'segment');
select kv.add_index('mailing', 'dueAt time');

-- reservation: An amount of a metric that is held for a caller until it commits the amount that it used, releases it, or lets it expire.
select kv.add_family('reservation');
select kv.add_entity('reservation', 'reservation', 2, owner_rule => 'segment');
select kv.add_index('reservation', fields) from unnest(array[
  'owner, createdAt time', 'owner, status text, expiresAt time', 'status text, expiresAt time', 'endedAt time'
]) fields;

-- usage-event: A usage event that was received. It is written in the commit that counts it, and makes a repeat of it a duplicate.
select kv.add_family('usageevent');
select kv.add_entity('usage-event', 'usageevent', 1, owner_rule => 'given');
select kv.add_index('usage-event', fields) from unnest(array[
  'owner, time time', 'owner, metric text, time time', 'receivedAt time', 'userId text'
]) fields;

-- usage-groups: The usage events of one metric of one tenant in one month, summed by the values of each dimension.
select kv.add_family('usagegroups', 75);
select kv.add_entity('usage-groups', 'usagegroups', 3, owner_rule => 'segment');

-- closing: A month that is closed: its usage above the limits is billed.
select kv.add_family('closing');
select kv.add_entity('closing', 'closing', 1, owner_rule => 'platform');
select kv.add_index('closing', fields) from unnest(array[
  'period text', 'createdAt time'
]) fields;

-- audit-entry: A record of a change: the action, the actor and the resource. Append-only and hash-chained.
select kv.add_family('audit');
select kv.add_entity('audit-entry', 'audit', 5, owner_rule => 'segment', cascades => false, append_only => true);
select kv.add_entity('audit-entry', 'audit', 4, owner_rule => 'platform', cascades => false, append_only => true);
select kv.add_index('audit-entry', fields) from unnest(array[
  'owner, seq number', 'timestamp time', 'owner, timestamp time', 'resource text, resourceId text, timestamp time',
  'action text, timestamp time', 'userId text, timestamp time', 'userEmail text, timestamp time'
]) fields;

-- checkpoint: The hash of one entry of an audit chain, signed and stored apart from the chain.
select kv.add_family('checkpoint');
select kv.add_entity('checkpoint', 'checkpoint', 2, owner_rule => 'given', cascades => false);

-- personal-key: A key of one person, with which audit entries hold the person's data. Its deletion erases that data.
select kv.add_family('personalkey');
select kv.add_entity('personal-key', 'personalkey', 1, owner_rule => 'platform');
select kv.add_index('personal-key', fields) from unnest(array[
  'person text, createdAt time', 'emailHash text, createdAt time', 'createdAt time'
]) fields;

-- audit-export: An export of audit entries to a file, which a job writes.
select kv.add_family('auditexport');
select kv.add_entity('audit-export', 'auditexport', 1, owner_rule => 'given');
select kv.add_index('audit-export', fields, colons => 1) from unnest(array[
  'createdAt time', 'owner, createdAt time', 'status text, createdAt time', 'requestedBy text', 'actorEmail text'
]) fields;

-- open-audit-exports: The exports of one tenant, or of the platform, that may not have ended. Every new one changes it, so none exceeds the limit.
select kv.add_entity('open-audit-exports', 'auditexport', 2, owner_rule => 'segment');

-- audit-action: An action of the platform's own product that its services report to the audit log.
select kv.add_family('auditaction');
select kv.add_entity('audit-action', 'auditaction', 1, owner_rule => 'platform', tenant_readable => true);
select kv.add_index('audit-action', 'search(id, description)');

-- audit-receipt: Marks an entry that a service has reported, so that it is written once.
select kv.add_family('auditreceipt');
select kv.add_entity('audit-receipt', 'auditreceipt', 2, owner_rule => 'segment');
select kv.add_entity('audit-receipt', 'auditreceipt', 1, owner_rule => 'platform');
select kv.add_index('audit-receipt', 'receivedAt time');

-- audit-sink: A receiver, such as a SIEM, to which audit entries are sent.
select kv.add_family('auditsink');
select kv.add_entity('audit-sink', 'auditsink', 1, owner_rule => 'platform');
select kv.add_index('audit-sink', fields) from unnest(array[
  'createdAt time', 'dueAt time', 'search(name, url)'
]) fields;

-- admin: An administrator of the platform. `userId` is the user's Supabase Auth id.
select kv.add_family('admin');
select kv.add_entity('admin', 'admin', 1, owner_rule => 'platform');
select kv.add_index('admin', fields) from unnest(array[
  'createdAt time', 'email text', 'name text', 'role text', 'userId text', 'search(email, name)'
]) fields;

-- platform-settings: The settings of the platform. A setting that was never changed has its default.
select kv.add_family('platform');
select kv.add_entity('platform-settings', 'platform', 1, owner_rule => 'platform');
select kv.add_index('platform-settings', 'updatedBy text');

-- settings-change: One change of the platform's settings: who made it, and the settings before and after.
select kv.add_family('settings');
select kv.add_entity('settings-change', 'settings', 1, owner_rule => 'platform');
select kv.add_index('settings-change', fields) from unnest(array[
  'number number', 'createdAt time', 'changedBy text, number number'
]) fields;

-- private-metadata: What the platform notes of a tenant. No caller of the tenant sees it, nor its changes.
select kv.add_family('private');
select kv.add_entity('private-metadata', 'private', 1, owner_rule => 'segment');

-- counter: The last number of a series without gaps, such as the invoices of a year.
select kv.add_family('counter', 75);
select kv.add_entity('counter', 'counter', 1, owner_rule => 'platform');

-- credit-note: An amount by which an invoice is reduced. It is never changed.
select kv.add_family('creditnote');
select kv.add_entity('credit-note', 'creditnote', 2, owner_rule => 'segment', cascades => false);
select kv.add_index('credit-note', fields) from unnest(array[
  'owner, issuedAt time', 'issuedAt time'
]) fields;

-- invoice: What a tenant owes for a period. Its amounts never change; a credit note corrects them.
select kv.add_family('invoice');
select kv.add_entity('invoice', 'invoice', 2, owner_rule => 'segment', cascades => false);
select kv.add_index('invoice', fields) from unnest(array[
  'owner, issuedAt time', 'status text, dueDate time', 'issuedAt time'
]) fields;

-- movement: A change of the monthly recurring revenue. All movements of all tenants sum to the present revenue.
select kv.add_family('movement');
select kv.add_entity('movement', 'movement', 5, owner_rule => 'segment');
select kv.add_rollup('movement', '{month, kind}', sum => 'amount');

-- entitlements: What decides on a tenant's features and limits: the terms that it was sold, its grants, and whether it is active.
select kv.add_family('entitlements');
select kv.add_entity('entitlements', 'entitlements', 1, owner_rule => 'segment');
select kv.add_index('entitlements', 'nextExpiryAt time');

-- grant: A feature or limit that a tenant has beside its plan, or that an override takes away.
select kv.add_family('grant');
select kv.add_entity('grant', 'grant', 2, owner_rule => 'segment');
select kv.add_index('grant', fields) from unnest(array[
  'owner, createdAt time', 'kind text, key text', 'expiresAt time'
]) fields;

-- plan-migration: A move of existing subscribers to another version of their plan, or to another plan.
select kv.add_family('planmigration');
select kv.add_entity('plan-migration', 'planmigration', 1, owner_rule => 'platform');
select kv.add_index('plan-migration', fields) from unnest(array[
  'status text, createdAt time', 'createdAt time'
]) fields;

-- plan-move: A subscriber in a plan migration: whether it was moved, and why not.
select kv.add_family('planmove');
select kv.add_entity('plan-move', 'planmove', 2, owner_rule => 'platform');
select kv.add_index('plan-move', fields) from unnest(array[
  'migrationId text, status text, createdAt time', 'createdAt time'
]) fields;

-- policy: How long the records of one entity are kept, instead of the declared time: all, those of one tenant, or of the tenants of a plan.
select kv.add_family('policy');
select kv.add_entity('policy', 'policy', 1, owner_rule => 'platform');
select kv.add_index('policy', 'createdAt time');

-- retention-run: What a run of the cleanup that is not complete has deleted by one rule. Each deletion changes it in its commit.
select kv.add_family('retentionrun');
select kv.add_entity('retention-run', 'retentionrun', 3, owner_rule => 'platform');

-- compliance-request: A request of a data subject or tenant under data protection law, and how it was handled.
select kv.add_family('compliance');
select kv.add_entity('compliance-request', 'compliance', 2, owner_rule => 'segment');
select kv.add_index('compliance-request', fields) from unnest(array[
  'owner, created time', 'status text, runAt time', 'created time', 'id text', 'updatedAt time', 'requestedBy text', 'requestedByEmail text'
]) fields;

-- deletion-certificate: What the deletion of a tenant by a request has removed and kept, signed. It belongs to the platform and outlives the tenant.
select kv.add_family('certificate');
select kv.add_entity('deletion-certificate', 'certificate', 1, owner_rule => 'platform');
select kv.add_index('deletion-certificate', fields) from unnest(array[
  'deletedAt time', 'deletedTenant text, deletedAt time', 'status text, deletedAt time', 'requestedBy text'
]) fields;

-- export-run: Where the export of a compliance request stands. It is deleted when the export is complete.
select kv.add_family('exportrun');
select kv.add_entity('export-run', 'exportrun', 2, owner_rule => 'segment');

-- held-person: A user or an email address under legal hold. A commit that erases data of the person checks that there is none.
select kv.add_family('heldperson');
select kv.add_entity('held-person', 'heldperson', 2, owner_rule => 'platform');
select kv.add_index('held-person', 'name text');

-- legal-hold: A duty to keep the data of a tenant or of a person, until it is released.
select kv.add_family('legalhold');
select kv.add_entity('legal-hold', 'legalhold', 1, owner_rule => 'platform');
select kv.add_index('legal-hold', fields) from unnest(array[
  'createdAt time', 'status text, createdAt time', 'releasedAt time', 'userId text', 'placedBy text', 'releasedBy text', 'email text'
]) fields;

-- api-key: A credential of a program: of the platform, or of one tenant. Its secret is not stored.
select kv.add_family('apikey');
select kv.add_entity('api-key', 'apikey', 1, owner_rule => 'given');
select kv.add_index('api-key', fields) from unnest(array[
  'createdAt time', 'owner, createdAt time', 'name text', 'unusedSince time', 'nextCheckAt time', 'endsAt time', 'createdBy text',
  'search(name, description, prefix)'
]) fields;

-- api-key-hash: Finds an API key by the HMAC of its secret, and has what authentication needs of it. Each change of the key writes it too.
select kv.add_family('apikeyhash');
select kv.add_entity('api-key-hash', 'apikeyhash', 1, owner_rule => 'given');
select kv.add_index('api-key-hash', 'endsAt time');

-- delivery: One event for one webhook, and the attempts to send it. Its body is made from the event.
select kv.add_family('delivery');
select kv.add_entity('delivery', 'delivery', 5, owner_rule => 'given');
select kv.add_index('delivery', fields) from unnest(array[
  'webhookId text, timestamp time', 'webhookId text, status text, timestamp time', 'webhookId text, event text, timestamp time',
  'webhookId text, nextRetryAt time', 'createdAt time'
]) fields;

-- webhook: An endpoint of the platform or of a tenant to which events are sent, signed as Standard Webhooks describe.
select kv.add_family('webhook');
select kv.add_entity('webhook', 'webhook', 1, owner_rule => 'given');
select kv.add_index('webhook', fields) from unnest(array[
  'createdAt time', 'owner, createdAt time', 'tenantId text, status text', 'dueAt time', 'owner, dueAt time', 'nextCheckAt time',
  'search(url, description)'
]) fields;

-- webhook-count: The number of webhooks of a tenant, or of the platform. Creations and deletions change it, so it bounds concurrent ones.
select kv.add_family('webhookcount');
select kv.add_entity('webhook-count', 'webhookcount', 1, owner_rule => 'given');

-- webhook-replay: A request to send the events since an instant again, which the job works off in steps.
select kv.add_family('webhookreplay');
select kv.add_entity('webhook-replay', 'webhookreplay', 2, owner_rule => 'given');
select kv.add_index('webhook-replay', fields) from unnest(array[
  'webhookId text, createdAt time', 'dueAt time', 'createdAt time', 'requestedBy text'
]) fields;

-- root-key: A root key that encrypted fields, or did so. It contains nothing of the key but its id.
select kv.add_family('rootkey');
select kv.add_entity('root-key', 'rootkey', 1, owner_rule => 'platform');

-- integration: A tenant's connection to a provider, such as Stripe. Its credentials are encrypted, and no response shows them.
select kv.add_family('integration');
select kv.add_entity('integration', 'integration', 2, owner_rule => 'segment');
select kv.add_index('integration', fields) from unnest(array[
  'owner, provider text', 'nextCheckAt time'
]) fields;

-- connector-event: One call of an integration: what was called, by whom, with which outcome, and how long it took.
select kv.add_family('connector');
select kv.add_entity('connector-event', 'connector', 5, owner_rule => 'segment');
select kv.add_index('connector-event', fields) from unnest(array[
  'owner, timestamp time', 'timestamp time', 'userId text'
]) fields;

-- dead-letter: An item of a job that failed. It is retried with backoff; after 8 failed attempts it is dead.
select kv.add_family('dead');
select kv.add_entity('dead-letter', 'dead', 1, owner_rule => 'platform');
select kv.add_index('dead-letter', fields) from unnest(array[
  'status text, createdAt time', 'createdAt time'
]) fields;

-- schedule: When a job runs next, the lease of the run in progress, and the result of the last run.
select kv.add_family('schedule');
select kv.add_entity('schedule', 'schedule', 1, owner_rule => 'platform');
select kv.add_index('schedule', 'dueAt time');

-- flag: A feature flag: who gets a feature, or which variant of it.
select kv.add_family('flag');
select kv.add_entity('flag', 'flag', 1, owner_rule => 'platform', tenant_readable => true);
select kv.add_index('flag', fields, colons => 1) from unnest(array[
  'key text', 'name text', 'created time', 'updated time', 'createdBy text', 'search(key, name, description)'
]) fields;

-- flag-key-claim: The flag that holds or held a key. It outlives its flag, so that no other flag takes the key by accident.
select kv.add_family('flagkey');
select kv.add_entity('flag-key-claim', 'flagkey', 1, owner_rule => 'platform');

-- flag-override: What one tenant gets of a feature flag, whatever its rules say.
select kv.add_entity('flag-override', 'flag', 2, owner_rule => 'segment');
select kv.add_index('flag-override', fields, colons => 2) from unnest(array[
  'flagId text, createdAt time', 'expiresAt time'
]) fields;

-- flag-set: The revision of all flags. Every change of a flag counts it up, and processes that cache the flags compare its version.
select kv.add_family('flagset');
select kv.add_entity('flag-set', 'flagset', 1, owner_rule => 'platform', tenant_readable => true);

-- flag-evaluation: When a flag was last evaluated. It is created and deleted with the flag.
select kv.add_family('flageval');
select kv.add_entity('flag-evaluation', 'flageval', 1, owner_rule => 'platform');

-- event-head: The number of the last event. The commit that numbers events checks and changes it.
select kv.add_family('eventhead', 75);
select kv.add_entity('event-head', 'eventhead', 1, owner_rule => 'platform', tenant_readable => true);

-- file-chunk: A part of a stored file.
select kv.add_family('filechunk');
select kv.add_entity('file-chunk', 'filechunk', 3, owner_rule => 'segment');
select kv.add_entity('file-chunk', 'filechunk', 2, owner_rule => 'platform');

-- stored-file: A file that a job writes in steps and that signed links download until it expires.
select kv.add_family('file');
select kv.add_entity('stored-file', 'file', 2, owner_rule => 'segment');
select kv.add_entity('stored-file', 'file', 1, owner_rule => 'platform');

-- erasure: The erasure of a person, and which webhooks have acknowledged it. It names the person by pseudonyms only.
select kv.add_family('erasure');
select kv.add_entity('erasure', 'erasure', 1, owner_rule => 'platform');
select kv.add_index('erasure', fields) from unnest(array[
  'createdAt time', 'status text, createdAt time', 'checkAt time', 'userId text', 'requestedBy text'
]) fields;

-- outbox-event: An outgoing event, committed with the change it reports.
select kv.add_family('outbox');
select kv.add_entity('outbox-event', 'outbox', 1, owner_rule => 'given', cascades => false);
select kv.add_index('outbox-event', fields) from unnest(array[
  'createdAt time', 'owner, createdAt time', 'queuedAt time', 'owner, queuedAt time', 'seq number', 'owner, seq number'
]) fields;

-- idempotency-record: The result of a call with an idempotency key, kept for 24 hours and committed with the change.
select kv.add_family('idem');
select kv.add_entity('idempotency-record', 'idem', 2, owner_rule => 'given');

-- rate-limit-bucket: The tokens that a caller has left. Its key is a digest of the caller. It expires when it must be full again.
select kv.add_family('ratelimit', 75);
select kv.add_entity('rate-limit-bucket', 'ratelimit', 1, owner_rule => 'platform');

select kv.attach_families();

-- Calls the Edge Function `jobs` through pg_net: every job that is due, or one job by its name. The URL and the secret are in Vault
-- under the names innkeep_jobs_url and innkeep_jobs_secret. Dynamic SQL, because neither extension exists on a plain PostgreSQL.
create function kv.call_jobs(p_job text default null) returns void
language plpgsql set search_path = pg_catalog, pg_temp as $$
declare
  v_url text;
  v_secret text;
begin
  execute 'select max(decrypted_secret) filter (where name = ''innkeep_jobs_url''),
    max(decrypted_secret) filter (where name = ''innkeep_jobs_secret'') from vault.decrypted_secrets' into v_url, v_secret;
  if v_url is null or v_secret is null then
    raise exception 'Vault has no secret innkeep_jobs_url or innkeep_jobs_secret' using hint = 'See docs/jobs.md.';
  end if;
  execute 'select net.http_post(url => $1, headers => $2, timeout_milliseconds => 150000)'
    using v_url || coalesce('/' || p_job, ''), jsonb_build_object('Authorization', 'Bearer ' || v_secret, 'Content-Type', 'application/json');
end $$;

-- Schedules the calls by pg_cron, and returns whether the extensions are there: every job that is due once a minute, and the job
-- `webhooks` every 5 seconds, so that an event waits no longer. Before 1.5, pg_cron knows no seconds: then once a minute, too. Safe to
-- repeat: a job has one name.
create function kv.schedule_jobs() returns boolean
language plpgsql set search_path = pg_catalog, pg_temp as $$
declare
  v_deliver text := 'select kv.call_jobs(''webhooks'')';
begin
  if to_regprocedure('cron.schedule(text, text, text)') is null or to_regnamespace('net') is null or to_regclass('vault.decrypted_secrets') is null then
    return false;
  end if;
  execute 'select cron.schedule(''innkeep-jobs'', ''* * * * *'', ''select kv.call_jobs()'')';
  begin
    execute 'select cron.schedule($1, $2, $3)' using 'innkeep-webhooks', '5 seconds', v_deliver;
  exception when others then
    execute 'select cron.schedule($1, $2, $3)' using 'innkeep-webhooks', '* * * * *', v_deliver;
  end;
  return true;
end $$;

revoke all on function kv.call_jobs(text), kv.schedule_jobs() from public, kv_service, kv_tenant;

do $$
begin
  if not kv.schedule_jobs() then
    raise notice 'pg_cron, pg_net or Vault is missing: enable them and run "select kv.schedule_jobs()", or call the function jobs from another scheduler';
  end if;
end $$;

-- Creates public.innkeep_root_keys(), which returns the secrets innkeep_root_key and innkeep_root_key_previous of Vault and no others,
-- and returns whether Vault is there. Safe to repeat. Its owner runs the migrations and may read Vault, which service_role may not.
create function kv.install_root_keys() returns boolean
language plpgsql set search_path = pg_catalog, pg_temp as $$
begin
  if to_regclass('vault.decrypted_secrets') is null then
    return false;
  end if;
  execute $create$
    create or replace function public.innkeep_root_keys() returns json
    language sql stable security definer set search_path = pg_catalog, pg_temp as $body$
      select json_build_object(
        'current', max(decrypted_secret) filter (where name = 'innkeep_root_key'),
        'previous', max(decrypted_secret) filter (where name = 'innkeep_root_key_previous'))
      from vault.decrypted_secrets where name in ('innkeep_root_key', 'innkeep_root_key_previous')
    $body$
  $create$;
  revoke all on function public.innkeep_root_keys() from public, anon, authenticated;
  grant execute on function public.innkeep_root_keys() to service_role;
  return true;
end $$;

revoke all on function kv.install_root_keys() from public, kv_service, kv_tenant;

select kv.install_root_keys();

insert into kv.migrations (version, name) values ('20261121000000', 'store');
