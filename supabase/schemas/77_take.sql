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
  v_capacity numeric := (p_take->'capacity')::numeric;
  v_had numeric := case when p_bucket is null then v_capacity else least(v_capacity, (p_bucket->'tokens')::numeric
    + greatest(0, v_now - (p_bucket->'at')::numeric) * v_capacity / (p_take->'window')::numeric) end;
  v_left numeric := v_had - (p_take->'cost')::numeric;
  v_more numeric := least((p_take->'wanted')::numeric, trunc(greatest(v_left, 0) / 20));
begin
  return jsonb_build_object('capacity', v_capacity, 'window', p_take->'window', 'cost', p_take->'cost', 'wanted', p_take->'wanted',
    'at', v_now, 'had', floor(v_had * 1000000) / 1000000, 'more', v_more,
    'tokens', floor(greatest(v_left - v_more, 1 - v_capacity) * 1000000) / 1000000);
end $$;

-- Whether the member is a whole number from p_least to p_most.
create function kv.is_whole(p_value jsonb, p_least numeric, p_most numeric) returns boolean
language sql immutable parallel safe
return case when jsonb_typeof(p_value) = 'number'
  then p_value::numeric between p_least and p_most and p_value::numeric = trunc(p_value::numeric) else false end;

-- Whether it is such a take, with whole numbers. The cost is the sum of many calls.
create function kv_service.is_take(p_take jsonb) returns boolean
language sql immutable
return coalesce(p_take->>'key' ~ '^ratelimit:[A-Za-z0-9._~@+-]+$' and length(p_take->>'key') <= 138
  and kv.is_whole(p_take->'capacity', 1, 10000000) and kv.is_whole(p_take->'window', 1, 10000000)
  and kv.is_whole(p_take->'cost', 0, 9007199254740991) and kv.is_whole(p_take->'wanted', 0, 10000000), false);

-- The end of a bucket: the third window from now, by when it must be full again.
create function kv.bucket_end(p_take jsonb, p_windows integer) returns timestamptz
language sql volatile
return clock_timestamp() + p_windows * make_interval(secs => (p_take->'window')::integer);

-- The buckets after the calls: {key: {had, more, tokens, …}}. A bucket expires when it must be full again; its expiry changes once a
-- window, so that an update stays on its page and changes no index. Unless p_wait, a bucket that another transaction has locked is
-- null and not charged, so that it delays no other. With p_wait, rows are locked in the order of their keys.
create function kv_service.take(p_takes jsonb, p_wait boolean) returns json
language plpgsql as $$
declare
  v_takes jsonb;
  v_keys text[];
  v_valid boolean;
  v_found text[];
  v_held text[] := '{}';
  v_taken json;
  v_created jsonb;
begin
  -- The function writes values without the checks of a commit, so it writes no other family and no other amounts.
  select jsonb_object_agg(t.key, t.take) filter (where t.key is not null), array_agg(t.key), bool_and(t.valid) into v_takes, v_keys, v_valid
    from (select take->>'key' as key, take, is_take(take) as valid from jsonb_array_elements(p_takes) take) t;
  if not v_valid then
    raise exception 'must be takes from rate limits, with whole numbers' using errcode = 'KV001', detail = '/takes';
  end if;
  -- No caller waits for the disk: what a crash loses is the last fraction of a second.
  perform set_config('synchronous_commit', 'off', true);
  if p_wait then
    v_found := array(select e.key from kv.entries e where e.key = any(v_keys) and e.key >= 'ratelimit:' and e.key < 'ratelimit;' order by e.key for no key update);
  else
    v_found := array(select e.key from kv.entries e where e.key = any(v_keys) and e.key >= 'ratelimit:' and e.key < 'ratelimit;' for no key update skip locked);
  end if;
  with taken as (
    update kv.entries e set value = charged(e.value, v_takes->e.key), version = nextval('kv.versions'), updated_at = clock_timestamp(),
      expires_at = case when e.expires_at > kv.bucket_end(v_takes->e.key, 2) then e.expires_at else kv.bucket_end(v_takes->e.key, 3) end
    where e.key = any(v_found) and e.key >= 'ratelimit:' and e.key < 'ratelimit;'
    returning e.key, e.value
  ) select json_object_agg(t.key, t.value) into v_taken from taken t;
  if cardinality(v_found) = cardinality(v_keys) then
    return v_taken;
  end if;
  -- The other buckets are held or new. If another transaction creates one of the new ones, this one waits for it.
  v_held := array(select e.key from kv.entries e where e.key = any(v_keys) and e.key >= 'ratelimit:' and e.key < 'ratelimit;' and e.key <> all(v_found));
  with created as (
    insert into kv.entries as e (key, value, version, owner, cascades, expires_at, created_at, updated_at)
    select k.key, charged(null, v_takes->k.key), nextval('kv.versions'), null, true, kv.bucket_end(v_takes->k.key, 3), clock_timestamp(), clock_timestamp()
    from unnest(v_keys) k(key) where k.key <> all(v_found) and k.key <> all(v_held) order by k.key collate "C"
    on conflict (key) do update set value = charged(e.value, v_takes->e.key), version = excluded.version, updated_at = clock_timestamp(),
      expires_at = case when e.expires_at > kv.bucket_end(v_takes->e.key, 2) then e.expires_at else excluded.expires_at end
    returning e.key, e.value
  ) select jsonb_object_agg(t.key, t.value) into v_created
    from (select * from created union all select h.key, null from unnest(v_held) h(key)) t;
  return coalesce(v_taken::jsonb, '{}') || coalesce(v_created, '{}');
end $$;
