import { z } from "zod";
import { crud } from "../../core/crud.ts";
import { listArguments, listQuery } from "../../core/list-query.ts";
import { type Route, verb } from "../../core/route.ts";
import { component, pageOf, recordOf } from "../../core/schemas.ts";
import { planMigration, planMove } from "./entity.ts";
import { type MigrationPreview, PREVIEWED } from "./preview.ts";
import { migrationInput, PlanMigrationService } from "./service.ts";

const path = "/v1/plan-migrations";
const one = `${path}/:planMigrationId` as const;
const change = {
  service: PlanMigrationService,
  scope: "write:plan-migrations",
  resource: "plan migration",
  loads: [planMigration],
  output: recordOf(planMigration),
} as const;
const body = { planId: "Basic", toPlanId: "Pro", mode: "next_period" } as const;

const EXAMPLE = {
  planId: "Pro",
  toPlanId: "Pro",
  toVersion: 2,
  currency: "USD",
  subscribers: 841,
  complete: true,
  moving: 838,
  skipped: { legal_hold: 1, cancelled: 2 },
  mrr: { before: 250562, after: 292462 },
  pending: { charges: 0, credits: 0 },
  entitlementsLost: { webhooks: 838 },
  limitsLowered: { rooms: 838 },
  quotasExceeded: { rooms: 12 },
};

const count = (description: string) => z.int().min(0).meta({ description });
const counts = (description: string) => z.record(z.string(), count("The number of subscribers.")).meta({ description });
const mrr = z.number().meta({ description: "Monthly recurring revenue, in the major unit of `currency`." });
const minor = (what: string) => z.int().min(0).meta({ description: `The sum of the ${what}, in the minor unit of \`currency\`.` });

const shape = {
  planId: z.string(),
  toPlanId: z.string(),
  toVersion: z.int().meta({ description: "The version of the plan." }),
  currency: z.string(),
  subscribers: count("The number of subscribers in the cohort."),
  complete: z.boolean().meta({
    description:
      `False if the plan has more subscribers than one preview reads, ${PREVIEWED}. The numbers are then those of the first ones.`,
  }),
  moving: count("The number of subscribers that would be moved."),
  skipped: counts("The subscribers that would be left where they are, by reason."),
  mrr: z.object({ before: mrr, after: mrr }).meta({ description: "The revenue of those that would be moved." }),
  pending: z.object({ charges: minor("charges"), credits: minor("credits") }).meta({
    description: "What their next invoices would contain.",
  }),
  entitlementsLost: counts("How many would lose a feature, by feature."),
  limitsLowered: counts("How many would have a lower limit, by metric."),
  quotasExceeded: counts("How many already use more than the new limit, by metric."),
} satisfies { readonly [K in keyof MigrationPreview]: z.ZodType };

/** Only the platform moves subscribers. */
export const routes: readonly Route[] = [
  ...crud(planMigration, {
    path,
    scope: "plan-migrations",
    service: PlanMigrationService,
    only: ["list", "create", "get"],
    errors: { create: ["plan_inactive"] },
    descriptions: { create: "A draft, which moves nobody before it is started." },
    sample: { create: body },
  }),
  verb(`POST ${path}/preview`, {
    service: PlanMigrationService,
    operationId: "previewPlanMigration",
    openInMaintenance: true,
    summary: "Count what a plan migration would do",
    description: "Nothing is written.",
    scope: "write:plan-migrations",
    input: migrationInput,
    output: component("PlanMigrationPreview", z.object(shape), () => EXAMPLE),
    errors: ["plan_inactive"],
    sample: { body, auditEntries: 0 },
    run: async ({ service, body, options }) => await service.preview(body as never, options),
  }),
  verb(`GET ${one}/moves`, {
    service: PlanMigrationService,
    operationId: "listPlanMoves",
    summary: "List the subscribers of a plan migration",
    description: "They are listed when the migration is started. `status=failed` and `status=skipped` select those that were not moved.",
    scope: "read:plan-migrations",
    resource: "plan migration",
    loads: [planMigration],
    query: listQuery(planMove),
    output: pageOf(planMove),
    run: async ({ service, params, query }) => await service.listMoves(params.planMigrationId, ...listArguments(query)),
  }),
  verb(`POST ${one}/start`, {
    ...change,
    operationId: "startPlanMigration",
    summary: "Start a plan migration, or go on after a pause",
    errors: ["invalid_transition"],
    run: async ({ service, params, options }) => await service.start(params.planMigrationId, options),
  }),
  verb(`POST ${one}/pause`, {
    ...change,
    operationId: "pausePlanMigration",
    summary: "Pause a plan migration",
    description: "After the response no subscriber is moved.",
    errors: ["invalid_transition"],
    sample: { prepare: (service, { planMigrationId = "" }) => service.start(planMigrationId) },
    run: async ({ service, params, options }) => await service.pause(params.planMigrationId, options),
  }),
  verb(`POST ${one}/retry`, {
    ...change,
    operationId: "retryPlanMigration",
    summary: "Try those again that were skipped or failed",
    errors: ["invalid_transition"],
    sample: {
      prepare: async (service, { planMigrationId = "" }) => {
        await service.start(planMigrationId);
        await service.pause(planMigrationId);
      },
    },
    run: async ({ service, params, options }) => await service.retry(params.planMigrationId, options),
  }),
  verb(`POST ${one}/cancel`, {
    ...change,
    operationId: "cancelPlanMigration",
    summary: "Cancel a plan migration",
    description: "Those that were moved stay where they are.",
    errors: ["invalid_transition"],
    run: async ({ service, params, options }) => await service.cancel(params.planMigrationId, options),
  }),
];
