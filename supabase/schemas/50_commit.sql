-- The ways anything is written. Locks are taken in one order by every commit: keys, owners, entries, rollup
-- shards, chain heads, each sorted, so that commits never deadlock (a prefix or a cascade locks its rows as it
-- finds them; a deadlock with one is run again).

-- One write, resolved against its key's declared family; then with what becomes of the row it meets.
create type kv.write as (
  "position" integer, op text, key text, tenant text, owner text, cascades boolean, expires_at timestamptz,
  append_only boolean, rollup text, mutation jsonb,
  -- Null: nothing is written, for the fault if there is one.
  value jsonb, fault text, message text, detail text
);

-- Sets `p_path` in `p_value`, making the objects on the way.
create function kv.put(p_value jsonb, p_path text[], p_new jsonb) returns jsonb
language plpgsql immutable as $$
begin
  if cardinality(p_path) > 1 then
    p_new := kv.put(coalesce(p_value->p_path[1], '{}'), p_path[2:], p_new);
  end if;
  return p_value || jsonb_build_object(p_path[1], p_new);
end $$;

-- The record after an `increment` or `append`: {add: [{path, by or to, min?, max?}], path?, items?, cap?, merge?}, paths
-- as array literals. A fault instead of what would mangle the record; `bounds` is one.
create function kv.change(p_value jsonb, p_mutation jsonb, out value jsonb, out fault text, out message text, out detail text)
language plpgsql immutable as $$
declare
  v_adds jsonb := coalesce(p_mutation->'add', '[]');
  v_add jsonb;
  v_path text[];
  v_parent jsonb;
  v_old jsonb;
  v_new numeric;
begin
  value := p_value;
  if jsonb_typeof(value) <> 'object' then
    fault := 'KV001'; message := 'is not an object'; detail := '/';
    v_adds := '[]';
  end if;
  -- The list of an append is the last of the paths.
  if fault is null and p_mutation ? 'items' then
    v_adds := v_adds || jsonb_build_array(p_mutation);
  end if;
  for i in 0 .. jsonb_array_length(v_adds) - 1 loop
    v_add := v_adds->i;
    v_path := (v_add->>'path')::text[];
    if cardinality(v_path) not between 1 and 32 then
      fault := 'KV001'; message := 'has a path of 1 to 32 members'; detail := '/path';
      exit;
    end if;
    v_parent := value;
    for j in 1 .. cardinality(v_path) loop
      if jsonb_typeof(v_parent) <> 'object' then
        fault := 'KV001'; message := 'is not an object'; detail := '/' || array_to_string(v_path[:j - 1], '/');
        exit;
      end if;
      v_old := v_parent->v_path[j];
      v_parent := v_old;
    end loop;
    exit when fault is not null;
    if v_add ? 'items' then
      if jsonb_typeof(v_old) <> 'array' then
        fault := 'KV001'; message := 'is not a list'; detail := '/' || array_to_string(v_path, '/');
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
        fault := 'KV001'; message := 'is not a number'; detail := '/' || array_to_string(v_path, '/');
        exit;
      end if;
      v_new := coalesce((v_add->>'to')::numeric, coalesce(v_old::numeric, 0) + (v_add->>'by')::numeric);
      -- `whole`: of several calls, which cannot be told apart again over a fraction.
      if v_new < (v_add->>'min')::numeric or v_new > (v_add->>'max')::numeric or v_add ? 'whole' and v_new <> trunc(v_new) then
        fault := 'bounds';
        exit;
      end if;
      if (v_new <> trunc(v_new) or abs(v_new) > 9007199254740991) and not kv.fits_double(v_new) then
        fault := 'KV001'; message := 'would not be exact: beyond 2^53 - 1 or of more digits than a double holds';
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
    fault := 'KV006'; message := 'the record grows over 262144 bytes';
  end if;
  if fault is not null then
    value := null;
  end if;
end $$;

-- Raises the first fault as the error it stands for.
create function kv.refuse(p_writes kv.write[]) returns void
language plpgsql as $$
declare
  v_write kv.write;
begin
  select w.* into v_write from unnest(p_writes) w where w.fault is not null order by w.position limit 1;
  raise exception using errcode = v_write.fault, message = v_write.message, detail = coalesce(v_write.detail, '');
end $$;

-- The declared shapes of the mutations' families: {family: {colons: shape}}.
create function kv_service.shapes(p_mutations jsonb) returns jsonb
language plpgsql stable as $$
begin
  return coalesce((
    select jsonb_object_agg(s.family, s.shapes) from (
      select f.family, jsonb_object_agg(f.colons::text, to_jsonb(f)) as shapes from kv.families f
      where f.family in (select split_part(m->>'key', ':', 1) from jsonb_array_elements(p_mutations) m) group by f.family) s), '{}');
end $$;

-- Resolves a keyed mutation; p_shapes are those of its family, {colons: shape}, or null. A key of a declared family in
-- another shape, or with another owner than the one it names, is a fault: owner alone would let tenant a create
-- `subscription:b`.
create function kv.resolve(p_tenant text, p_position integer, p_mutation jsonb, p_shapes jsonb) returns kv.write
language plpgsql immutable as $$
declare
  v_write kv.write;
  v_placed jsonb := coalesce(p_mutation->'initial', p_mutation);
  v_shape jsonb;
  v_rule text;
begin
  v_write.position := p_position;
  v_write.op := p_mutation->>'op';
  v_write.key := p_mutation->>'key';
  v_write.tenant := p_tenant;
  v_write.owner := case when v_placed ? 'owner' then v_placed->>'owner' else p_tenant end;
  v_write.cascades := (v_placed->'cascades')::boolean;
  v_write.value := case when v_write.op = 'set' then p_mutation->'value' end;
  v_write.append_only := false;
  if p_shapes is not null then
    v_shape := p_shapes->(kv.colons(v_write.key)::text);
    v_rule := v_shape->>'owner_rule';
    if v_rule <> 'given' then
      v_write.owner := case v_rule when 'segment' then nullif(split_part(v_write.key, ':', 2), 'global') end;
    end if;
    v_write.append_only := coalesce((v_shape->'append_only')::boolean, false);
    v_write.rollup := v_shape->>'rollup';
    v_write.cascades := not v_write.append_only and coalesce(v_write.cascades, (v_shape->'cascades')::boolean);
    if v_shape is null then
      v_write.fault := 'KV004';
      v_write.message := format('key %s is not of its family''s shape', v_write.key);
    elsif v_write.op = 'delete' then
      null;
    elsif v_rule <> 'given' and v_placed ? 'owner' and v_placed->>'owner' is distinct from v_write.owner then
      v_write.fault := 'KV004';
      v_write.message := format('key %s belongs to another tenant or to the platform', v_write.key);
    elsif v_placed ? 'expiresAt' and (v_write.append_only or v_write.rollup is not null) then
      v_write.fault := 'KV001';
      v_write.message := format('entries of %s cannot expire', v_shape->>'entity');
      v_write.detail := '/expiresAt';
    end if;
  end if;
  v_write.cascades := coalesce(v_write.cascades, true);
  if v_write.op is null or v_write.op not in ('set', 'delete', 'increment', 'append') then
    v_write.fault := 'KV001';
    v_write.message := 'is no operation';
    v_write.detail := '/op';
  end if;
  if v_write.op <> 'delete' and v_write.fault is null then
    if v_placed ? 'expiresAt' then
      v_write.expires_at := (v_placed->>'expiresAt')::timestamptz;
    end if;
    if p_tenant is not null and v_write.owner is distinct from p_tenant then
      v_write.fault := 'KV004';
      v_write.message := format('key %s belongs to another tenant or to the platform', v_write.key);
    elsif kv.is_reserved(v_write.owner) then
      v_write.fault := 'KV004';
      v_write.message := format('%s is reserved and owns nothing', v_write.owner);
    elsif pg_column_size(v_write.value) > 6000 and kv.is_oversized(v_write.value) then
      v_write.fault := 'KV006';
      v_write.message := 'the value is over 262144 bytes';
    end if;
  end if;
  if v_write.fault is not null then
    v_write.value := null;
    v_write.detail := coalesce(v_write.detail, v_write.key);
  elsif v_write.op = 'increment' or v_write.op = 'append' then
    v_write.mutation := p_mutation;
  end if;
  return v_write;
end $$;

-- What an increment or append makes of the live row it meets, or of its initial value; a live row keeps its owner and expiry.
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

-- Locks of the keys themselves, held also where there is no row yet: a check on an absent key holds until commit.
-- Above 200 keys their families are locked instead; who locks a key shares its family's lock.
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

-- Takes the owners' rows `for key share`, making those not seen before, and refuses deleted ones.
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

-- Makes the rows of owners not seen before, under a lock that kv_write_many tries and does not wait for.
create function kv_service.add_owners(p_owners text[]) returns void
language plpgsql as $$
begin
  perform pg_advisory_xact_lock(l.owner) from (select distinct hashtextextended(o, 2) as owner from unnest(p_owners) o
    where not exists (select from kv.owners k where k.owner = o) order by 1) l;
  insert into kv.owners (owner) select o from unnest(p_owners) o order by o on conflict do nothing;
end $$;

-- Gives an entry of an audit chain its place, under the lock of the chain's head.
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
    raise exception 'an entry of an audit chain needs its contentHash' using errcode = 'KV001', detail = '/contentHash';
  end if;
  update kv.chains c set seq = v_seq, hash = v_hash where c.scope = p_scope;
  return (p_value - 'contentHash') || jsonb_build_object('seq', v_seq, 'prevHash', v_prev, 'hash', v_hash);
end $$;

-- Live entries among those deleted, by entity, or by family where that is undeclared.
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

-- The cascade, one statement: what the tenant owns goes, and its id, whose row the commit has locked, is never
-- accepted again.
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

-- Deletes the range [p_start, p_end), of a tenant its own rows.
create function kv_service.delete_range(p_tenant text, p_start text, p_end text, p_now timestamptz) returns jsonb
language plpgsql as $$
declare
  v_gone text[];
begin
  if p_tenant is null then
    with gone as (
      delete from kv.entries e where e.key >= p_start and e.key < p_end returning e.key, e.expires_at
    ) select array_agg(g.key) into v_gone from gone g where g.expires_at is null or g.expires_at > p_now;
  else
    with gone as (
      delete from kv.entries e where e.owner = p_tenant and e.key >= p_start and e.key < p_end returning e.key, e.expires_at
    ) select array_agg(g.key) into v_gone from gone g where g.expires_at is null or g.expires_at > p_now;
  end if;
  return tally(v_gone);
end $$;

-- Existing rows of the keys, locked in key order, one family after the other (its range lets the planner leave out
-- the other partitions). Values are read where one is computed.
create function kv_service.lock_rows(p_keys text[], p_computed text[]) returns kv.entries[]
language plpgsql as $$
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

-- Writes what has a value, in key order, and returns {key: version}. The version is drawn under the row's lock, so a
-- key's versions only grow.
create function kv_service.put_rows(p_writes kv.write[], p_now timestamptz) returns jsonb
language plpgsql as $$
declare
  v_versions jsonb;
begin
  with written as (
    insert into kv.entries as e (key, value, version, owner, cascades, expires_at, created_at, updated_at)
    select w.key, w.value, nextval('kv.versions'), w.owner, w.cascades, w.expires_at, p_now, p_now
    from unnest(p_writes) w where w.value is not null order by w.key collate "C"
    on conflict (key) do update set value = excluded.value, version = nextval('kv.versions'), owner = excluded.owner,
      cascades = excluded.cascades, expires_at = excluded.expires_at, updated_at = excluded.updated_at,
      created_at = case when e.expires_at <= p_now then excluded.created_at else e.created_at end
    returning e.key, e.version
  ) select jsonb_object_agg(w.key, w.version::text) into v_versions from written w;
  return coalesce(v_versions, '{}');
end $$;

-- Writes what is absent. A row that is there all the same, seen by the caller or not, is left alone and has no version.
create function kv_service.insert_rows(p_writes kv.write[], p_now timestamptz) returns jsonb
language plpgsql as $$
declare
  v_versions jsonb;
begin
  with written as (
    insert into kv.entries as e (key, value, version, owner, cascades, expires_at, created_at, updated_at)
    select w.key, w.value, nextval('kv.versions'), w.owner, w.cascades, w.expires_at, p_now, p_now
    from unnest(p_writes) w where w.value is not null order by w.key collate "C"
    on conflict do nothing
    returning e.key, e.version
  ) select jsonb_object_agg(w.key, w.version::text) into v_versions from written w;
  return coalesce(v_versions, '{}');
end $$;

-- Gives the entries of audit chains their places, scope by scope in one order.
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

-- One atomic commit: {ok: true, versions, values, deleted} or {ok: false, conflict, reason}.
create function kv_service.commit(p_tenant text, p_checks jsonb, p_mutations jsonb, p_now timestamptz) returns json
language plpgsql as $$
declare
  v_shapes jsonb := shapes(p_mutations);
  v_writes kv.write[] := array(select kv.resolve(p_tenant, x.position::integer, x.mutation, v_shapes->split_part(x.mutation->>'key', ':', 1))
    from jsonb_array_elements(p_mutations) with ordinality x(mutation, position) where x.mutation ? 'key');
  v_rows kv.entries[];
  v_owners text[];
  v_gone text;
  v_deleted jsonb := '{}';
  v_versions jsonb;
  v_write kv.write;
  v_conflict text;
  v_mutation jsonb;
  -- Of what kinds the commit is, so that none looks for what it does not have.
  v_checked boolean := jsonb_array_length(p_checks) > 0;
  v_ranged boolean := jsonb_array_length(p_mutations) > cardinality(v_writes);
  v_keys text[];
  v_computed text[];
  v_faulty boolean;
  v_deletes boolean;
  v_chained boolean;
  v_rolled_up boolean;
begin
  select array_agg(w.key), array_agg(w.key) filter (where w.op in ('increment', 'append')), bool_or(w.fault is not null), bool_or(w.op = 'delete'),
    bool_or(w.append_only), bool_or(w.rollup is not null), array_agg(distinct w.owner) filter (where w.op <> 'delete' and w.owner is not null)
  into v_keys, v_computed, v_faulty, v_deletes, v_chained, v_rolled_up, v_owners from unnest(v_writes) w;
  if v_faulty then
    perform kv.refuse(v_writes);
  end if;
  if v_checked then
    v_keys := v_keys || array(select c->>'key' from jsonb_array_elements(p_checks) c);
  end if;
  perform lock_keys(v_keys);

  if v_ranged then
    select m->>'tenantId' into v_gone from jsonb_array_elements(p_mutations) m where m->>'op' = 'deleteOwner';
  end if;
  if v_gone is not null then
    -- Made before it is locked: without a row to lock, the tenant's first writers would not wait.
    perform add_owners(array[v_gone]);
    perform from kv.owners o where o.owner = v_gone for update;
  elsif v_owners is not null then
    perform lock_owners(v_owners);
  end if;

  -- The service's plain sets need no look at what is there; a tenant's do, for rows it cannot see.
  if v_checked or v_deletes or v_computed is not null or p_tenant is not null then
    v_rows := lock_rows(v_keys, v_computed);
  end if;
  if v_checked then
    select c->>'key' into v_conflict
    from jsonb_array_elements(p_checks) with ordinality cs(c, o)
    left join unnest(v_rows) e on e.key = c->>'key' and (e.expires_at is null or e.expires_at > p_now)
    -- A platform's row that a tenant may read and not lock.
    left join lateral (select x.version from kv.entries x where x.key = c->>'key' and x.owner is null and (x.expires_at is null or x.expires_at > p_now))
      readable on p_tenant is not null and e.key is null
    where coalesce(e.version, readable.version) is distinct from (c->>'version')::bigint order by o limit 1;
    if found then
      return json_build_object('ok', false, 'conflict', v_conflict, 'reason', 'version');
    end if;
  end if;

  if v_computed is not null then
    v_writes := array(select case when w.mutation is null then w else kv.compute(w, e.key is not null and (e.expires_at is null or e.expires_at > p_now),
        e.value, e.owner, e.cascades, e.expires_at) end
      from unnest(v_writes) w left join unnest(v_rows) e on e.key = w.key);
    select w.* into v_write from unnest(v_writes) w where w.fault is not null order by w.position limit 1;
    if v_write.fault = 'bounds' then
      return json_build_object('ok', false, 'conflict', v_write.key, 'reason', 'bounds');
    elsif v_write.fault is not null then
      perform kv.refuse(v_writes);
    end if;
  end if;
  -- By now each write has the owner that its row will have.
  if v_gone is not null then
    if exists (select from unnest(v_writes) w where w.op <> 'delete' and (w.owner <> v_gone or (w.owner = v_gone and w.cascades))) then
      raise exception 'a commit that deletes tenant % can write nothing else of a tenant', v_gone using errcode = 'KV001', detail = '/mutations';
    end if;
  elsif v_computed is not null then
    select o.owner into v_gone from kv.owners o join unnest(v_writes) w on w.owner = o.owner
      where w.mutation is not null and w.value is not null and o.deleted_at is not null limit 1;
    if found then
      raise exception 'tenant % was deleted', v_gone using errcode = 'KV003';
    end if;
  end if;
  if v_rolled_up then
    perform pg_advisory_xact_lock(hashtext('kv.rollup:' || s.rollup), s.shard)
      from (select distinct w.rollup, kv.shard(w.key) as shard from unnest(v_writes) w where w.rollup is not null order by 1, 2) s;
  end if;
  if v_chained then
    v_writes := link_chains(v_writes);
  end if;

  if v_ranged then
    for v_mutation in select m from jsonb_array_elements(p_mutations) m where m->>'op' in ('deletePrefix', 'deleteOwner') loop
      v_deleted := kv.add_tallies(v_deleted, case v_mutation->>'op'
        when 'deleteOwner' then delete_owner(v_mutation->>'tenantId', p_now)
        else delete_range(p_tenant, v_mutation->>'start', v_mutation->>'end', p_now) end);
    end loop;
  end if;
  if v_deletes then
    v_deleted := kv.add_tallies(v_deleted, delete_keys(array(select w.key from unnest(v_writes) w where w.op = 'delete'), p_now));
  end if;

  if p_tenant is null then
    v_versions := put_rows(v_writes, p_now);
  else
    v_versions := put_rows(array(select w from unnest(v_writes) w where exists (select from unnest(v_rows) e where e.key = w.key)), p_now)
      || insert_rows(array(select w from unnest(v_writes) w where not exists (select from unnest(v_rows) e where e.key = w.key)), p_now);
    select w.key into v_conflict from unnest(v_writes) w where w.value is not null and not v_versions ? w.key order by w.position limit 1;
    if found then
      -- Raised, so that nothing stays: the tenant cannot see the row.
      raise exception 'key % is taken', v_conflict using errcode = 'KV007', detail = v_conflict;
    end if;
  end if;
  return json_build_object('ok', true, 'versions', v_versions, 'deleted', v_deleted, 'values', coalesce(case when v_computed is not null then
    (select json_object_agg(w.key, w.value) from unnest(v_writes) w where w.mutation is not null) end, '{}'));
end $$;

-- Makes rows that are absent, without waiting: {versions: {key: version}, faults: {key: fault}}.
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
  -- A key that somebody holds, has just made or is about to make is not free.
  v_versions := insert_rows(array(select w from unnest(p_writes) w
    where (w.owner is null or w.owner = any(v_live))
      and pg_try_advisory_xact_lock_shared(hashtextextended(split_part(w.key, ':', 1), 1))
      and pg_try_advisory_xact_lock(hashtextextended(w.key, 0))), p_now);
  return jsonb_build_object('versions', v_versions, 'faults', (select coalesce(jsonb_object_agg(w.key,
      case when w.owner = any(v_deleted) then jsonb_build_object('fault', 'KV003', 'message', format('tenant %s was deleted', w.owner)) else '{"fault": "busy"}' end), '{}')
    from unnest(p_writes) w where not v_versions ? w.key));
end $$;

-- The short way: many callers' single-key writes at once, each a commit of its own that can fail alone; no key
-- twice. Nothing here waits for a lock: a write that would have to is `busy`, and its caller sends it as a commit,
-- which waits; `commit` is what only a commit writes. Returns {versions: {key: version}, values: {key: the record after an increment}, faults: {key: {fault,
-- message, detail}}}; a key in neither versions nor faults was absent and had no initial value.
create function kv_service.write_many(p_calls jsonb, p_now timestamptz) returns json
language plpgsql as $$
declare
  v_family record;
  v_call jsonb;
  v_found jsonb;
  v_held text[] := '{}';
  v_row jsonb;
  v_write kv.write;
  v_over kv.write[] := '{}';
  v_new kv.write[] := '{}';
  v_faults jsonb := '{}';
  v_versions jsonb := '{}';
  v_created jsonb;
  v_computed boolean := false;
begin
  for v_family in
    select g.name, g.calls, g.keys, (select jsonb_object_agg(f.colons::text, to_jsonb(f)) from kv.families f where f.family = g.name) as shapes
    from (select split_part(c->>'key', ':', 1) as name, array_agg(c) as calls, array_agg(c->>'key') as keys
      from jsonb_array_elements(p_calls) c group by 1) g
  loop
    select jsonb_object_agg(e.key, jsonb_build_array(e.value, e.owner, e.cascades, e.expires_at)) into v_found from (
      select x.* from kv.entries x where x.key = any(v_family.keys) and x.key >= kv.family_start(v_family.name, v_family.keys)
        and x.key < v_family.name || ';' and split_part(x.key, ':', 1) = v_family.name
      for update skip locked) e;
    v_found := coalesce(v_found, '{}');
    -- What is there and was passed over, somebody holds.
    if (select count(*) from jsonb_object_keys(v_found)) < cardinality(v_family.keys) then
      v_held := array(select e.key from kv.entries e where e.key = any(v_family.keys) and e.key >= kv.family_start(v_family.name, v_family.keys)
        and e.key < v_family.name || ';' and not v_found ? e.key);
    end if;
    foreach v_call in array v_family.calls loop
      v_row := v_found->(v_call->>'key');
      v_write := kv.resolve(v_call->>'tenant', 0, v_call, v_family.shapes);
      if v_write.fault is null and (v_write.append_only or v_write.rollup is not null) then
        -- The chain's head and the rollup's shards are the commit's to lock.
        v_write.fault := 'commit';
      elsif v_write.fault is null and (v_write.key = any(v_held)
        -- Another tenant's row, which this one cannot see: its own commit tells it what that means.
        or v_row is not null and v_write.tenant is not null and v_row->>1 is distinct from v_write.tenant) then
        v_write.fault := 'busy';
      elsif v_write.mutation is not null then
        v_computed := true;
        v_write := kv.compute(v_write, v_row is not null and (v_row->>3 is null or (v_row->>3)::timestamptz > p_now),
          v_row->0, v_row->>1, (v_row->2)::boolean, (v_row->>3)::timestamptz);
      end if;
      -- Over a row that goes with its owner and stays with it, the owner need not be looked at: a cascade waits for the row.
      if v_write.fault is null and v_row is not null and not ((v_row->2)::boolean and v_row->>1 is not distinct from v_write.owner) then
        v_write.fault := 'busy';
      end if;
      if v_write.fault is not null then
        v_faults := v_faults || jsonb_build_object(v_write.key, jsonb_build_object('fault', v_write.fault, 'message', v_write.message, 'detail', v_write.detail));
      elsif v_write.value is null then
        null;
      elsif v_row is null then
        v_new := v_new || v_write;
      else
        v_over := v_over || v_write;
      end if;
    end loop;
  end loop;
  if cardinality(v_over) > 0 then
    v_versions := put_rows(v_over, p_now);
  end if;
  if cardinality(v_new) > 0 then
    v_created := create_rows(v_new, p_now);
    v_versions := v_versions || (v_created->'versions');
    v_faults := v_faults || (v_created->'faults');
  end if;
  return json_build_object('versions', v_versions, 'faults', v_faults, 'values', coalesce(case when v_computed then
    (select json_object_agg(w.key, w.value) from unnest(v_over || v_new) w where w.mutation is not null) end, '{}'));
end $$;

-- Removes the bytes of entries already gone by the caller's clock, at most p_limit in all.
create function kv_service.sweep(p_limit integer, p_now timestamptz) returns bigint
language plpgsql as $$
declare
  v_gone bigint;
begin
  delete from kv.entries e using (
    select x.key from kv.entries x where x.expires_at <= p_now order by x.expires_at limit p_limit for update skip locked) old
  where e.key = old.key;
  get diagnostics v_gone = row_count;
  return v_gone;
end $$;
