import { z } from "zod";
import { crud } from "../../core/crud.ts";
import { type Route, verb } from "../../core/route.ts";
import { auditAction } from "./entity.ts";
import { AuditActionService } from "./service.ts";

const declared = z.object({
  data: z.array(z.object({
    action: z.string(),
    version: z.int().min(1).meta({ description: "Increases when the schema changes." }),
    resource: z.string().meta({ description: "The kind of record, as in `resource` of the entries." }),
    description: z.string().meta({ description: "What has happened." }),
    dataSchema: z.record(z.string(), z.json()).meta({ description: "The JSON Schema, draft 2020-12, of `data` of the entries." }),
  })),
}).meta({
  examples: [{
    data: [{
      action: "tenant.created",
      version: 1,
      resource: "tenant",
      description: "The record was created.",
      dataSchema: { type: "object", properties: {}, required: [], additionalProperties: false },
    }],
  }],
});

/** The actions of audit entries. */
export const routes: readonly Route[] = [
  verb("GET /v1/audit/actions", {
    service: AuditActionService,
    operationId: "listDeclaredActions",
    summary: "List the actions of the program",
    description: "Every action that the audit log can have, but for custom actions. An entry with another action cannot be written.",
    scope: "read:audit",
    output: declared,
    run: async ({ service }) => await service.declared() as z.output<typeof declared>,
  }),
  ...crud(auditAction, {
    path: "/v1/audit/custom-actions",
    scope: "audit",
    service: AuditActionService,
    descriptions: {
      create: "Declares an action of your own product. Its entries are written with `POST /v1/audit/events`.",
      delete: "Entries that have the action stay. No more can be written.",
    },
    sample: {
      create: (n) => ({ id: `app.room.unlocked-${n}`, description: "A door was opened with a key of the reception." }),
      update: { description: "A door was opened." },
    },
  }),
];
