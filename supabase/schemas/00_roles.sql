-- The two doors' roles and retention's. Functions owned by them are security definer, so row-level
-- security sees these roles whatever login calls. None can log in or bypass row-level security.
do $$
declare
  v_role text;
begin
  foreach v_role in array array['kv_service', 'kv_tenant', 'kv_retention'] loop
    if not exists (select from pg_roles where rolname = v_role) then
      execute format('create role %I nologin noinherit nobypassrls', v_role);
    end if;
    -- To hand functions over, the migrating role must be a member.
    execute format('grant %I to %I', v_role, current_user);
  end loop;
end $$;

create schema if not exists extensions;
create extension if not exists pg_trgm with schema extensions;

create schema kv;
grant usage on schema kv to kv_service, kv_tenant, kv_retention;
-- Taken back in 80_grants.sql, once the functions have been handed over.
grant create on schema kv, public to kv_service, kv_tenant;
