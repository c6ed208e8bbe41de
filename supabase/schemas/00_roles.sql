-- Roles that own the entry points. Their functions are security definer, so row-level security sees these
-- roles whatever login calls. None can log in or bypass row-level security.
do $$
declare
  v_role text;
  -- On 16 and newer, what lets a member hand objects over is the option SET.
  v_set text := case when current_setting('server_version_num')::integer >= 160000 then 'SET' else 'MEMBER' end;
  v_schema text;
begin
  foreach v_role in array array['kv_service', 'kv_tenant', 'kv_retention'] loop
    if not exists (select from pg_roles where rolname = v_role) then
      execute format('create role %I nologin noinherit nobypassrls', v_role);
    end if;
    -- To hand functions over, the migrating role must be a member. Roles are the server's: the owner of another
    -- database on it may have made them.
    if not (pg_has_role(current_user, v_role, v_set) and pg_has_role(current_user, v_role, 'USAGE')) then
      begin
        execute format('grant %I to %I', v_role, current_user);
      exception when insufficient_privilege then
        raise exception 'the roles kv_service, kv_tenant and kv_retention are there already, and % may not grant them: let a superuser run "grant kv_service, kv_tenant, kv_retention to %"',
          current_user, quote_ident(current_user) using errcode = '42501';
      end;
    end if;
  end loop;
  -- Search needs pg_trgm, in whatever schema the project has it.
  if not exists (select from pg_extension where extname = 'pg_trgm') then
    create schema if not exists extensions;
    create extension pg_trgm with schema extensions;
  end if;
  select n.nspname into v_schema from pg_extension e join pg_namespace n on n.oid = e.extnamespace where e.extname = 'pg_trgm';
  if not has_schema_privilege(v_schema, 'usage') then
    raise exception 'the extension pg_trgm is in the schema %, which % may not use: let a superuser run "grant usage on schema % to %"',
      v_schema, current_user, quote_ident(v_schema), quote_ident(current_user) using errcode = '42501';
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
