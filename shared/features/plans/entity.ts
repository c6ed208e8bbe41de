import { z } from "zod";
import { changedInstant, createdInstant, createOnly, given } from "../../core/fields.ts";
import { currency, instant, metadata, minorUnits, segment } from "../../core/values.ts";
import { defineEntity, type RecordOf } from "../../kv/define.ts";

/** A plan id, or its full key `plan:<id>`. */
export const planReference = z.string().min(1).max(160).transform((id) => id.startsWith("plan:") ? id.slice(5) : id).pipe(segment);

/** Limits that no metric stands behind: custom domains are counted by their claims, at once, and never by the month. */
export const LIMITS_WITHOUT_METRIC: ReadonlySet<string> = new Set(["customDomains"]);

/** What a plan allows of each metric; null, or left out, is unlimited. */
export const planLimits = z.record(
  segment,
  z.int().min(0).nullable().meta({ description: "At most, in the metric's unit: bytes of `storage`, else a count; null is unlimited." }),
).meta({ description: "Metric → limit; a metric that is left out is unlimited." });

export const plan = defineEntity({
  name: "plan",
  summary: "What a tenant can subscribe to: price, limits, features.",
  key: "plan:{id}",
  schema: z.looseObject({
    id: createOnly(given(segment, segment.optional().meta({ description: "Left out: the name." }))),
    name: z.string().min(1).max(100),
    displayName: given(
      z.string().min(1).max(200),
      z.string().min(1).max(200).optional().meta({ description: "The name for customers. A creation without it takes the name." }),
    ),
    description: z.string().max(2_000).default(""),
    price: minorUnits.meta({ description: "For one interval, in the minor unit of `currency`: 29900 USD is 299.00 dollars." }),
    currency: currency.meta({ description: "ISO 4217 code." }),
    interval: z.enum(["monthly", "yearly"]),
    limits: planLimits,
    features: z.array(z.string().max(100)).max(200).default([]),
    trialDays: z.int().min(0).max(730).meta({ description: "Length of the trial in days." }).optional(),
    active: z.boolean().default(true),
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
    price: 29900,
    currency: "USD",
    interval: "monthly",
    limits: { users: 50, properties: 10, rooms: 500, bookings: 10_000, api_calls: 1_000_000, storage: 107_374_182_400, customDomains: 3 },
    features: ["channel-manager", "api"],
    active: true,
    createdAt: "2026-01-01T00:00:00.000Z",
  },
});

export type Plan = RecordOf<typeof plan>;
