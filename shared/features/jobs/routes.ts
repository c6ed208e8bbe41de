import { z } from "zod";
import { crud } from "../../core/crud.ts";
import { type Route, verb } from "../../core/route.ts";
import { component, recordOf } from "../../core/schemas.ts";
import { instant } from "../../core/values.ts";
import { deadLetter } from "./entity.ts";
import { DeadLetterService } from "./dead-letters.ts";
import { JobService } from "./service.ts";

const EXAMPLE = {
  name: "cleanup",
  summary: "Deletes expired entries and records past their retention.",
  everySeconds: 3_600,
  running: false,
  nextRunAt: "2026-01-01T01:00:00.000Z",
  lastStartedAt: "2026-01-01T00:00:00.000Z",
  lastFinishedAt: "2026-01-01T00:00:02.000Z",
  lastDurationMs: 2_000,
  lastProcessed: 120,
  lastError: null,
  failures: 0,
  backlog: { count: 12, oldestAt: "2025-12-31T23:59:00.000Z" },
  ageSeconds: 60,
  overdue: false,
  overdueAfterSeconds: 4_500,
};

const count = (description: string) => z.int().min(0).meta({ description });
const at = (description: string) => instant.nullable().meta({ description });
const job = component(
  "Job",
  z.object({
    name: z.string().meta({ description: "The name, as in `POST /jobs/:name` of the function `jobs`." }),
    summary: z.string().meta({ description: "What the job does." }),
    everySeconds: count("The interval between two runs, in seconds."),
    running: z.boolean().meta({ description: "Whether a process holds the lease of a run." }),
    nextRunAt: instant.meta({ description: "When the job is due. In the past, it waits for the next call of the scheduler." }),
    lastStartedAt: at("When the last run started; null before the first run."),
    lastFinishedAt: at("When the last run ended or failed; null before the first one."),
    lastDurationMs: z.int().min(0).nullable().meta({ description: "The duration of the last run, in milliseconds." }),
    lastProcessed: z.int().min(0).nullable().meta({ description: "The number of items of the last complete run." }),
    lastError: z.object({ code: z.string(), message: z.string() }).nullable()
      .meta({ description: "Why the last run failed; null after a success." }),
    failures: count("The number of failed runs since the last success."),
    backlog: z.object({
      count: count("The number of waiting items."),
      oldestAt: at("When the oldest of them was due; null if none waits."),
    }).nullable()
      .meta({ description: "What waits for the job; null for a job that does not count it." }),
    ageSeconds: count("How long the job has been late, in seconds: since the time of its run, or since its oldest waiting item was due."),
    overdue: z.boolean().meta({ description: "Whether `ageSeconds` has reached `overdueAfterSeconds`." }),
    overdueAfterSeconds: count("The age from which on the job is overdue, in seconds."),
  }),
  () => EXAMPLE,
);

const jobList = component("JobList", z.object({ data: z.array(job) }), () => ({ data: [EXAMPLE] }));

/** A dead letter. Its id follows from its job and item. */
const sample = {
  params: { deadLetterId: "cleanup.af2bdbe1aa9b6ec1e2ade1d6" },
  prepare: async (service: DeadLetterService) => {
    const fail = () => service.recordFailure("cleanup", { id: "sample", tenantId: null }, new Error("sample"));
    const { id, status } = await fail();
    if (status === "dropped") await service.requeue(id);
    while ((await fail()).status !== "dead");
  },
};
const one = { service: DeadLetterService, scope: "write:jobs", loads: [deadLetter] } as const;

/** The background jobs, for the platform only. The Edge Function `jobs` runs them. */
export const routes: readonly Route[] = [
  verb("GET /v1/jobs", {
    service: JobService,
    operationId: "listJobs",
    summary: "List the jobs with their last and next run",
    scope: "read:jobs",
    output: jobList,
    run: async ({ service }) => ({ data: await service.list() }),
  }),
  ...crud(deadLetter, {
    path: "/v1/jobs/dead",
    scope: "jobs",
    service: DeadLetterService,
    only: ["list"],
    descriptions: {
      list: "The items that failed. `status=dead` selects those that are no longer retried, `status=retrying` those that are.",
    },
    sample: {},
  }),
  verb("POST /v1/jobs/dead/:deadLetterId/requeue", {
    ...one,
    operationId: "requeueDeadLetter",
    summary: "Handle a dead or dropped item again in the next run",
    description: "Its attempts begin again at 0. An item that is retried anyway is not changed.",
    output: recordOf(deadLetter),
    sample,
    run: async ({ service, params, options }) => await service.requeue(params.deadLetterId, options),
  }),
  verb("DELETE /v1/jobs/dead/:deadLetterId", {
    ...one,
    operationId: "dropDeadLetter",
    summary: "Drop a failed item: it is not handled again",
    description: "The dead letter stays in the list as `dropped` until its retention ends.",
    sample,
    run: async ({ service, params, options }) => await service.delete(params.deadLetterId, options),
  }),
];
