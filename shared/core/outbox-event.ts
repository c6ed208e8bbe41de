import { z } from "zod";
import { defineEntity, type RecordOf } from "../kv/define.ts";
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
    /** Its place among the events of its commit, from 0; absent for 0. */
    position: z.int().min(1).optional(),
    /** Present until the event has its number. */
    queuedAt: instant.optional(),
    /** The number of the event, from 1 without gaps. The job `webhooks` sets it after the commit. */
    seq: z.int().min(1).optional(),
    /** The version that the event's commit gave to all its records. Set with `seq`, which gives the event's row another one. */
    recordVersion: z.string().optional(),
  }),
  owner: "tenant",
  // The changed fields of any record.
  personal: ["data"],
  // The event must still be delivered after the tenant is deleted.
  onTenantDelete: "retain",
  keptBecause: "Receivers still have to learn of the deletion. Events are deleted after 30 days.",
  retention: { days: 30, after: "createdAt" },
  filterable: ["type", "tenantId"],
  sortable: ["createdAt", "queuedAt", "seq"],
  indexes: [["createdAt"], ["@tenantId", "createdAt"], ["queuedAt"], ["@tenantId", "queuedAt"], ["seq"], ["@tenantId", "seq"]],
  example: {
    id: "evt_1767225600000_a1b2c3d4e5f6",
    type: "tenant.deleted",
    tenantId: "tn_1767225600000_a1b2c3d4e5f6",
    subject: "tn_1767225600000_a1b2c3d4e5f6",
    data: { tenantId: "tn_1767225600000_a1b2c3d4e5f6", name: "Hotel Aurora" },
    createdAt: "2026-01-01T00:00:00.000Z",
    seq: 1_200,
    recordVersion: "4711",
  },
});

export type OutboxEvent = RecordOf<typeof outboxEvent>;
