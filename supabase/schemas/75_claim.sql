-- Claims due entries for a worker with `for update skip locked`, as a queue does. Created after the copies (70_copies.sql): a tenant
-- claims nothing.
--
-- p_claim is {family, colons?, where[], due, now, until, set, limit, perTenant?}. An entry is due if the time in its field `due` is at
-- most `now`. The claim sets that field to `until`, when the lease ends and the entry is due again, and merges `set` into the value.

-- The oldest due keys, at most perTenant of each tenant: the first of every tenant, then the second ones, and so on. Tenants are
-- visited one by one through the index on (owner, due), so that a tenant's 10,000 entries cost no more than those that are taken.
create function kv_service.due_keys(p_claim jsonb, p_count integer, p_now timestamptz) returns text[]
language plpgsql stable set random_page_cost = 1.1 as $$
declare
  v_where text := kv.where_sql(p_claim);
  v_due text := kv.field_sql(p_claim->>'due', 'time');
  v_is_due text := format('%s and %s <= ($1->>''now'') collate "C"', v_where, v_due);
  v_keys text[];
  v_seen bigint;
begin
  execute format($sql$
    with due as (select e.key, e.owner, %2$s as at from kv.entries e where %1$s order by %2$s, e.key limit $3)
    select array_agg(r.key order by r.rank, r.at, r.key) filter (where r.rank <= ($1->>'perTenant')::integer), count(*)
    from (select d.key, d.at, row_number() over (partition by d.owner order by d.at, d.key) as rank from due d) r$sql$, v_is_due, v_due)
    into v_keys, v_seen using p_claim, p_now, p_count;
  if v_seen < p_count then
    return coalesce(v_keys, '{}');
  end if;
  -- More are due than were read, perhaps all of them of one tenant.
  execute format($sql$
    with recursive owners as (
      (select e.owner, %3$s as at from kv.entries e where %2$s and e.owner is not null order by e.owner, %3$s limit 1)
      union all
      select n.* from owners o cross join lateral (
        select e.owner, %3$s as at from kv.entries e where %2$s and e.owner > o.owner order by e.owner, %3$s limit 1) n
    ), firsts as materialized (
      select o.owner from owners o where o.at <= ($1->>'now') collate "C" order by o.at limit $3
    ), due as (
      select d.* from firsts f cross join lateral (
        select e.key, %3$s as at, row_number() over (order by %3$s, e.key) as rank from kv.entries e
        where %1$s and e.owner = f.owner order by %3$s, e.key
        limit least(($1->>'perTenant')::integer, (select $3 / greatest(count(*), 1) + 1 from firsts))) d
      union all
      (select e.key, %3$s as at, row_number() over (order by %3$s, e.key) as rank from kv.entries e
       where %1$s and e.owner is null order by %3$s, e.key limit ($1->>'perTenant')::integer)
    )
    select array_agg(d.key order by d.rank, d.at, d.key) from (select * from due order by rank, at, key limit $3) d$sql$, v_is_due, v_where, v_due)
    into v_keys using p_claim, p_now, p_count;
  return coalesce(v_keys, '{}');
end $$;

-- One statement finds, locks and changes the entries. An entry that another claim has locked is skipped; one that it has changed is
-- no longer due when its lock is taken. Of the candidates of a fair claim there are four times as many, for claims at the same time.
create function kv_service.claim(p_claim jsonb, p_now timestamptz) returns json
language plpgsql set random_page_cost = 1.1 as $$
declare
  v_due text := kv.field_sql(p_claim->>'due', 'time');
  v_limit integer := (p_claim->>'limit')::integer;
  v_fair boolean := p_claim ? 'perTenant';
  v_keys text[] := case when v_fair then due_keys(p_claim, 4 * v_limit, p_now) end;
  v_claimed json;
begin
  execute format($sql$
    with taken as materialized (
      select e.key, %2$s as position from kv.entries e %3$s where %1$s and %4$s <= ($1->>'now') collate "C"
      order by %2$s, e.key limit $4 for update of e skip locked
    ), claimed as (
      update kv.entries e set value = e.value || ($1->'set') || jsonb_build_object($1->>'due', $1->'until'), version = nextval('kv.versions'), updated_at = $2
      from taken t where e.key = t.key and e.key >= %5$L and e.key < %6$L
      returning t.position, e.key, e.value, e.version, e.owner, e.created_at, e.updated_at, e.expires_at
    )
    select json_agg(r) from (
      select c.key, c.value, c.version::text, c.owner, kv.epoch_ms(c.created_at) as created_at, kv.epoch_ms(c.updated_at) as updated_at,
        kv.epoch_ms(c.expires_at) as expires_at from claimed c order by c.position, c.key) r$sql$,
    kv.where_sql(p_claim), case when v_fair then 'c.position' else v_due end,
    case when v_fair then 'join unnest($3) with ordinality c(key, position) on c.key = e.key' else '' end,
    v_due, (p_claim->>'family') || ':', (p_claim->>'family') || ';')
    into v_claimed using p_claim, p_now, v_keys, v_limit;
  return v_claimed;
end $$;
