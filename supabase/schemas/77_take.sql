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

-- The buckets after the calls: {key: {had, more, tokens, …}}. Rows are locked in the order of their keys. A bucket expires when it
-- must be full again; its expiry changes once a window, so that an update stays on its page and changes no index.
create function kv_service.take(p_takes jsonb) returns json
language plpgsql as $$
declare
  v_taken json;
begin
  -- The function writes values without the checks of a commit, so it writes no other family.
  if exists (select from jsonb_array_elements(p_takes) t where left(t->>'key', 10) is distinct from 'ratelimit:') then
    raise exception 'must be the key of a rate limit' using errcode = 'KV001', detail = '/key';
  end if;
  -- No caller waits for the disk: what a crash loses is the last fraction of a second.
  perform set_config('synchronous_commit', 'off', true);
  with taken as (
    insert into kv.entries as e (key, value, version, owner, cascades, expires_at, created_at, updated_at)
    select t->>'key', t - 'key' || charged(null, t), nextval('kv.versions'), null, true,
      clock_timestamp() + make_interval(secs => 3 * (t->>'window')::integer), clock_timestamp(), clock_timestamp()
    from jsonb_array_elements(p_takes) t order by t->>'key' collate "C"
    on conflict (key) do update set value = excluded.value || charged(e.value, excluded.value), version = excluded.version, updated_at = clock_timestamp(),
      expires_at = case when e.expires_at > excluded.expires_at - make_interval(secs => (excluded.value->>'window')::integer)
        then e.expires_at else excluded.expires_at end
    returning e.key, e.value
  ) select json_object_agg(t.key, t.value) into v_taken from taken t;
  return v_taken;
end $$;
