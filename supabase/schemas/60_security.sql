-- Policies of the partitioned table. Partitions have row security without a policy, so they cannot be read directly. The service
-- role sees all rows. The tenant role sees the tenant's rows and the platform's readable ones, and nothing if no tenant is set.
create policy service on kv.entries to kv_service using (true) with check (true);
create policy service on kv.owners to kv_service using (true) with check (true);
create policy service on kv.chains to kv_service using (true) with check (true);
create policy service on kv.rollup_shards to kv_service using (true) with check (true);
create policy service on kv.rollups to kv_service using (true) with check (true);
create policy service on kv.indexes for select to kv_service using (true);
create policy service on kv.migrations for select to kv_service using (true);
create policy everyone on kv.families for select to kv_service, kv_tenant, kv_retention using (true);
-- Not narrower: before a condition of a policy, the index on (owner, seq) could not be used.
create policy retention on kv.entries to kv_retention using (true);
create policy retention on kv.chains for select to kv_retention using (true);

create policy tenant_read on kv.entries for select to kv_tenant
  using (owner = any ((select kv.tenants())::text[])
    or (owner is null and split_part(key, ':', 1) || '/' || kv.colons(key) = any ((select kv.readable_shapes())::text[])));
create policy tenant_insert on kv.entries for insert to kv_tenant
  with check (owner = any ((select kv.tenants())::text[]) and kv.key_allows(key, owner));
create policy tenant_update on kv.entries for update to kv_tenant
  using (owner = any ((select kv.tenants())::text[])) with check (owner = any ((select kv.tenants())::text[]) and kv.key_allows(key, owner));
create policy tenant_delete on kv.entries for delete to kv_tenant using (owner = any ((select kv.tenants())::text[]));
create policy tenant on kv.owners to kv_tenant
  using (owner = any ((select kv.tenants())::text[])) with check (owner = any ((select kv.tenants())::text[]) and deleted_at is null);
create policy tenant on kv.chains to kv_tenant
  using (scope = any ((select kv.tenants())::text[])) with check (scope = any ((select kv.tenants())::text[]));

-- Binds the current call to its tenants. Only a batch of calls has several.
create function kv.bind(p_tenants text[]) returns void
language plpgsql as $$
declare
  v_list text := array_to_string(p_tenants, ',');
begin
  if coalesce(v_list, '') = '' or '' = any(p_tenants) or cardinality(string_to_array(v_list, ',')) <> cardinality(p_tenants)
    or translate(v_list, 'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._~@+-,', '') <> '' then
    raise exception 'must be the id of a tenant' using errcode = 'KV001', detail = '/tenantId';
  end if;
  perform set_config('kv.tenants', v_list, true);
end $$;

create function kv.unbind() returns void
language plpgsql as $$
begin
  perform set_config('kv.tenants', '', true);
end $$;
