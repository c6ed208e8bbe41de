-- Takes tokens from token buckets, for rate limits. Created after the copies (70_copies.sql): a tenant takes nothing.
--
-- p_takes is [{key, capacity, window, cost, wanted}], with each key once. A bucket holds at most `capacity` tokens and is refilled
-- evenly, from empty to full in `window` seconds. `cost` is charged also when the bucket has less. Of the `wanted` further tokens,
-- at most a twentieth of what is left is taken: `more`.

-- The bucket after one call, from its value before (null if it is new): `had` is what it held before the call, by the server's
-- clock, because the clocks of the callers differ. Called under the lock of the row. The least number of tokens is such that a full
-- window refills one. Rounded down, so that no rounding adds tokens. If the clock was set back, nothing is refilled in this call.
create function kv_service.charged(p_bucket jsonb, p_take jsonb) returns jsonb
language plpgsql as $$
declare
  v_now numeric := extract(epoch from clock_timestamp());
  v_capacity numeric := (p_take->>'capacity')::numeric;
  v_elapsed numeric := greatest(0, v_now - coalesce((p_bucket->>'at')::numeric, v_now));
  v_had numeric := least(v_capacity, coalesce((p_bucket->>'tokens')::numeric, v_capacity) + v_elapsed * v_capacity / (p_take->>'window')::numeric);
  v_left numeric := v_had - (p_take->>'cost')::numeric;
  v_more numeric := least((p_take->>'wanted')::numeric, trunc(greatest(v_left, 0) / 20));
begin
  return jsonb_build_object('at', v_now, 'had', floor(v_had * 1000000) / 1000000, 'more', v_more,
    'tokens', floor(greatest(v_left - v_more, 1 - v_capacity) * 1000000) / 1000000);
end $$;

-- Whether it is such a take, with whole numbers. The cost is the sum of many calls.
create function kv_service.is_take(p_take jsonb) returns boolean
language sql immutable
return coalesce(p_take->>'key' ~ '^ratelimit:[A-Za-z0-9._~@+-]+$' and length(p_take->>'key') <= 138
  and p_take @@ 'strict $.capacity >= 1 && $.capacity <= 10000000 && $.capacity == $.capacity.floor()
    && $.window >= 1 && $.window <= 10000000 && $.window == $.window.floor()
    && $.cost >= 0 && $.cost <= 9007199254740991 && $.cost == $.cost.floor()
    && $.wanted >= 0 && $.wanted <= 10000000 && $.wanted == $.wanted.floor()', false);

-- The buckets after the calls: {key: {had, more, tokens, …}}. A bucket expires when it must be full again; its expiry changes once a
-- window, so that an update stays on its page and changes no index. Unless p_wait, a bucket that another transaction has locked is
-- null and not charged, so that it delays no other. With p_wait, rows are locked in the order of their keys.
create function kv_service.take(p_takes jsonb, p_wait boolean) returns json
language plpgsql as $$
declare
  v_keys text[] := array(select t->>'key' from jsonb_array_elements(p_takes) t);
  v_free text[];
  v_held text[] := '{}';
  v_taken json;
begin
  -- The function writes values without the checks of a commit, so it writes no other family and no other amounts.
  if exists (select from jsonb_array_elements(p_takes) t where not is_take(t)) then
    raise exception 'must be takes from rate limits, with whole numbers' using errcode = 'KV001', detail = '/takes';
  end if;
  -- No caller waits for the disk: what a crash loses is the last fraction of a second.
  perform set_config('synchronous_commit', 'off', true);
  if p_wait is not true then
    v_free := array(select e.key from kv.entries e where e.key = any(v_keys) and e.key >= 'ratelimit:' and e.key < 'ratelimit;' for no key update skip locked);
    if cardinality(v_free) < cardinality(v_keys) then
      v_held := array(select e.key from kv.entries e where e.key = any(v_keys) and e.key >= 'ratelimit:' and e.key < 'ratelimit;' and e.key <> all(v_free));
    end if;
  end if;
  with taken as (
    insert into kv.entries as e (key, value, version, owner, cascades, expires_at, created_at, updated_at)
    select t->>'key', jsonb_build_object('capacity', t->'capacity', 'window', t->'window', 'cost', t->'cost', 'wanted', t->'wanted') || charged(null, t),
      nextval('kv.versions'), null, true,
      clock_timestamp() + make_interval(secs => 3 * (t->'window')::integer), clock_timestamp(), clock_timestamp()
    from jsonb_array_elements(p_takes) t where t->>'key' <> all(v_held) order by t->>'key' collate "C"
    on conflict (key) do update set value = excluded.value || charged(e.value, excluded.value), version = excluded.version, updated_at = clock_timestamp(),
      expires_at = case when e.expires_at > excluded.expires_at - make_interval(secs => (excluded.value->'window')::integer)
        then e.expires_at else excluded.expires_at end
    returning e.key, e.value
  ) select json_object_agg(t.key, t.value) into v_taken
    from (select * from taken union all select h.key, null from unnest(v_held) h(key)) t;
  return v_taken;
end $$;
