import { z } from "zod";
import { crud } from "../../core/crud.ts";
import { type Route, verb } from "../../core/route.ts";
import { auditAction } from "./entity.ts";
import { reportedBody, reportedShown } from "./reported.ts";
import { AuditActionService, AuditReportService } from "./service.ts";

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

const results = z.object({
  data: z.array(z.object({
    id: z.string().nullable().meta({ description: "The `id` of the entry. Null if it has none." }),
    source: z.string().nullable().meta({ description: "The `source` of the entry. Null if it has none." }),
    status: z.enum(["accepted", "duplicate", "rejected"]),
    error: z.object({ code: z.string(), path: z.string(), message: z.string() }).optional().meta({
      description: "Why the entry was rejected. `path` is a JSON Pointer into the entry.",
    }),
  })),
}).meta({ examples: [{ data: [{ id: "door-4711", source: "door-service", status: "accepted" }] }] });

/** The actions of audit entries, and the entries that other services report. */
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
    platformOnly: ["create", "update", "delete"],
    sample: {
      create: (n) => ({ id: `app.room.unlocked-${n}`, description: "A door was opened with a key of the reception." }),
      update: { description: "A door was opened." },
    },
  }),
  verb("POST /v1/audit/events", {
    service: AuditReportService,
    operationId: "reportAuditEntries",
    summary: "Report entries of other services",
    description:
      "One entry, or a batch of up to 500 whose results are independent. An entry that is sent again with the same `source` and " +
      "`id` is written once. Each entry of a batch has a result with status 200; a single entry that is rejected is an error of the " +
      "request. The actor of the entry is the caller; `reported` has what the service says.",
    scope: "write:audit",
    input: reportedBody,
    shownInput: reportedShown,
    checksItems: true,
    output: results,
    errors: ["not_found", "idempotency_mismatch", "write_conflict"],
    sample: {
      body: (n: number) => ({
        id: `door-${n}`,
        source: "door-service",
        action: "app.door.opened",
        resource: "door",
        resourceId: "7",
        actor: { type: "guest", id: "guest-9" },
      }),
      prepare: async (_, __, use) => {
        const actions = use(AuditActionService);
        if (!await actions.get("app.door.opened")) await actions.create({ id: "app.door.opened", description: "A door was opened." });
      },
    },
    run: async ({ service, body }) => ({ data: await service.report(body) }),
  }),
];
