-- Hands the doors to their roles and closes everything else. Execute goes to service_role alone.
do $$
declare
  v_door regprocedure;
begin
  for v_door in
    select p.oid::regprocedure from pg_proc p join pg_namespace n on n.oid = p.pronamespace
    where n.nspname = 'public' and p.proname like 'kv\_%'
  loop
    execute format('alter function %s owner to %I', v_door, case when v_door::text like 'kv\_tenant\_%' or v_door::text like 'public.kv\_tenant\_%' then 'kv_tenant' else 'kv_service' end);
    execute format('revoke all on function %s from public, anon, authenticated', v_door);
    execute format('grant execute on function %s to service_role', v_door);
  end loop;
end $$;

revoke all on schema kv from public;
revoke all on all functions in schema kv from public;
grant execute on all functions in schema kv to kv_service, kv_tenant;
grant execute on function kv.refuse_change() to kv_retention;
-- It makes functions; only migrations call it.
revoke execute on function kv.keep_page(jsonb) from kv_service, kv_tenant;
revoke create on schema kv, public from kv_service, kv_tenant;

do $$
begin
  if to_regclass('supabase_migrations.schema_migrations') is not null then
    grant usage on schema supabase_migrations to kv_service;
    execute 'grant select on supabase_migrations.schema_migrations to kv_service';
  end if;
end $$;
