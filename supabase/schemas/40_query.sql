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
