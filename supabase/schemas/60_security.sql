-- Who sees what. Two policies a table: the service door sees all, the tenant door its own rows (and the
-- platform's readable ones). With no tenant set the tenant door sees nothing.
create policy service on kv.entries to kv_service using (true) with check (true);
create policy service on kv.counters to kv_service using (true) with check (true);
create policy service on kv.owners to kv_service using (true) with check (true);
create policy service on kv.chains to kv_service using (true) with check (true);
create policy service on kv.rollups to kv_service using (true) with check (true);
create policy everyone on kv.families for select to kv_service, kv_tenant using (true);
create policy retention on kv.entries to kv_retention using (true);

create policy tenant_read on kv.entries for select to kv_tenant
  using (owner = (select kv.tenant()) or (owner is null and kv.tenant_readable(key)));
create policy tenant_insert on kv.entries for insert to kv_tenant with check (owner = (select kv.tenant()) and kv.key_allows(key, owner));
create policy tenant_update on kv.entries for update to kv_tenant
  using (owner = (select kv.tenant())) with check (owner = (select kv.tenant()) and kv.key_allows(key, owner));
create policy tenant_delete on kv.entries for delete to kv_tenant using (owner = (select kv.tenant()));
create policy tenant on kv.counters to kv_tenant
  using (owner = (select kv.tenant())) with check (owner = (select kv.tenant()) and kv.key_allows(key, owner));
create policy tenant on kv.owners to kv_tenant using (owner = (select kv.tenant())) with check (owner = (select kv.tenant()) and deleted_at is null);
create policy tenant on kv.chains to kv_tenant using (scope = (select kv.tenant())) with check (scope = (select kv.tenant()));

create function kv.enter(p_tenant text) returns void
language plpgsql set search_path = '' as $$
begin
  if coalesce(p_tenant, '') = '' then
    raise exception 'a tenant call needs its tenant' using errcode = 'KV001', detail = '/tenant';
  end if;
  perform set_config('kv.tenant', p_tenant, true);
end $$;

create function kv.leave() returns void
language plpgsql set search_path = '' as $$
begin
  perform set_config('kv.tenant', '', true);
end $$;
