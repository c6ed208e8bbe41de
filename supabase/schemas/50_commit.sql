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
