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
