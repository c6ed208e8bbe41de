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
