import { z } from "zod";
import { ADMIN_ROLES } from "../admins/entity.ts";
import { TENANT_STATUSES } from "../tenants/entity.ts";
import { isoTime } from "../../kernel/clock.ts";
import { TENANT_ROLES } from "../../core/scopes.ts";
import { defineRoute, type Route } from "../../core/route.ts";
import type { Caller } from "../../../functions/api/authenticate.ts";
import { answer } from "../../core/reply.ts";

const me = z.object({
  type: z.enum(["admin", "user"]),
  userId: z.string(),
  email: z.string().optional(),
  role: z.enum([...ADMIN_ROLES, ...TENANT_ROLES]),
  scopes: z.array(z.string()),
  tenantId: z.string().nullable(),
  tenant: z.object({ id: z.string(), name: z.string(), status: z.enum(TENANT_STATUSES), plan: z.string() }).optional(),
});

export const meRoutes: Route[] = [
  defineRoute({
    method: "GET",
    path: "/v1/me",
    operationId: "getMe",
    summary: "Who is calling, and what the credential may do",
    description: "The first call with a platform admin's new token is recorded as its last login.",
    scope: "caller",
    openWhenSuspended: true,
    errors: ["write_conflict", "commit_unknown"],
    responses: { 200: { description: "The caller.", schema: me } },
    handler: async ({ caller, services }) => {
      if (caller.kind === "admin" && caller.issuedAtMs !== undefined) {
        await services.AdminUserService.recordLogin(caller.admin.userId, isoTime(caller.issuedAtMs));
      }
      return answer(describe(caller));
    },
  }),
];

function describe(caller: Caller): z.output<typeof me> {
  const { id, email } = caller.actor;
  const who = { userId: id, ...(email === undefined ? {} : { email }), scopes: [...caller.scopes].sort(), tenantId: caller.tenantId };
  if (caller.kind === "admin") return { type: "admin", ...who, role: caller.admin.role };
  if (caller.kind === "anonymous") throw new TypeError("a route that asks for a caller has one");
  const { name, status, plan } = caller.tenant;
  return { type: "user", ...who, role: caller.role, tenant: { id: caller.tenantId, name, status, plan } };
}
