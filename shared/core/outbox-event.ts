import { z } from "zod";
import { defineEntity } from "../kv/define.ts";
import { instant, segment } from "./values.ts";

export const outboxEvent = defineEntity({
  name: "outbox-event",
  summary: "An outgoing event, committed with the change it reports.",
  key: "outbox:{id}",
  schema: z.looseObject({
    id: segment,
    type: z.string(),
    tenantId: segment.optional(),
    /** The CloudEvents `subject`: the record the event is about. */
    subject: z.string(),
    data: z.record(z.string(), z.json()),
    createdAt: instant,
  }),
  owner: "tenant",
  // The event must still be delivered after the tenant is deleted.
  onTenantDelete: "retain",
  retention: { days: 30, after: "createdAt" },
  filterable: ["type", "tenantId"],
  sortable: ["createdAt"],
  indexes: [["createdAt"]],
  example: {
    id: "evt_1767225600000_a1b2c3d4e5f6",
    type: "tenant.created",
    tenantId: "tn_1767225600000_a1b2c3d4e5f6",
    subject: "tn_1767225600000_a1b2c3d4e5f6",
    data: { plan: "Pro" },
    createdAt: "2026-01-01T00:00:00.000Z",
  },
});
