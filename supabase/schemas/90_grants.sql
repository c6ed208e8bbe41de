-- Transfers the entry points to their roles and revokes all other access. Only service_role may execute them.
do $$
declare
  v_function regprocedure;
begin
  for v_function in
    select p.oid from pg_proc p join pg_namespace n on n.oid = p.pronamespace where n.nspname = 'public' and p.proname like 'kv\_%'
  loop
    execute format('alter function %s owner to %I', v_function, case when v_function::text ~ '^(public\.)?kv_tenant_' then 'kv_tenant' else 'kv_service' end);
    execute format('revoke all on function %s from public, anon, authenticated', v_function);
    execute format('grant execute on function %s to service_role', v_function);
  end loop;
end $$;

revoke all on schema kv, kv_service, kv_tenant from public;
revoke all on all functions in schema kv, kv_service, kv_tenant from public;
grant execute on all functions in schema kv to kv_service, kv_tenant;
grant execute on all functions in schema kv_service to kv_service;
grant execute on all functions in schema kv_tenant to kv_tenant;
grant execute on function kv.refuse_change(), kv.colons(text), kv.number_field(jsonb, text), kv.purge_floor() to kv_retention;
-- Reads as the service what a bound tenant owns.
alter function kv.walk_of_tenant(jsonb, timestamptz) owner to kv_service;
-- The only function that deletes audit entries. Tenants cannot call it.
alter function kv.purge_chain(text, text, bigint, text, text) owner to kv_retention;
revoke all on function kv.purge_chain(text, text, bigint, text, text) from public, kv_tenant;
grant execute on function kv.purge_chain(text, text, bigint, text, text) to kv_service;
-- Functions that only migrations call.
do $$
declare
  v_function regprocedure;
begin
  for v_function in
    select p.oid from pg_proc p where p.pronamespace = 'kv'::regnamespace and p.proname ~ '^(add_(family|entity|index|rollup|pages?)$|drop_|fill_rollup$|index_(sql|name)$|is_large$|declared$|has_undeclared$|attach_families$)'
  loop
    execute format('revoke execute on function %s from kv_service, kv_tenant', v_function);
  end loop;
end $$;
revoke create on schema public, kv from kv_service, kv_tenant;
revoke create on schema kv from kv_retention;
