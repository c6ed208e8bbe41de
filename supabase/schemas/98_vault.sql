-- Creates public.innkeep_root_keys(), which returns the secrets innkeep_root_key and innkeep_root_key_previous of Vault and no others,
-- and returns whether Vault is there. Safe to repeat. Its owner runs the migrations and may read Vault, which service_role may not.
create function kv.install_root_keys() returns boolean
language plpgsql set search_path = pg_catalog, pg_temp as $$
begin
  if to_regclass('vault.decrypted_secrets') is null then
    return false;
  end if;
  execute $create$
    create or replace function public.innkeep_root_keys() returns json
    language sql stable security definer set search_path = pg_catalog, pg_temp as $body$
      select json_build_object(
        'current', max(decrypted_secret) filter (where name = 'innkeep_root_key'),
        'previous', max(decrypted_secret) filter (where name = 'innkeep_root_key_previous'))
      from vault.decrypted_secrets where name in ('innkeep_root_key', 'innkeep_root_key_previous')
    $body$
  $create$;
  revoke all on function public.innkeep_root_keys() from public, anon, authenticated;
  grant execute on function public.innkeep_root_keys() to service_role;
  return true;
end $$;

revoke all on function kv.install_root_keys() from public, kv_service, kv_tenant;

select kv.install_root_keys();
