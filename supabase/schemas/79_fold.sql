-- Adds the 16 shards of every rollup to the shard -1, which only this function and kv.fill_rollup write, and removes groups that have
-- become empty. Reads then add up one row a group, and what was written since. Created after the copies (70_copies.sql): a tenant folds
-- nothing. The locks are those of a commit, in the same order; writers wait for some milliseconds. A cascade takes them in another order;
-- after a deadlock with one, the program repeats the fold. Returns the number of rows added.
create function kv_service.fold_rollups() returns bigint
language plpgsql as $$
declare
  v_rollup text;
  v_all bigint := 0;
begin
  for v_rollup in select r.rollup from kv.rollups r order by 1 loop
    perform pg_advisory_xact_lock(hashtext('kv.rollup:' || v_rollup), shard) from generate_series(0, 15) shard;
    v_all := v_all + (select count(*) from kv.rollup_shards r where r.rollup = v_rollup and r.shard >= 0);
    with folded as (
      delete from kv.rollup_shards r where r.rollup = v_rollup and r.shard >= 0 returning r.bucket, r.count, r.total
    )
    insert into kv.rollup_shards as r (rollup, shard, bucket, count, total)
    select v_rollup, -1, f.bucket, sum(f.count), sum(f.total) from folded f group by f.bucket order by f.bucket
    on conflict (rollup, bucket, shard) do update set count = r.count + excluded.count, total = r.total + excluded.total;
    delete from kv.rollup_shards r where r.rollup = v_rollup and r.shard = -1 and r.count = 0 and r.total = 0;
  end loop;
  return v_all;
end $$;
