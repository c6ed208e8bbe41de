-- Calls the Edge Function `jobs` through pg_net: every job that is due, or one job by its name. The URL and the secret are in Vault
-- under the names innkeep_jobs_url and innkeep_jobs_secret. Dynamic SQL, because neither extension exists on a plain PostgreSQL.
create function kv.call_jobs(p_job text default null) returns void
language plpgsql set search_path = pg_catalog, pg_temp as $$
declare
  v_url text;
  v_secret text;
begin
  execute 'select max(decrypted_secret) filter (where name = ''innkeep_jobs_url''),
    max(decrypted_secret) filter (where name = ''innkeep_jobs_secret'') from vault.decrypted_secrets' into v_url, v_secret;
  if v_url is null or v_secret is null then
    raise exception 'Vault has no secret innkeep_jobs_url or innkeep_jobs_secret' using hint = 'See docs/jobs.md.';
  end if;
  execute 'select net.http_post(url => $1, headers => $2, timeout_milliseconds => 150000)'
    using v_url || coalesce('/' || p_job, ''), jsonb_build_object('Authorization', 'Bearer ' || v_secret, 'Content-Type', 'application/json');
end $$;

-- Schedules the calls by pg_cron, and returns whether the extensions are there: every job that is due once a minute, and the job
-- `webhooks` every 5 seconds, so that an event waits no longer. Before 1.5, pg_cron knows no seconds: then once a minute, too. Safe to
-- repeat: a job has one name.
create function kv.schedule_jobs() returns boolean
language plpgsql set search_path = pg_catalog, pg_temp as $$
declare
  v_deliver text := 'select kv.call_jobs(''webhooks'')';
begin
  if to_regprocedure('cron.schedule(text, text, text)') is null or to_regnamespace('net') is null or to_regclass('vault.decrypted_secrets') is null then
    return false;
  end if;
  execute 'select cron.schedule(''innkeep-jobs'', ''* * * * *'', ''select kv.call_jobs()'')';
  begin
    execute 'select cron.schedule($1, $2, $3)' using 'innkeep-webhooks', '5 seconds', v_deliver;
  exception when others then
    execute 'select cron.schedule($1, $2, $3)' using 'innkeep-webhooks', '* * * * *', v_deliver;
  end;
  return true;
end $$;

revoke all on function kv.call_jobs(text), kv.schedule_jobs() from public, kv_service, kv_tenant;

do $$
begin
  if not kv.schedule_jobs() then
    raise notice 'pg_cron, pg_net or Vault is missing: enable them and run "select kv.schedule_jobs()", or call the function jobs from another scheduler';
  end if;
end $$;
