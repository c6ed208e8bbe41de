import { z } from "zod";
import { changedInstant, createdInstant, createOnly, given } from "../../core/fields.ts";
import { checkedText, instant, percent, segment } from "../../core/values.ts";
import { defineEntity, type RecordOf } from "../../kv/define.ts";
import { LIMITS_WITHOUT_METRIC } from "../plans/entity.ts";

export const METRIC_KINDS = ["gauge", "counter"] as const;
export type MetricKind = (typeof METRIC_KINDS)[number];
export const METRIC_POLICIES = ["hard", "soft", "overage"] as const;

/** Percentages of the limit at which usage alerts are sent, unless the metric has others. */
export const DEFAULT_THRESHOLDS: readonly number[] = [80, 100];

const METRIC_ID = /^[A-Za-z][A-Za-z0-9_.-]{0,63}$/;

/** The fixed segments of the paths of usage, which an id would hide. */
const PATH_SEGMENTS: ReadonlySet<string> = new Set(["history", "track"]);

function idFault(id: string): string | null {
  if (!METRIC_ID.test(id)) return "must be 1-64 characters of A-Z a-z 0-9 _ . - and begin with a letter";
  if (PATH_SEGMENTS.has(id)) return "is reserved for a path of usage; choose another id";
  return LIMITS_WITHOUT_METRIC.has(id) ? "is reserved for a plan limit that is not metered; choose another id" : null;
}

/** The maximum number of dimensions of a metric. The usage of a month has up to 200 groups for each. */
export const MAX_DIMENSIONS = 5;
const dimensions = z.array(
  z.string().regex(/^[A-Za-z][A-Za-z0-9_]{0,39}$/, "must be 1-40 characters of A-Z a-z 0-9 _ and begin with a letter"),
)
  .max(MAX_DIMENSIONS)
  .refine((names) => new Set(names).size === names.length, "must not name a dimension twice")
  .meta({ description: "The names by which usage events can be grouped, such as `endpoint`.", examples: [["endpoint", "method"]] });

export const metric = defineEntity({
  name: "metric",
  summary: "A kind of usage that is metered. A gauge is a level and carries over to the next month; a counter starts at zero each month.",
  key: "metric:{id}",
  schema: z.looseObject({
    id: createOnly(given(segment, checkedText(z.string(), idFault).meta({ minLength: 1, maxLength: 64 }))),
    name: z.string().min(1).max(100),
    unit: z.string().min(1).max(40).meta({ description: "The unit of the metric, such as `rooms` or `bytes`." }),
    /** Fixed: usage recorded as one kind has no meaning as the other. */
    kind: createOnly(z.enum(METRIC_KINDS)),
    policy: z.enum(METRIC_POLICIES).default("hard").meta({
      description: "What happens above the limit. `hard`: the amount is refused. `soft`: it is allowed and reported. " +
        "`overage`: it is allowed, and billed at the price of the plan version.",
    }),
    gracePercent: percent.default(0).meta({ description: "The percentage of the limit by which a `hard` metric may exceed it." }),
    description: z.string().max(2_000).default(""),
    thresholds: z.array(z.int().min(1).max(1_000).meta({ description: "A percentage of the limit." })).max(10)
      .refine((each) => new Set(each).size === each.length, "must not contain a percentage twice")
      .default([...DEFAULT_THRESHOLDS])
      .meta({ description: "The percentages of the limit that trigger a usage alert. An empty list means none." }),
    dimensions: dimensions.optional(),
    resolution: z.enum(["day", "hour"]).optional().meta({
      description: "The shortest buckets in which usage is recorded. Default: `day`. Only a counter can have hours.",
    }),
    createdAt: createdInstant(instant),
    updatedAt: changedInstant(instant.optional()),
  }).check(({ value: { kind, resolution, dimensions: names = [] }, issues }) => {
    if (kind === "counter") return;
    const message = "must be omitted for a gauge, whose level is recorded by day";
    if (resolution === "hour") issues.push({ code: "custom", input: resolution, path: ["resolution"], message });
    if (names.length > 0) issues.push({ code: "custom", input: names, path: ["dimensions"], message });
  }),
  owner: "platform",
  filterable: ["kind"],
  sortable: ["name", "createdAt"],
  defaultSort: "name",
  searchable: ["name", "description"],
  indexes: [["createdAt"], ["name"]],
  readableByTenants: true,
  example: {
    id: "api_calls",
    name: "API calls",
    unit: "calls",
    kind: "counter",
    policy: "hard",
    gracePercent: 0,
    description: "API requests in the month.",
    createdAt: "2026-01-01T00:00:00.000Z",
  },
});

export type Metric = RecordOf<typeof metric>;
