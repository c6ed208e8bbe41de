-- Functions of values and keys. Their bodies are parsed at creation, so a session's search_path does not affect them. They are
-- not strict: PostgreSQL would not inline a strict SQL function that contains a condition.

-- The text that search compares: lower case without accents. Immutable.
create function kv.fold(p_text text) returns text
language sql immutable parallel safe
return lower(regexp_replace(normalize(p_text, NFKD), '[\u0300-\u036f]', '', 'g') collate "und-x-icu");

-- The LIKE pattern for a substring, with its special characters escaped.
create function kv.like_pattern(p_text text) returns text
language sql immutable parallel safe
return '%' || regexp_replace(kv.fold(p_text), '([\\%_])', '\\\1', 'g') || '%';

-- A member of a value as an indexed field. A member of another type is null and does not make the write fail. Text is cut to 128
-- characters, so that a tuple of four fields stays below the 2,704 bytes of an index tuple; equality rechecks the value.
create function kv.text_field(p_value jsonb, p_field text) returns text
language sql immutable parallel safe
return lower(left(p_value->>p_field, 128) collate "und-x-icu");

create function kv.time_field(p_value jsonb, p_field text) returns text
language sql immutable parallel safe
return case when length(p_value->>p_field) = 24 then p_value->>p_field end;

create function kv.number_field(p_value jsonb, p_field text) returns numeric
language sql immutable parallel safe
return case when jsonb_typeof(p_value->p_field) = 'number' then (p_value->p_field)::numeric end;

create function kv.boolean_field(p_value jsonb, p_field text) returns boolean
language sql immutable parallel safe
return case when jsonb_typeof(p_value->p_field) = 'boolean' then (p_value->p_field)::boolean end;

create function kv.colons(p_key text) returns integer
language sql immutable parallel safe
return length(p_key) - length(replace(p_key, ':', ''));

-- Reserved ids: names of the platform's scopes or paths of the API. They cannot be owners.
create function kv.is_reserved(p_owner text) returns boolean
language sql immutable parallel safe
return p_owner in ('global', 'platform', 'settings', 'stats', 'resolve');

-- The rollup shard of a key, one of 16, which reduces lock contention on a bucket. With 64 shards a sum takes 0.39 ms instead of
-- 0.16, at 1,560 commits per second instead of 1,520 (32 clients changing tenants).
create function kv.shard(p_key text) returns integer
language sql immutable parallel safe
return (hashtextextended(p_key, 0) & 15)::integer;

-- The first key of a family. The family name itself is also a key, with one segment.
create function kv.family_start(p_family text, p_keys text[]) returns text
language sql immutable parallel safe
return case when p_family = any(p_keys) then p_family else p_family || ':' end;

-- Milliseconds since the Unix epoch. Unlike the text of a timestamp, it does not depend on session settings.
create function kv.epoch_ms(p_at timestamptz) returns bigint
language sql stable parallel safe
return (extract(epoch from p_at) * 1000)::bigint;

-- The bytes of a value as JSON without white space. Only values near the limit are measured: a number such as 5e-324 has 326
-- characters but a tenth of that in storage.
create function kv.is_oversized(p_value jsonb) returns boolean
language sql immutable parallel safe
return pg_column_size(p_value) > 6000 and octet_length(p_value::text) > 262144
  and octet_length(regexp_replace(p_value::text, '("(?:[^"\\]|\\.)*")|([,:]) ', '\1\2', 'g')) > 262144;

-- Whether the number survives a conversion to double and back. Every number of up to 15 digits does.
create function kv.fits_double(p_number numeric) returns boolean
language plpgsql immutable strict parallel safe set extra_float_digits = 1 as $$
begin
  if p_number = trunc(p_number) or abs(p_number) > 9007199254740991 then
    return abs(p_number) <= 9007199254740991;
  end if;
  return abs(p_number) > 1e-300 and length(ltrim(replace(trim_scale(abs(p_number))::text, '.', ''), '0')) <= 15 or p_number::float8::text::numeric = p_number;
end $$;

-- The tenants of the current call, which the tenant entry points set for the transaction; null means none.
create function kv.tenants() returns text[]
language sql stable parallel safe
return string_to_array(nullif(current_setting('kv.tenants', true), ''), ',') collate "C";

-- The key shapes whose platform rows tenants may read, such as `plan/1`.
create function kv.readable_shapes() returns text[]
language sql stable parallel safe
return array(select f.family || '/' || f.colons from kv.families f where f.tenant_readable);

-- Whether a key may have an owner. In a declared family with a tenant segment, that segment must be the owner.
create function kv.key_allows(p_key text, p_owner text) returns boolean
language sql stable parallel safe
return coalesce(
  (select case f.owner_rule when 'segment' then split_part(p_key, ':', 2) = p_owner else f.owner_rule = 'given' end
   from kv.families f where f.family = split_part(p_key, ':', 1) and f.colons = kv.colons(p_key)),
  not exists (select from kv.families f where f.family = split_part(p_key, ':', 1)));
