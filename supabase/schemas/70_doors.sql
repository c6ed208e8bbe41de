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
