import { z } from "zod";
import { ADMIN_ROLES } from "../../../shared/entities/admin-user.ts";
import { TENANT_STATUSES } from "../../../shared/entities/tenant.ts";
import { TENANT_ROLES } from "../../../shared/policies/scopes.ts";
import { defineRoute, type Route } from "../define-route.ts";
import type { Caller } from "../middleware/authenticate.ts";
import { answer } from "../reply.ts";

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
    scope: "caller",
    openWhenSuspended: true,
    responses: { 200: { description: "The caller.", schema: me } },
    handler: ({ caller }) => answer(describe(caller)),
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
