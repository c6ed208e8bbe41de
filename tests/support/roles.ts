import { withClient } from "./client.ts";

/** The password of every login role. The servers are local and temporary. */
export const ROLE_PASSWORD = "innkeep";

/**
 * The roles a Supabase project has before its first migration, and our application's login:
 * - `anon`, `authenticated`, `service_role` (bypasses row-level security), all without login;
 * - `authenticator`, PostgREST's login, which may become each of them and is none by itself;
 * - `innkeep_owner` stands for Supabase's `postgres`: no superuser, may create roles, bypasses RLS, runs the migrations;
 * - `innkeep_app` is a plain login whose only right is to be a member of `service_role`.
 */
const ROLES: Readonly<Record<string, string>> = {
  anon: "nologin noinherit",
  authenticated: "nologin noinherit",
  service_role: "nologin noinherit bypassrls",
  authenticator: `login noinherit password '${ROLE_PASSWORD}'`,
  innkeep_owner: `login createrole createdb bypassrls password '${ROLE_PASSWORD}'`,
  innkeep_app: `login password '${ROLE_PASSWORD}'`,
};

const MEMBERSHIPS = [
  "grant anon, authenticated, service_role to authenticator",
  "grant anon, authenticated, service_role to innkeep_owner with admin option",
  "grant service_role to innkeep_app",
];

export async function bootstrapRoles(superUrl: string): Promise<void> {
  await withClient(superUrl, async (client) => {
    await client.query("select pg_advisory_lock(hashtext('innkeep test roles'))");
    const { rows } = await client.query<{ rolname: string }>("select rolname from pg_roles");
    const existing = new Set(rows.map(({ rolname }) => rolname));
    for (const [role, attributes] of Object.entries(ROLES)) {
      if (!existing.has(role)) await client.query(`create role ${role} ${attributes}`);
    }
    for (const grant of MEMBERSHIPS) await client.query(grant);
  });
}
