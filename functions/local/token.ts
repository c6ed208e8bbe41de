import process from "node:process";
import { ADMIN_ROLES } from "../../shared/core/scopes.ts";
import type { AdminRole } from "../../shared/core/scopes.ts";
import { TENANT_ROLES } from "../../shared/core/scopes.ts";
import type { TenantRole } from "../../shared/core/scopes.ts";
import { peekDataDirectory } from "./data-directory.ts";
import { dataDirOf, parse } from "./options.ts";
import { tokenFor } from "./people.ts";
import type { TokenSubject } from "./people.ts";
import { Refusal, runProgram } from "./refusal.ts";

const HELP = `npm run -s token -- --role R [options]     prints a JWT for the local stack, signed with the stack's key

  --role R       a platform role: super_admin, admin, support, read_only
                 or a tenant role: owner, tenant_admin (admin if you set --tenant), staff, viewer
                 or a name in local.json: superAdmin, readOnly, tenantOwner, tenantStaff …
  --tenant T     id of the tenant, for a tenant role (default: the demo tenant)
  --user U       user id, the sub of the token (default: the local person with the role)
  --expires N    lifetime, for example 90s, 15m, 1h or 7d (default: 1h)
  --data DIR     data directory of the stack (default: .innkeep)
  -h, --help     print this text`;

const UNIT_SECONDS = { s: 1, m: 60, h: 3_600, d: 86_400 } as const;

await runProgram(async () => {
  const values = parse(process.argv.slice(2), {
    role: { type: "string" },
    tenant: { type: "string" },
    user: { type: "string" },
    expires: { type: "string", default: "1h" },
    data: { type: "string" },
  });
  if (values["help"]) return console.log(HELP);
  const text = (name: string) => {
    if (values[name] === "") throw new Refusal(`--${name} must not be empty: set a value or omit the option`);
    return typeof values[name] === "string" ? values[name] : undefined;
  };
  const { secrets, info } = await peekDataDirectory(dataDirOf(values["data"]));
  if (!info) throw new Refusal("the stack has not run in this data directory yet: run npm start first");
  const subject = subjectOf(text("role"), text("tenant"), info.tenantId);
  const user = text("user");
  console.log(
    await tokenFor(secrets, info.url, user === undefined ? subject : { ...subject, userId: user }, secondsOf(text("expires") ?? "1h")),
  );
});

function subjectOf(given: string | undefined, tenant: string | undefined, demoTenant: string | null): TokenSubject {
  const role = (given ?? "").replace(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`);
  const platformRole = ADMIN_ROLES.find((name) => name === role);
  if (platformRole && !(platformRole === "admin" && tenant)) return platformSubject(platformRole, tenant);
  const tenantRole = TENANT_ROLES.find((name) => name === role.replace(/^tenant_/, ""));
  if (!tenantRole) {
    const names = [...ADMIN_ROLES, "owner", "tenant_admin", "staff", "viewer"].join(", ");
    throw new Refusal(given === undefined ? `--role is missing: use one of ${names}` : `--role must be one of ${names}, not ${given}`);
  }
  return tenantSubject(tenantRole, tenant ?? demoTenant);
}

function platformSubject(role: AdminRole, tenant: string | undefined): TokenSubject {
  if (tenant) throw new Refusal(`${role} is a platform role: omit --tenant, or use a tenant role`);
  return { role, tenantId: null };
}

function tenantSubject(role: TenantRole, tenantId: string | null): TokenSubject {
  if (!tenantId) throw new Refusal(`${role} is a tenant role, and there is no demo tenant: name a tenant with --tenant`);
  return { role, tenantId };
}

function secondsOf(text: string): number {
  const [, count, unit] = /^([1-9]\d{0,6})([smhd])$/.exec(text) ?? [];
  if (!count || !unit) throw new Refusal(`--expires must be a number followed by s, m, h or d, for example 15m, not ${text}`);
  return Number(count) * UNIT_SECONDS[unit as keyof typeof UNIT_SECONDS];
}
