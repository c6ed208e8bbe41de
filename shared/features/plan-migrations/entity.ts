import { z } from "zod";
import { byServer, changedInstant, createdInstant, createOnly, generated, given } from "../../core/fields.ts";
import { instant, segment } from "../../core/values.ts";
import { defineEntity, type RecordOf } from "../../kv/define.ts";
import { planReference } from "../plans/entity.ts";
import { SUBSCRIPTION_STATUSES } from "../subscriptions/entity.ts";

export const MIGRATION_STATUSES = ["draft", "running", "paused", "completed", "cancelled"] as const;
export type MigrationStatus = (typeof MIGRATION_STATUSES)[number];
export const MIGRATION_MODES = ["prorate", "next_period", "no_billing_change"] as const;
export const MOVE_STATUSES = ["waiting", "moved", "skipped", "failed"] as const;

const versionNumber = z.int().min(1).meta({ description: "The version of a plan." });
const count = (description: string) => z.int().min(0).default(0).meta({ description });

const cohortMembers = {
  status: z.array(z.enum(SUBSCRIPTION_STATUSES)).min(1).max(4).optional().meta({ description: "The states of the subscriptions." }),
  region: z.array(segment).min(1).max(100).optional().meta({ description: "The regions of the tenants." }),
  createdFrom: instant.optional().meta({ description: "Tenants that were created at this instant or later." }),
  createdTo: instant.optional().meta({ description: "Tenants that were created before this instant." }),
  tenantIds: z.array(segment).min(1).max(1_000).optional().meta({ description: "These tenants only." }),
};
const COHORT = { description: "Which subscribers are moved: those that match all members. Default: all." };
const cohort = given(z.looseObject(cohortMembers).default({}).meta(COHORT), z.strictObject(cohortMembers).default({}).meta(COHORT));

export const planMigration = defineEntity({
  name: "plan-migration",
  summary: "A move of existing subscribers to another version of their plan, or to another plan.",
  key: "planmigration:{id}",
  schema: z.looseObject({
    id: generated("pm", segment),
    planId: createOnly(given(segment, planReference)),
    fromVersions: createOnly(
      z.array(versionNumber).min(1).max(100).optional().meta({
        description: "The versions whose subscribers are moved. Default: all below `toVersion`, or all versions of another plan.",
      }),
    ),
    toPlanId: createOnly(given(
      segment,
      planReference.optional().meta({ description: "The plan to which they are moved. Default: `planId`." }),
    )),
    toVersion: createOnly(given(
      versionNumber,
      versionNumber.optional().meta({ description: "The version to which they are moved. Default: the newest." }),
    )),
    cohort: createOnly(cohort),
    mode: createOnly(
      z.enum(MIGRATION_MODES).meta({
        description: "`prorate`: as a plan change. `next_period`: the new price begins with the next period. " +
          "`no_billing_change`: the price and interval stay, also in later periods.",
      }),
    ),
    waveSize: createOnly(z.int().min(1).max(1_000).default(100).meta({ description: "The number of subscribers of a wave." })),
    waveMinutes: createOnly(z.int().min(1).max(10_080).default(5).meta({ description: "The minutes from one wave to the next." })),
    startAt: createOnly(instant.optional().meta({ description: "The first wave begins at this instant or later." })),
    status: byServer(z.enum(MIGRATION_STATUSES)),
    /** What the job does next: list the subscribers, move them, or list those that are tried again. */
    phase: byServer(z.enum(["list", "move", "retry"])),
    /** Where the next page of the list begins. */
    cursor: byServer(z.string().max(4_000).optional()),
    waveLeft: byServer(count("What is left of the present wave.")),
    nextWaveAt: byServer(instant.optional()),
    waiting: byServer(count("The number of subscribers that are still to be moved. They are counted when the migration is started.")),
    moved: byServer(count("The number of subscribers that were moved.")),
    skipped: byServer(count("The number of subscribers that were left where they are.")),
    failed: byServer(count("The number of subscribers that could not be moved.")),
    startedAt: byServer(instant.optional()),
    completedAt: byServer(instant.optional()),
    createdAt: createdInstant(instant),
    updatedAt: changedInstant(instant.optional()),
  }),
  owner: "platform",
  filterable: ["status", "planId", "toPlanId"],
  sortable: ["createdAt"],
  indexes: [["status", "createdAt"], ["createdAt"]],
  example: {
    id: "pm_1767225600000_a1b2c3d4e5f6",
    planId: "Pro",
    toPlanId: "Pro",
    toVersion: 2,
    cohort: { region: ["eu-west-1"] },
    mode: "next_period",
    waveSize: 100,
    waveMinutes: 5,
    status: "running",
    phase: "move",
    waveLeft: 40,
    nextWaveAt: "2026-01-01T00:10:00.000Z",
    waiting: 838,
    moved: 158,
    skipped: 3,
    failed: 1,
    startedAt: "2026-01-01T00:04:00.000Z",
    createdAt: "2026-01-01T00:00:00.000Z",
  },
});

export const planMove = defineEntity({
  name: "plan-move",
  summary: "A subscriber in a plan migration: whether it was moved, and why not.",
  key: "planmove:{migrationId}:{tenant}",
  schema: z.looseObject({
    id: z.string(),
    migrationId: segment,
    /** The record itself is the platform's. */
    tenant: segment.meta({ description: "The id of the tenant." }),
    status: z.enum(MOVE_STATUSES),
    reason: z.string().max(1_000).optional().meta({ description: "Why it was skipped, or the code of the error." }),
    message: z.string().max(1_000).optional(),
    createdAt: instant,
    updatedAt: instant,
  }),
  owner: "platform",
  naturalKey: true,
  filterable: ["migrationId", "status", "tenant"],
  sortable: ["createdAt"],
  indexes: [["migrationId", "status", "createdAt"]],
  retention: { days: 365, after: "createdAt" },
  example: {
    id: "planmove:pm_1767225600000_a1b2c3d4e5f6:tn_1767225600000_a1b2c3d4e5f6",
    migrationId: "pm_1767225600000_a1b2c3d4e5f6",
    tenant: "tn_1767225600000_a1b2c3d4e5f6",
    status: "skipped",
    reason: "legal_hold",
    createdAt: "2026-01-01T00:04:00.000Z",
    updatedAt: "2026-01-01T00:05:00.000Z",
  },
});

export type PlanMigration = RecordOf<typeof planMigration>;
export type PlanMove = RecordOf<typeof planMove>;
