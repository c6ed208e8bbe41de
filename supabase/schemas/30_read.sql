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
