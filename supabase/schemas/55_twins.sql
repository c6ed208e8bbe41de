-- The tenant door's own copies of the bodies. A plan belongs to the role it was made for, so a session that
-- served both doors in turn would plan every statement again at each call (a set: 1.0 -> 1.8 ms).
do $$
declare
  v_names text[] := array['mget_body', 'list_body', 'count_body', 'query_body', 'total_body', 'aggregate_body', 'lock_owners', 'resolve',
    'lock_entries', 'failed_check', 'chain', 'delete_owner', 'delete_range', 'delete_keys', 'put_rows', 'commit_body'];
  v_name text;
  v_other text;
  v_source text;
begin
  foreach v_name in array v_names loop
    v_source := pg_get_functiondef(('kv.' || v_name)::regproc);
    foreach v_other in array v_names loop
      v_source := replace(v_source, 'kv.' || v_other || '(', 'kv.tenant_' || v_other || '(');
    end loop;
    execute replace(v_source, 'kv.page_%s', 'kv.tenant_page_%s');
  end loop;
end $$;
