import { z } from "zod";
import { branding, brandingInput } from "../../core/branding.ts";
import { byServer, changedInstant, createdInstant, given } from "../../core/fields.ts";
import { maintenance } from "../../core/maintenance.ts";
import { SELF_SERVICE_PLANS } from "../../core/platform.ts";
import { sealed } from "../../core/sealed.ts";
import { currency, email, instant, segment, webUrl } from "../../core/values.ts";
import { defineEntity, type RecordOf } from "../../kv/define.ts";

const KEY = "platform:settings";
const text = z.string().trim().min(1).max(200);

/** The settings that a plan and a tenant can replace. */
const inherited = {
  enforceSSO: z.boolean().default(false).meta({ description: "If true, a token needs a method `sso/…` in its claim `amr`." }),
  require2FA: z.boolean().default(false).meta({ description: "If true, a token needs the claim `aal` with the value `aal2`." }),
  sessionTimeoutMinutes: z.int().min(1).max(525_600).meta({ description: "In minutes." }).default(60),
  gdprEnabled: z.boolean().default(true),
  ccpaEnabled: z.boolean().default(true),
  dataRetentionDays: z.int().min(1).max(36_500).meta({ description: "In days." }).default(730),
  emailNotifications: z.boolean().default(true),
};
export const INHERITED_SETTINGS = Object.keys(inherited) as readonly (keyof typeof inherited)[];

/** The settings of a plan or a tenant: those that it replaces, and others of its own. */
export const ownSettings = z.object({
  enforceSSO: inherited.enforceSSO.unwrap().optional(),
  require2FA: inherited.require2FA.unwrap().optional(),
  sessionTimeoutMinutes: inherited.sessionTimeoutMinutes.unwrap().optional().meta({ description: "In minutes." }),
  gdprEnabled: inherited.gdprEnabled.unwrap().optional(),
  ccpaEnabled: inherited.ccpaEnabled.unwrap().optional(),
  dataRetentionDays: inherited.dataRetentionDays.unwrap().optional().meta({ description: "In days." }),
  emailNotifications: inherited.emailNotifications.unwrap().optional(),
}).catchall(z.json()).meta({ description: "Replace those of the same name of the platform, and those of a plan." });

export const platformSettings = defineEntity({
  name: "platform-settings",
  summary: "The settings of the platform. A setting that was never changed has its default.",
  key: KEY,
  schema: z.looseObject({
    id: byServer(z.string()),
    platformName: given(z.string().default("Innkeep"), text.default("Innkeep")),
    platformUrl: given(z.string().nullable().default(null), webUrl.nullable().default(null)),
    supportEmail: email.nullable().default(null),
    branding: given(branding.optional(), brandingInput.optional()),
    currency: byServer(
      currency.default("USD").meta({ description: "ISO 4217 code. Set by INNKEEP_CURRENCY, because amounts are stored in it." }),
    ),
    enableSignups: z.boolean().default(true).meta({ description: "If false, nobody can create a tenant." }),
    enableTrials: z.boolean().default(true).meta({ description: "If false, no tenant can start a trial. Present trials go on." }),
    trialDurationDays: z.int().min(1).max(3_650).default(14).meta({
      description: "The length of a trial in days, if the plan does not set `trialDays`.",
    }),
    selfServicePlans: z.enum(SELF_SERVICE_PLANS).default("none").meta({
      description: "The plan changes that a tenant's own users may make: none, to a cheaper plan, or to any plan.",
    }),
    maxTenantsPerPlan: z.record(segment, z.int().min(0).meta({ description: "The maximum number of tenants." })).default({}).meta({
      description: "The maximum number of tenants by plan, without the cancelled ones. A plan that is omitted is unlimited.",
    }),
    ...inherited,
    maintenance,
    /** The URL of the Slack webhook. It authorizes whoever has it. */
    sealedSlackWebhookUrl: byServer(sealed.optional()),
    slackWebhookUrlLast4: byServer(
      z.string().optional().meta({ description: "The last 4 characters of `slackWebhookUrl`, which is never returned." }),
    ),
    revision: byServer(
      z.int().min(0).default(0).meta({ description: "The number of changes so far, the number of the newest in the history." }),
    ),
    createdAt: createdInstant(instant.optional()),
    updatedAt: changedInstant(instant.optional()),
    updatedBy: byServer(z.string().optional().meta({ description: "Who made the newest change." })),
  }),
  owner: "platform",
  naturalKey: true,
  userIds: ["updatedBy"],
  encrypted: ["sealedSlackWebhookUrl"],
  example: {
    id: KEY,
    platformName: "Innkeep",
    platformUrl: "https://innkeep.example",
    supportEmail: "help@innkeep.example",
    maxTenantsPerPlan: { Trial: 500 },
    revision: 3,
    createdAt: "2026-01-01T00:00:00.000Z",
    updatedAt: "2026-01-03T00:00:00.000Z",
    updatedBy: "5f0c3a52-6c43-4b3a-9d0a-4a1f2f0a7b11",
  },
});

const sides = z.record(z.string(), z.json());

export const settingsChange = defineEntity({
  name: "settings-change",
  summary: "One change of the platform's settings: who made it, and the settings before and after.",
  key: "settings:{id}",
  schema: z.looseObject({
    id: segment.meta({ description: "The number of the change, from 1." }),
    number: z.int().min(1).meta({ description: "The same as a number, for the order of the list." }),
    changes: z.object({ before: sides, after: sides }).meta({
      description: "The settings that differ. A side without a setting had none. Secrets are shown as `[redacted]`.",
    }),
    reverts: z.string().optional().meta({ description: "The change that this one reverted." }),
    changedBy: z.string(),
    createdAt: createdInstant(instant),
  }),
  owner: "platform",
  userIds: ["changedBy"],
  filterable: ["changedBy"],
  sortable: ["number", "createdAt"],
  defaultSort: "-number",
  indexes: [["number"], ["createdAt"], ["changedBy", "number"]],
  example: {
    id: "3",
    number: 3,
    changes: { before: { trialDurationDays: 14 }, after: { trialDurationDays: 30 } },
    changedBy: "5f0c3a52-6c43-4b3a-9d0a-4a1f2f0a7b11",
    createdAt: "2026-01-03T00:00:00.000Z",
  },
});

export const SETTINGS_KEY = KEY;
export type PlatformSettings = RecordOf<typeof platformSettings>;
export type SettingsChange = RecordOf<typeof settingsChange>;
