import { z } from "zod";
import { crud } from "../../core/crud.ts";
import { flag } from "../../core/list-query.ts";
import { type Route, verb } from "../../core/route.ts";
import { component } from "../../core/schemas.ts";
import { policy } from "./entity.ts";
import { RetentionService } from "./service.ts";

const EXAMPLE = {
  dryRun: true,
  complete: true,
  tasks: [{ type: "usage-record", scanned: 130, deleted: 120, error: null }],
};
const report = component(
  "RetentionReport",
  z.object({
    dryRun: z.boolean(),
    complete: z.boolean().meta({ description: "False if the time of the call was over. The job `cleanup` goes on." }),
    tasks: z.array(z.object({
      type: z.string().meta({
        description:
          "The entity; `*expired` for expired entries of all entities, `*checkpoints` for audit chains, `*signatures` for checkpoints " +
          "that are signed with a new key.",
      }),
      scanned: z.int().meta({ description: "The number of records that are old enough." }),
      deleted: z.int().meta({ description: "The number of records that were deleted, or with `dryRun` would be." }),
      error: z.string().nullable().meta({ description: "The code of the error that ended this task; null without one." }),
    })),
  }),
  () => EXAMPLE,
);

/** Retention, for the platform only. */
export const routes: readonly Route[] = [
  ...crud(policy, {
    path: "/v1/policies",
    scope: "policies",
    service: RetentionService,
    only: ["list", "put"],
    descriptions: {
      put:
        "An enabled policy replaces the declared retention of its entity from the next step of a run on. For a record, the policy of its " +
        "tenant applies, else that of its tenant's plan, else that for all; of several for the same records, the longest.",
    },
    sample: { put: (n) => ({ type: "usage-record", retentionDays: 1_000 + n % 30_000, enabled: true }) },
  }),
  verb("POST /v1/policies/run", {
    service: RetentionService,
    operationId: "runRetention",
    summary: "Delete what is older than its retention",
    description: "With `dryRun=true` it counts what a run would delete, and writes nothing. Records of tenants under legal hold are kept.",
    scope: "write:policies",
    query: z.strictObject({ dryRun: flag.optional().meta({ description: "Whether to count only. Default: false." }) }),
    output: report,
    sample: {},
    run: async ({ service, query: { dryRun = false } }) => await service.run({ dryRun }),
  }),
];
