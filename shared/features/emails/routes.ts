import { z } from "zod";
import { crud } from "../../core/crud.ts";
import { inputsOf } from "../../core/fields.ts";
import { type Route, verb } from "../../core/route.ts";
import { Redirect } from "../../core/reply.ts";
import { component, exampleOf, recordOf } from "../../core/schemas.ts";
import { segment } from "../../core/values.ts";
import { InnkeepError } from "../../kernel/errors.ts";
import { shortTenantId } from "../tenants/entity.ts";
import { email, emailAddress } from "./entity.ts";
import { ofAddress, ofEmail } from "./sample.ts";
import { EmailAddressService, EmailLinkService, EmailService } from "./service.ts";

const own = "/v1/notifications/email";
const ofTenant = z.strictObject({
  tenantId: z.string().transform(shortTenantId).pipe(segment).optional()
    .meta({ description: "The tenant's id, short or as its full key. Without it, a platform administrator's own notifications." }),
});

const ownAddress = component(
  "OwnEmailAddress",
  z.object({ emailAddress: recordOf(emailAddress).nullable().meta({ description: "Null if you get no mails." }) }),
  () => ({ emailAddress: exampleOf(recordOf(emailAddress)) }),
);

export const routes: readonly Route[] = [
  verb(`GET ${own}`, {
    service: EmailAddressService,
    operationId: "getOwnEmailAddress",
    summary: "Get the address to which you want notifications",
    scope: "read:notifications",
    query: ofTenant,
    output: ownAddress,
    run: async ({ service, tenantId }) => ({ emailAddress: await service.get(tenantId ?? undefined) }),
  }),
  verb(`PUT ${own}`, {
    service: EmailAddressService,
    operationId: "putOwnEmailAddress",
    summary: "Get your notifications by e-mail",
    description: "The address is that of your token. If mails to it have bounced, it is used again.",
    scope: "read:notifications",
    query: ofTenant,
    input: inputsOf(emailAddress).create,
    output: recordOf(emailAddress),
    sample: { body: (n) => ({ locale: n % 2 === 0 ? "de" : "en" }) },
    run: async ({ service, body, tenantId, options }) => await service.put(body as never, tenantId ?? undefined, options) as never,
  }),
  verb(`DELETE ${own}`, {
    service: EmailAddressService,
    operationId: "deleteOwnEmailAddress",
    summary: "Get no notifications by e-mail any more",
    description: "Mails that wait are withdrawn.",
    scope: "read:notifications",
    query: ofTenant.extend({
      userId: z.string().min(1).max(128).optional()
        .meta({ description: "Another user, such as one who has left. Needs `write:notifications`. Default: you." }),
    }),
    resource: "email-address",
    sample: ofAddress,
    run: async ({ service, query: { userId }, tenantId, caller, options }) => {
      if (userId !== undefined && !caller.scopes.has("write:notifications")) {
        throw new InnkeepError("forbidden", "Removing the address of another user needs write:notifications.");
      }
      return await service.delete(tenantId ?? undefined, options, userId);
    },
  }),
  verb(`GET ${own}/:emailId/open`, {
    service: EmailLinkService,
    operationId: "openNotification",
    summary: "Open the link of a mail",
    description: "Marks the notification as read by the user of the mail, and redirects to its action link. Such a link is made for each " +
      "mail: it can neither be guessed nor lead anywhere else.",
    scope: "public",
    resource: "notification",
    query: z.strictObject({
      signature: z.string().min(1).max(200).meta({ description: "The signature of the platform over the mail's id." }),
    }),
    redirects: true,
    errors: ["not_found", "root_key_unavailable"],
    run: async ({ service, params, query }) => new Redirect(await service.open(params.emailId, query.signature)),
  }),
  ...crud(email, { path: "/v1/emails", scope: "emails", service: EmailService, only: ["list"], sample: {} }),
  verb("GET /v1/emails/:emailId", {
    service: EmailService,
    operationId: "getEmail",
    summary: "Get an email",
    scope: "read:emails",
    output: recordOf(email),
    loads: [email],
    sample: ofEmail,
    run: async ({ service, params }) => await service.get(params.emailId) as never,
  }),
  verb("POST /v1/emails/:emailId/retry", {
    service: EmailService,
    operationId: "retryEmail",
    summary: "Send a mail again that has failed or bounced",
    description: "It has the whole schedule of attempts again. A bounced address gets nothing until its user confirms it.",
    scope: "write:emails",
    output: recordOf(email),
    errors: ["invalid_transition"],
    sample: ofEmail,
    run: async ({ service, params, options }) => await service.retry(params.emailId, options) as never,
  }),
];
