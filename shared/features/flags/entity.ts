import { z } from "zod";
import { byServer, changedInstant, createdInstant, createOnly, generated, given } from "../../core/fields.ts";
import { checkedText, instant, metadata, percent, segment } from "../../core/values.ts";
import { defineEntity, type RecordOf } from "../../kv/define.ts";
import { planReference } from "../plans/entity.ts";

export const FLAG_SCOPES = ["global", "plan", "tenant"] as const;
export const FLAG_STATUSES = ["enabled", "disabled", "beta"] as const;
export const FLAG_TYPES = ["boolean", "string", "number", "json"] as const;
export type FlagType = (typeof FLAG_TYPES)[number];
export const OPERATORS = [
  ...["in", "notIn", "startsWith", "endsWith", "contains"] as const,
  ...["gt", "gte", "lt", "lte", "before", "after"] as const,
  ...["semverEq", "semverGt", "semverLt"] as const,
] as const;
export type Operator = (typeof OPERATORS)[number];

/** All flags are evaluated in one read and cached, so their number and size are bounded. */
export const MAX_FLAGS = 500;
export const MAX_FLAG_BYTES = 100_000;

const KEY = /^[a-z0-9_.-]{1,100}$/;
const keyFault = (key: string) =>
  KEY.test(key) && key !== "." && key !== ".." ? null : "must be 1-100 characters of a-z 0-9 _ . -, and not . or ..";

const VARIANT = /^[A-Za-z0-9][A-Za-z0-9_.-]{0,63}$/;
const NAME_RULE = "must be 1-64 characters of A-Z a-z 0-9 _ . - and begin with a letter or digit";
const DECIMALS_RULE = "must have at most 2 decimals";
const variantName = z.string().regex(VARIANT, NAME_RULE);

/** What is wrong with the name of a variant. Also for a patch, which checks the members of an object only after the merge. */
export function variantNameFault(name: string): string | null {
  return VARIANT.test(name) ? null : NAME_RULE;
}

/** What is wrong with a percentage between 0 and 100: a bucket is a hundredth. */
export function shareFault(amount: number): string | null {
  return Math.round(amount * 100) / 100 === amount ? null : DECIMALS_RULE;
}

const SHARE = "A percentage, 0 to 100.";
const storedShare = percent.meta({ description: SHARE });
const share = percent.refine((amount) => shareFault(amount) === null, DECIMALS_RULE).meta({ description: `${SHARE} At most 2 decimals.` });

const attribute = z.string().min(1).max(100).meta({
  description: "`tenantId`, `plan`, `region`, `status`, `userId`, or a member of the evaluation context.",
});
const operator = z.enum(OPERATORS);
const COMPARED = { description: "A text, number or boolean that the attribute is compared with." };
const comparedValue = z.union([z.string(), z.number(), z.boolean()]).meta(COMPARED);

/** The stored forms are open and unbounded, so that a later, stricter rule leaves stored flags readable. */
const storedRule = z.looseObject({
  id: z.string(),
  when: z.array(z.looseObject({ attribute: z.string(), operator, values: z.array(comparedValue) })),
  enabled: z.boolean().optional(),
  variant: z.string().optional(),
  rolloutPercentage: storedShare.optional(),
});

const condition = z.strictObject({
  attribute,
  operator,
  values: z.array(z.union([z.string().max(200), z.number(), z.boolean()]).meta(COMPARED)).min(1).max(200).meta({
    description: "The condition holds if it holds for one of them; `notIn` if the attribute equals none. " +
      "Comparisons of numbers, dates and versions take one value.",
  }),
});
const rule = z.strictObject({
  id: variantName,
  when: z.array(condition).max(20).meta({ description: "All of them must hold. An empty list always holds." }),
  enabled: z.boolean().optional().meta({ description: "What the rule decides. Default: true." }),
  variant: variantName.optional().meta({ description: "The variant of the value. Default: that of on or off." }),
  rolloutPercentage: share.optional().meta({ description: "Only this percentage of those that match get it; the others are off." }),
});

const tenantReference = z.string().min(1).max(160).transform((id) => id.replace(/^tenant:/, "")).pipe(segment);
const tenantIds = z.array(segment);
const tenantIdsInput = z.array(tenantReference).max(1_000);

const variants = z.record(z.string(), z.json()).meta({
  description: "The values by name, of the flag's type. A boolean flag has `on` and `off` without declaring them.",
});
const weights = z.record(z.string(), storedShare).meta({
  description: "The percentages of the variants of an enabled flag, which sum to 100. A bucket of the stickiness attribute picks one.",
});

export const flag = defineEntity({
  name: "flag",
  summary: "A feature flag: who gets a feature, or which variant of it.",
  key: "flag:{id}",
  schema: z.looseObject({
    id: generated("ff", segment),
    key: createOnly(given(segment, checkedText(z.string(), keyFault).meta({ minLength: 1, maxLength: 100 }))),
    name: z.string().min(1).max(200),
    description: z.string().max(2_000).default(""),
    scope: z.enum(FLAG_SCOPES).default("global").meta({
      description: "`plan`: only for the plans in `enabledForPlans`. `tenant`: off, unless a list, override, rule or rollout turns it on.",
    }),
    status: z.enum(FLAG_STATUSES).default("disabled").meta({
      description: "`disabled`: off for everyone. `beta`: on only for tenants in `enabledForTenants` or with an override.",
    }),
    enabledForPlans: given(z.array(segment).optional(), z.array(planReference).max(100).optional()),
    enabledForTenants: given(tenantIds.optional(), tenantIdsInput.optional()),
    disabledForTenants: given(tenantIds.optional(), tenantIdsInput.optional()),
    /** Fixed: the programs that read the flag expect this type. */
    type: createOnly(z.enum(FLAG_TYPES).default("boolean")),
    variants: given(variants.optional(), z.record(variantName, z.json()).optional()),
    onVariant: given(z.string().optional(), variantName.optional().meta({ description: "The variant while on. Boolean default: `on`." })),
    offVariant: given(
      z.string().optional(),
      variantName.optional().meta({ description: "The variant while off. Boolean default: `off`. Without one, the value is null." }),
    ),
    weights: given(weights.optional(), z.record(variantName, share).optional()),
    rules: given(z.array(storedRule).optional(), z.array(rule).max(100).optional()),
    rolloutPercentage: given(storedShare.optional(), share.optional()),
    stickiness: given(z.string().default("tenantId"), attribute.default("tenantId")),
    serverOnly: z.boolean().default(false).meta({ description: "Whether it is hidden from tenants and client programs." }),
    metadata: metadata.optional(),
    created: createdInstant(instant),
    updated: changedInstant(instant),
    createdBy: byServer(z.string().optional()),
  }),
  owner: "platform",
  subjects: { userId: "createdBy" },
  filterable: ["key", "scope", "status", "type", "serverOnly"],
  sortable: ["key", "name", "created", "updated"],
  defaultSort: "key",
  searchable: ["key", "name", "description"],
  indexes: [["key"], ["name"], ["created"], ["updated"]],
  // Tenants' services evaluate flags over their own store. No route shows a tenant the record.
  readableByTenants: true,
  example: {
    id: "ff_1767225600000_a1b2c3d4e5f6",
    key: "late-checkout",
    name: "Late checkout",
    description: "Guests can book a later checkout.",
    scope: "plan",
    status: "enabled",
    enabledForPlans: ["Pro", "Enterprise"],
    type: "boolean",
    rules: [{ id: "europe", when: [{ attribute: "region", operator: "in", values: ["eu-west-1"] }] }],
    rolloutPercentage: 25,
    stickiness: "tenantId",
    serverOnly: false,
    created: "2026-01-01T00:00:00.000Z",
    updated: "2026-01-01T00:00:00.000Z",
    createdBy: "admin-1",
  },
});

export const flagOverride = defineEntity({
  name: "flag-override",
  summary: "What one tenant gets of a feature flag, whatever its rules say.",
  key: "flag:{tenantId}:{flagId}",
  schema: z.looseObject({
    flagId: createOnly(segment),
    tenantId: byServer(segment),
    enabled: z.boolean(),
    variant: given(z.string().optional(), variantName.optional().meta({ description: "Default: the variant of on or off." })),
    reason: z.string().min(1).max(500).optional().meta({ description: "Why the tenant has it. The tenant can read it in its audit log." }),
    expiresAt: instant.optional().meta({ description: "The first instant at which it no longer counts. If omitted, it does not expire." }),
    createdAt: createdInstant(instant),
    updatedAt: changedInstant(instant),
  }),
  owner: "tenant",
  filterable: ["flagId", "enabled", "expiresAt"],
  sortable: ["createdAt", "updatedAt", "expiresAt"],
  indexes: [["flagId", "createdAt"], ["expiresAt"]],
  exported: true,
  example: {
    flagId: "ff_1767225600000_a1b2c3d4e5f6",
    tenantId: "tn_1767225600000_a1b2c3d4e5f6",
    enabled: true,
    reason: "Asked for early access.",
    expiresAt: "2026-07-01T00:00:00.000Z",
    createdAt: "2026-01-01T00:00:00.000Z",
    updatedAt: "2026-01-01T00:00:00.000Z",
  },
});

export const flagKeyClaim = defineEntity({
  name: "flag-key-claim",
  summary: "The flag that holds or held a key. It outlives its flag, so that no other flag takes the key by accident.",
  key: "flagkey:{key}",
  schema: z.looseObject({ key: segment, flagId: segment, createdAt: instant, deletedAt: instant.optional() }),
  owner: "platform",
  example: { key: "late-checkout", flagId: "ff_1767225600000_a1b2c3d4e5f6", createdAt: "2026-01-01T00:00:00.000Z" },
});

export const flagSet = defineEntity({
  name: "flag-set",
  summary: "The revision of all flags. Every change of a flag counts it up, and processes that cache the flags compare its version.",
  key: "flagset:{id}",
  schema: z.looseObject({ id: segment, revision: z.int().min(0), updatedAt: instant }),
  owner: "platform",
  readableByTenants: true,
  example: { id: "current", revision: 7, updatedAt: "2026-01-01T00:00:00.000Z" },
});

export type Flag = RecordOf<typeof flag>;
export type FlagRule = NonNullable<Flag["rules"]>[number];
export type FlagCondition = FlagRule["when"][number];
export type FlagOverride = RecordOf<typeof flagOverride>;
