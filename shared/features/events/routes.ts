import { z } from "zod";
import { integer } from "../../core/list-query.ts";
import { type Route, verb } from "../../core/route.ts";
import { segment } from "../../core/values.ts";
import { shortTenantId } from "../tenants/entity.ts";
import { isPattern } from "./catalogue.ts";
import { EventService, MAX_EVENTS } from "./service.ts";
import { eventPage, eventTypeList } from "./view.ts";

const types = z.string().min(1).max(4_000).transform((text) => text.split(","))
  .pipe(z.array(z.string().refine(isPattern, "must be a type of GET /v1/event-types, or the beginning of some with .*, such as tenant.*")))
  .optional().meta({
    minLength: undefined,
    maxLength: undefined,
    type: "array",
    items: { type: "string" },
    minItems: 1,
    description: "Only these types. `tenant.*` stands for every type that begins with `tenant.`.",
    examples: [["tenant.*", "invoice.paid"]],
  });

const listQuery = z.strictObject({
  after: z.string().min(1).max(1_000).optional().meta({
    description:
      "The `nextCursor` of the previous page, or the id of an event. Without it, the list begins with the oldest event that is " +
      "kept for at least another hour.",
  }),
  types,
  limit: integer(1, MAX_EVENTS).optional().meta({ description: "The maximum number of events.", default: MAX_EVENTS }),
  tenantId: z.string().transform(shortTenantId).pipe(segment).optional()
    .meta({ description: "Only events of this tenant: its id, short or as its full key." }),
});

/** The outgoing events and their types. */
export const routes: readonly Route[] = [
  verb("GET /v1/events", {
    service: EventService,
    operationId: "listEvents",
    summary: "Read events in their order",
    description:
      "The same events as in webhook deliveries. Store `nextCursor` with the effects of a page, and send it as `after` next time: " +
      "no event is missed. A platform admin gets the events of all tenants and of the platform, a tenant's users those of their tenant. " +
      "Events of the types api-key.*, email-address.* and compliance-request.* are left out for callers without the scopes " +
      "read:api-keys, read:emails and read:compliance.",
    scope: "read:events",
    query: listQuery,
    output: eventPage,
    errors: ["invalid_cursor", "cursor_expired"],
    run: async ({ service, query: { tenantId: _, ...query }, tenantId }) => await service.list({ ...query, tenantId }),
  }),
  verb("GET /v1/event-types", {
    service: EventService,
    operationId: "listEventTypes",
    summary: "List the types of events",
    scope: "caller",
    query: z.strictObject({ types }),
    output: eventTypeList,
    run: ({ service, query }) => service.types(query.types),
  }),
];
