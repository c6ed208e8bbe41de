-- Creates kv_tenant's copy of every function of kv_service, with the same name. The bodies call each other without a schema, so
-- that each copy calls its own role's functions.
do $$
declare
  v_function oid;
begin
  for v_function in select oid from pg_proc where pronamespace = 'kv_service'::regnamespace loop
    execute replace(pg_get_functiondef(v_function), 'FUNCTION kv_service.', 'FUNCTION kv_tenant.');
  end loop;
end $$;
