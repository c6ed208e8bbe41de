import { adminUser } from "./entity.ts";
import { adminCreate, adminUpdate } from "../inputs.ts";
import { errors } from "../../kernel/errors.ts";
import type { Administrator } from "./rules.ts";
import { defineRoute, type Route } from "../../core/route.ts";
import { listArguments, listQuery } from "../../core/list-query.ts";
import type { Caller } from "../../../functions/api/authenticate.ts";
import { created, noContent, page, record } from "../../core/reply.ts";
import { adminRecord, pageOf } from "../../core/schemas.ts";

const one = { 200: { description: "The admin.", schema: adminRecord } };

/** Platform admins. What a change takes or gives is compared with the caller's own rights. */
export const adminRoutes: Route[] = [
  defineRoute({
    method: "GET",
    path: "/v1/admins",
    operationId: "listAdmins",
    summary: "Platform admins",
    scope: "read:admins",
    query: listQuery(adminUser),
    responses: { 200: { description: "A page of admins.", schema: pageOf("AdminUserPage", adminRecord) } },
    handler: async ({ query, services }) => page(await services.AdminUserService.list(...listArguments(query))),
  }),
  defineRoute({
    method: "POST",
    path: "/v1/admins",
    operationId: "createAdmin",
    summary: "Make a user a platform admin",
    scope: "write:admins",
    body: adminCreate,
    errors: ["already_exists"],
    responses: { 201: { description: "The new admin.", schema: adminRecord } },
    handler: async ({ body, services, caller }) => {
      const made = await services.AdminUserService.create(body, { by: own(caller) });
      return created(made, `/v1/admins/${made.userId}`);
    },
  }),
  defineRoute({
    method: "GET",
    path: "/v1/admins/:userId",
    operationId: "getAdmin",
    summary: "One admin",
    scope: "read:admins",
    responses: one,
    handler: async ({ params, services }) => record(await services.AdminUserService.get(params.userId) ?? missing(params.userId)),
  }),
  defineRoute({
    method: "PATCH",
    path: "/v1/admins/:userId",
    operationId: "updateAdmin",
    summary: "Change an admin by JSON merge patch",
    scope: "write:admins",
    body: adminUpdate,
    errors: ["last_super_admin"],
    responses: one,
    handler: async ({ params, body, services, caller, ifMatch }) =>
      record(await services.AdminUserService.update(params.userId, body, { ifMatch, by: own(caller) }) ?? missing(params.userId)),
  }),
  defineRoute({
    method: "DELETE",
    path: "/v1/admins/:userId",
    operationId: "deleteAdmin",
    summary: "Take the platform's rights from a user",
    scope: "write:admins",
    errors: ["last_super_admin"],
    responses: { 204: { description: "No admin any more." } },
    handler: async ({ params, services, caller, ifMatch }) =>
      await services.AdminUserService.remove(params.userId, { ifMatch, by: own(caller) }) ? noContent() : missing(params.userId),
  }),
];

function own(caller: Caller): Administrator {
  return { userId: caller.actor.id, scopes: caller.scopes };
}

function missing(userId: string): never {
  throw errors.notFound("admin", userId);
}
