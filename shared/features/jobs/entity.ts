import { z } from "zod";
import { byServer, changedInstant, createdInstant } from "../../core/fields.ts";
import { instant, segment } from "../../core/values.ts";
import { defineEntity, type RecordOf } from "../../kv/define.ts";

const jobError = z.object({ code: z.string(), message: z.string().max(1_000) });
const count = z.int().min(0);

export const schedule = defineEntity({
  name: "schedule",
  summary: "When a job runs next, the lease of the run in progress, and the result of the last run.",
  key: "schedule:{job}",
  schema: z.looseObject({
    job: byServer(segment),
    /** When a scheduler may take the job: for its next run, to continue or repeat one, or when the lease of a killed one has ended. */
    dueAt: byServer(instant),
    /** The time of the next run, or of the one in progress. */
    nextRunAt: byServer(instant),
    /** The run in progress, until `dueAt`. */
    leaseId: byServer(segment.optional()),
    startedAt: byServer(instant.optional()),
    processed: byServer(count.default(0)),
    /** Where a run that is not complete continues. */
    cursor: byServer(z.record(z.string(), z.json()).optional()),
    /** Runs that failed since the last success. */
    failures: byServer(count.default(0)),
    lastStartedAt: byServer(instant.optional()),
    lastFinishedAt: byServer(instant.optional()),
    lastDurationMs: byServer(count.optional()),
    lastProcessed: byServer(count.optional()),
    lastError: byServer(jobError.optional()),
    /** When the oldest item was due that the last call of the job left. */
    waitingSince: byServer(instant.optional()),
    createdAt: createdInstant(instant),
    updatedAt: changedInstant(instant.optional()),
  }),
  owner: "platform",
  filterable: ["job"],
  indexes: [["dueAt"]],
  example: {
    job: "cleanup",
    dueAt: "2026-01-01T01:00:00.000Z",
    nextRunAt: "2026-01-01T01:00:00.000Z",
    processed: 0,
    failures: 0,
    lastStartedAt: "2026-01-01T00:00:00.000Z",
    lastFinishedAt: "2026-01-01T00:00:02.000Z",
    lastDurationMs: 2_000,
    lastProcessed: 120,
    createdAt: "2026-01-01T00:00:00.000Z",
  },
});

export const DEAD_STATUSES = ["retrying", "dead", "dropped"] as const;

const STATUS_MEANING =
  "`retrying`: attempted again at `nextAttemptAt`. `dead`: failed 8 times, not counting outages. `dropped`: no longer attempted, by request.";

export const deadLetter = defineEntity({
  name: "dead-letter",
  summary: "An item of a job that failed. It is retried with backoff; after 8 failed attempts it is dead.",
  key: "dead:{id}",
  schema: z.looseObject({
    id: byServer(segment),
    job: byServer(segment.meta({ description: "The name of the job." })),
    item: byServer(z.string().max(512).meta({ description: "The item of the job, such as the key of a record." })),
    // Not `tenantId`: the record belongs to the platform.
    tenant: byServer(segment.optional().meta({ description: "The tenant that the item belongs to." })),
    status: byServer(z.enum(DEAD_STATUSES).meta({ description: STATUS_MEANING })),
    attempts: byServer(
      z.int().min(0).meta({
        description: "The number of failed attempts, without those that failed because of an outage of the platform.",
      }),
    ),
    error: byServer(jobError.meta({ description: "The error of the last attempt." })),
    nextAttemptAt: byServer(instant.optional().meta({ description: "The earliest time of the next attempt." })),
    createdAt: createdInstant(instant),
    updatedAt: changedInstant(instant.optional()),
  }),
  owner: "platform",
  filterable: ["status", "job", "tenant"],
  sortable: ["createdAt"],
  indexes: [["status", "createdAt"]],
  retention: { days: 90, after: "createdAt" },
  example: {
    id: "subscriptions.0f1e2d3c4b5a69788796a5b4",
    job: "subscriptions",
    item: "subscription:tn_1767225600000_a1b2c3d4e5f6",
    tenant: "tn_1767225600000_a1b2c3d4e5f6",
    status: "dead",
    attempts: 8,
    error: { code: "not_found", message: "There is no plan with the id Gone." },
    createdAt: "2026-01-01T00:00:00.000Z",
  },
});

export type Schedule = RecordOf<typeof schedule>;
export type DeadLetter = RecordOf<typeof deadLetter>;
