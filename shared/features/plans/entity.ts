import { z } from "zod";
import { byServer, changedInstant, createdInstant, createOnly, given } from "../../core/fields.ts";
import { INTERVALS } from "../../core/periods.ts";
import { currency, instant, metadata, minorUnits, segment } from "../../core/values.ts";
import { defineEntity, type RecordOf } from "../../kv/define.ts";
import { ownSettings } from "../settings/entity.ts";

/** A plan id, or its full key `plan:<id>`. */
export const planReference = z.string().min(1).max(160).transform((id) => id.startsWith("plan:") ? id.slice(5) : id).pipe(segment);

/** Names of limits without a metric. Custom domains are not metered by month, because each one has a claim. */
export const LIMITS_WITHOUT_METRIC: ReadonlySet<string> = new Set(["customDomains"]);

/** The limit of each metric. */
export const planLimits = z.record(
  segment,
  z.int().min(0).nullable().meta({ description: "The maximum, in the metric's unit, such as bytes of `storage`. Null means unlimited." }),
).meta({ description: "Limits by metric. A metric that is omitted is unlimited." });

/** The price of each metric above its limit. */
const overagePrices = z.record(
  segment,
  z.strictObject({
    unitAmount: minorUnits.meta({ description: "The price of one package, in the minor unit of `currency`." }),
    per: z.int().min(1).max(1e15).default(1).meta({
      description: "The size of a package, in the metric's unit. A package that is begun is billed whole.",
    }),
  }),
).meta({
  description: "Prices of what is used above the limit, by metric. Billed when a month closes, if the metric's policy is `overage`.",
});

/** What a subscriber pays and gets. A change of these fields makes a new version of the plan. */
const terms = {
  price: minorUnits.meta({
    description: "The price of one billing interval, in the minor unit of `currency`: 29900 in USD means 299.00 dollars.",
  }),
  currency: currency.meta({ description: "ISO 4217 code." }),
  interval: z.enum(INTERVALS).meta({ description: "The unit of the billing interval." }),
  intervalCount: z.int().min(1).max(365).default(1).meta({
    description: "The number of units in a billing interval: `monthly` and 3 is a quarter. At most 3 years in all.",
  }),
  limits: planLimits,
  features: z.array(z.string().max(100)).max(200).default([]),
  trialDays: z.int().min(0).max(730).meta({ description: "The length of the trial in days." }).optional(),
  overage: overagePrices.optional(),
};
export const TERMS = Object.keys(terms) as (keyof typeof terms)[];

const versionNumber = z.int().min(1).meta({ description: "Counts the versions of the plan, from 1." });

const EXAMPLE_TERMS = {
  price: 29900,
  currency: "USD",
  interval: "monthly" as const,
  intervalCount: 1,
  limits: { users: 50, properties: 10, rooms: 500, bookings: 10_000, api_calls: 1_000_000, storage: 107_374_182_400, customDomains: 3 },
  features: ["channel-manager", "api"],
};

export const plan = defineEntity({
  name: "plan",
  summary: "What a tenant can subscribe to: price, limits, features.",
  key: "plan:{id}",
  schema: z.looseObject({
    id: createOnly(given(segment, segment.optional().meta({ description: "Default: the name." }))),
    name: z.string().min(1).max(100),
    displayName: given(
      z.string().min(1).max(200),
      z.string().min(1).max(200).optional().meta({ description: "The name for customers. Default on creation: the name." }),
    ),
    description: z.string().max(2_000).default(""),
    ...terms,
    planVersion: byServer(versionNumber.meta({
      description: "Counts the changes of price, currency, interval, limits, features and trial. New subscribers get this version.",
    })),
    active: z.boolean().default(true),
    settings: given(metadata.optional(), ownSettings.optional()),
    metadata: metadata.optional(),
    createdAt: createdInstant(instant),
    updatedAt: changedInstant(instant.optional()),
  }),
  owner: "platform",
  filterable: ["active", "interval"],
  sortable: ["name", "price", "createdAt"],
  defaultSort: "price",
  searchable: ["name", "displayName", "description"],
  indexes: [["createdAt"], ["name"], ["price"]],
  readableByTenants: true,
  example: {
    id: "Pro",
    name: "Pro",
    displayName: "Professional",
    description: "For groups of hotels",
    ...EXAMPLE_TERMS,
    planVersion: 1,
    active: true,
    createdAt: "2026-01-01T00:00:00.000Z",
  },
});

export const planVersion = defineEntity({
  name: "plan-version",
  summary: "The price, limits and features that a plan had. It is never changed, and subscribers keep the version they were sold.",
  key: "planversion:{planId}:{n}",
  schema: z.looseObject({
    id: z.string(),
    planId: segment,
    n: versionNumber,
    ...terms,
    createdAt: instant,
  }),
  owner: "platform",
  filterable: ["planId"],
  sortable: ["n", "createdAt"],
  defaultSort: "-n",
  indexes: [["planId", "n"], ["createdAt"]],
  readableByTenants: true,
  naturalKey: true,
  example: {
    id: "planversion:Pro:1",
    planId: "Pro",
    n: 1,
    ...EXAMPLE_TERMS,
    createdAt: "2026-01-01T00:00:00.000Z",
  },
});

export type Plan = RecordOf<typeof plan>;
export type PlanVersion = RecordOf<typeof planVersion>;
/** What a subscriber pays and gets: a plan's present terms, or those of one of its versions. */
export type PlanTerms = Pick<Plan, keyof typeof terms>;
