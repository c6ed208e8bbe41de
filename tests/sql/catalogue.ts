import type pg from "pg";
import { withClient } from "../support/client.ts";

/** The objects of a database as text: definitions, owners, privileges, policies, and the rows of the declarations. */
const PARTS: Readonly<Record<string, string>> = {
  schemas:
    `select nspname as name, nspowner::regrole::text as owner, nspacl::text as acl from pg_namespace where nspname in ('kv', 'kv_service', 'kv_tenant', 'public', 'extensions')`,
  relations:
    `select oid::regclass::text as name, relkind, relowner::regrole::text as owner, relacl::text as acl, relrowsecurity, relforcerowsecurity,
      reloptions::text, relpersistence from pg_class where relnamespace in ('kv'::regnamespace, 'public'::regnamespace)`,
  columns:
    `select attrelid::regclass::text as name, attname, format_type(atttypid, atttypmod) as type, attnotnull, attgenerated::text, attcollation::regcollation::text,
      attacl::text, pg_get_expr(d.adbin, d.adrelid) as expression
    from pg_attribute a join pg_class c on c.oid = a.attrelid left join pg_attrdef d on d.adrelid = a.attrelid and d.adnum = a.attnum
    where c.relnamespace in ('kv'::regnamespace, 'public'::regnamespace) and attnum > 0 and not attisdropped`,
  constraints: `select conrelid::regclass::text as name, conname, pg_get_constraintdef(oid) as definition from pg_constraint
    where connamespace in ('kv'::regnamespace, 'public'::regnamespace)`,
  indexes: `select indexrelid::regclass::text as name, pg_get_indexdef(indexrelid) as definition, indisvalid from pg_index i
    join pg_class c on c.oid = i.indrelid where c.relnamespace in ('kv'::regnamespace, 'public'::regnamespace)`,
  sequences: `select seqrelid::regclass::text as name, seqstart, seqincrement, seqmax, seqmin, seqcache, seqcycle from pg_sequence`,
  functions:
    `select oid::regprocedure::text as name, proowner::regrole::text as owner, proacl::text as acl, pg_get_functiondef(oid) as definition from pg_proc
    where pronamespace in ('kv'::regnamespace, 'kv_service'::regnamespace, 'kv_tenant'::regnamespace, 'public'::regnamespace) and prokind <> 'a'`,
  triggers:
    `select tgname as name, pg_get_triggerdef(oid) as definition, tgenabled::text from pg_trigger where not tgisinternal and tgrelid::regclass::text like 'kv.%'`,
  policies: `select polname || ' on ' || polrelid::regclass::text as name, polcmd::text, polpermissive, polroles::regrole[]::text as roles,
      pg_get_expr(polqual, polrelid) as using, pg_get_expr(polwithcheck, polrelid) as check from pg_policy`,
  extensions: `select extname as name, extnamespace::regnamespace::text as schema from pg_extension`,
  defaults:
    `select defaclrole::regrole::text || defaclobjtype::text as name, defaclnamespace::regnamespace::text as schema, defaclacl::text as acl from pg_default_acl`,
  roles:
    `select rolname as name, rolsuper, rolinherit, rolcreaterole, rolcreatedb, rolcanlogin, rolbypassrls, rolconfig::text from pg_roles where rolname like 'kv\\_%'`,
  partitions:
    `select oid::regclass::text as name, pg_get_expr(relpartbound, oid) as bound from pg_class where relispartition and relkind = 'r' and relnamespace = 'kv'::regnamespace`,
  families: `select * from kv.families`,
  declaredIndexes: `select * from kv.indexes`,
  rollups: `select * from kv.rollups`,
};

export type Catalogue = Readonly<Record<string, readonly string[]>>;

export async function catalogueOf(superUrl: string): Promise<Catalogue> {
  return await withClient(superUrl, catalogueSeenBy);
}

/** The catalogue after a change by the owner, in a transaction that is rolled back, which is faster than a new database. */
export async function catalogueAfter(superUrl: string, sql: string): Promise<Catalogue> {
  return await withClient(superUrl, async (client) => {
    await client.query(`begin; set local role innkeep_owner; ${sql} reset role;`);
    return await catalogueSeenBy(client); // the end of the session rolls back
  });
}

async function catalogueSeenBy(client: pg.Client): Promise<Catalogue> {
  const parts: Record<string, string[]> = {};
  for (const [part, sql] of Object.entries(PARTS)) {
    const { rows } = await client.query(sql);
    parts[part] = rows.map((row) => JSON.stringify(row)).sort();
  }
  return parts;
}
