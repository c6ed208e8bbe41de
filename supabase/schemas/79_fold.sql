-- Adds one shard of every rollup to the shard -1, which only this function and kv.fill_rollup write, and removes groups that have
-- become empty. Reads then add up one row a group, and those of the shards that were written since. Created after the copies
-- (70_copies.sql): a tenant folds nothing. The locks are those of a commit, in the same order, so writers of the shard wait for some
-- milliseconds. Returns the number of rows that were added.
create function kv_service.fold_rollups(p_shard integer) returns bigint
language plpgsql as $$
declare
  v_rollup text;
  v_rows bigint;
  v_all bigint := 0;
begin
  for v_rollup in select r.rollup from kv.rollups r order by 1 loop
    perform pg_advisory_xact_lock(hashtext('kv.rollup:' || v_rollup), p_shard);
    with folded as (
      delete from kv.rollup_shards r where r.rollup = v_rollup and r.shard = p_shard and r.shard >= 0 returning r.bucket, r.count, r.total
    )
    insert into kv.rollup_shards as r (rollup, shard, bucket, count, total)
    select v_rollup, -1, f.bucket, f.count, f.total from folded f order by f.bucket
    on conflict (rollup, bucket, shard) do update set count = r.count + excluded.count, total = r.total + excluded.total;
    get diagnostics v_rows = row_count;
    v_all := v_all + v_rows;
    delete from kv.rollup_shards r where r.rollup = v_rollup and r.shard = -1 and r.count = 0 and r.total = 0;
  end loop;
  return v_all;
end $$;
