-- Roles that own the entry points. The functions are security definer, so row-level security applies to these roles, whichever
-- login calls. None of them can log in or bypass row-level security.
do $$
declare
  v_role text;
  -- From PostgreSQL 16 on, transferring ownership to a role requires membership with the option SET.
  v_set text := case when current_setting('server_version_num')::integer >= 160000 then 'SET' else 'MEMBER' end;
  v_schema text;
begin
  foreach v_role in array array['kv_service', 'kv_tenant', 'kv_retention'] loop
    if not exists (select from pg_roles where rolname = v_role) then
      execute format('create role %I nologin noinherit nobypassrls', v_role);
    end if;
    -- The migrating role must be a member to transfer the functions. Roles belong to the server: the owner of another
    -- database may have created them.
    if not (pg_has_role(current_user, v_role, v_set) and pg_has_role(current_user, v_role, 'USAGE')) then
      begin
        execute format('grant %I to %I', v_role, current_user);
      exception when insufficient_privilege then
        raise exception 'the roles kv_service, kv_tenant and kv_retention already exist, and % may not grant them: run as a superuser "grant kv_service, kv_tenant, kv_retention to %"',
          current_user, quote_ident(current_user) using errcode = '42501';
      end;
    end if;
  end loop;
  -- Search needs pg_trgm, which may be in any schema.
  if not exists (select from pg_extension where extname = 'pg_trgm') then
    create schema if not exists extensions;
    create extension pg_trgm with schema extensions;
  end if;
  select n.nspname into v_schema from pg_extension e join pg_namespace n on n.oid = e.extnamespace where e.extname = 'pg_trgm';
  if not has_schema_privilege(v_schema, 'usage') then
    raise exception 'the extension pg_trgm is in the schema %, which % may not use: run as a superuser "grant usage on schema % to %"',
      v_schema, current_user, quote_ident(v_schema), quote_ident(current_user) using errcode = '42501';
  end if;
end $$;

-- kv: tables and shared functions. kv_service, kv_tenant: per-role copies of the same functions, because a cached plan belongs
-- to one role (70_copies.sql).
create schema kv;
create schema kv_service;
create schema kv_tenant;
grant usage on schema kv, kv_service to kv_service;
grant usage on schema kv, kv_tenant to kv_tenant;
grant usage on schema kv to kv_retention;
-- Revoked in 90_grants.sql, after the ownership of the functions is transferred.
grant create on schema public, kv to kv_service, kv_tenant;
grant create on schema kv to kv_retention;
