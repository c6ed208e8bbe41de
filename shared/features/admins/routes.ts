import { z } from "zod";
import type { Caller, CallerTenant } from "../../core/caller.ts";
import { crud } from "../../core/crud.ts";
import { type Route, verb } from "../../core/route.ts";
import { ADMIN_ROLES, TENANT_ROLES } from "../../core/scopes.ts";
import { isoTime } from "../../kernel/clock.ts";
import { admin } from "./entity.ts";
import { AdminUserService } from "./service.ts";

const me = z.object({
  type: z.enum(["admin", "user", "api_key"]),
  userId: z.string().meta({ description: "The user's id, or that of the API key." }),
  email: z.string().optional(),
  name: z.string().optional().meta({ description: "The name of the API key." }),
  role: z.enum([...ADMIN_ROLES, ...TENANT_ROLES]).optional().meta({ description: "An API key has scopes and no role." }),
  scopes: z.array(z.string()),
  tenantId: z.string().nullable(),
  tenant: z.object({ id: z.string(), name: z.string(), status: z.string(), plan: z.string() }).optional(),
}).meta({
  examples: [{
    type: "user",
    userId: "7c9e6679-7425-40de-944b-e07fc1f90ae7",
    email: "owner@aurora.example",
    role: "owner",
    scopes: ["read:plans", "read:tenants", "write:tenants"],
    tenantId: "tn_1767225600000_a1b2c3d4e5f6",
    tenant: { id: "tn_1767225600000_a1b2c3d4e5f6", name: "Hotel Aurora", status: "active", plan: "Pro" },
  }],
});

export const routes: readonly Route[] = [
  ...crud(admin, {
    path: "/v1/admins",
    scope: "admins",
    service: AdminUserService,
    errors: { update: ["last_super_admin"], delete: ["last_super_admin"] },
    sample: {
      create: (n) => ({ userId: `made-${n}`, email: `made-${n}@innkeep.example`, name: "Made", role: "support" }),
      update: (n) => ({ name: `Renamed ${n}` }),
    },
  }),
  verb("GET /v1/me", {
    service: AdminUserService,
    operationId: "getMe",
    summary: "Get the caller and its permissions",
    description: "The first call with a new token sets `lastLoginAt` of a platform admin.",
    scope: "caller",
    openWhenSuspended: true,
    errors: ["write_conflict", "commit_unknown"],
    output: me,
    run: async ({ service, caller }) => {
      if (caller.kind === "admin" && caller.issuedAtMs !== undefined) {
        await service.recordLogin(caller.actor.id, isoTime(caller.issuedAtMs));
      }
      return describe(caller);
    },
  }),
];

function describe(caller: Caller): z.output<typeof me> {
  const { id, email } = caller.actor;
  const who = {
    userId: id,
    ...(email === undefined ? {} : { email }),
    scopes: [...caller.scopes].filter((scope) => scope !== "*").sort(),
    tenantId: caller.tenantId,
  };
  if (caller.kind === "admin") return { type: "admin", ...who, role: caller.role };
  if (caller.kind === "anonymous") throw new TypeError("A route with the scope `caller` ran without a caller.");
  if (caller.kind === "key") {
    return { type: "api_key", ...who, name: caller.name, ...(caller.tenant ? { tenant: tenantOf(caller.tenant) } : {}) };
  }
  return { type: "user", ...who, role: caller.role, tenant: tenantOf(caller.tenant) };
}

function tenantOf({ id, name, status, plan }: CallerTenant) {
  return { id, name, status, plan };
}
