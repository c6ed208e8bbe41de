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
