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
