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
