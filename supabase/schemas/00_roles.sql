-- Roles that own the entry points. Their functions are security definer, so row-level security sees these
-- roles whatever login calls. None can log in or bypass row-level security.
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
  -- Search needs pg_trgm, in whatever schema the project has it.
  if not exists (select from pg_extension where extname = 'pg_trgm') then
    create schema if not exists extensions;
    create extension pg_trgm with schema extensions;
  end if;
end $$;

-- kv: tables and what everybody uses. kv_service, kv_tenant: each role's copy of the same functions, because
-- a cached plan belongs to one role (70_copies.sql).
create schema kv;
create schema kv_service;
create schema kv_tenant;
grant usage on schema kv, kv_service to kv_service;
grant usage on schema kv, kv_tenant to kv_tenant;
grant usage on schema kv to kv_retention;
-- Taken back in 90_grants.sql, once the functions have been handed over.
grant create on schema public, kv to kv_service, kv_tenant;
