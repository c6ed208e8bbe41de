import { z } from "zod";
import { integer } from "../../core/list-query.ts";
import { type Route, verb } from "../../core/route.ts";
import { component } from "../../core/schemas.ts";
import { instant } from "../../core/values.ts";
import { STALE_REASONS } from "./rules.ts";
import { DEFAULT_STALE_DAYS, MAX_STALE_DAYS, StaleFlagService } from "./service.ts";

const SINCE = "Since when: the last evaluation, the last change of the flag, or the first expiry of an override.";

const report = component(
  "StaleFlags",
  z.object({
    days: z.int().meta({ description: "The number of days that something must have been so." }),
    asOf: instant.meta({ description: "The instant of the report." }),
    data: z.array(z.object({
      flagId: z.string(),
      key: z.string(),
      name: z.string(),
      reasons: z.array(z.object({ reason: z.enum(STALE_REASONS), since: instant.meta({ description: SINCE }) })),
      lastEvaluatedAt: instant.nullable().meta({ description: "When it was last evaluated by itself, to the hour." }),
      lastDeliveredAt: instant.nullable().meta({ description: "When it was last evaluated with all flags of a tenant, to the hour." }),
    })),
  }),
  () => ({
    days: 30,
    asOf: "2026-12-01T00:00:00.000Z",
    data: [{
      flagId: "ff_1767225600000_a1b2c3d4e5f6",
      key: "late-checkout",
      name: "Late checkout",
      reasons: [{ reason: "always_on", since: "2026-06-01T09:30:00.000Z" }],
      lastEvaluatedAt: "2026-11-30T22:00:00.000Z",
      lastDeliveredAt: null,
    }],
  }),
);

export const routes: readonly Route[] = [
  verb("GET /v1/flags/stale", {
    service: StaleFlagService,
    operationId: "listStaleFlags",
    summary: "List the flags that can probably be removed",
    description:
      "`not_evaluated`: no evaluation in that time. `only_delivered`: only evaluations of all flags of a tenant, which do not say " +
      "that a program uses the flag. `always_on`, `always_off`: the same for every tenant, and not changed in that time. " +
      "`overrides_expired`: overrides have expired and can be cleared.",
    scope: "read:flags",
    platformOnly: true,
    query: z.strictObject({
      days: integer(1, MAX_STALE_DAYS).optional().meta({ description: "The number of days.", default: DEFAULT_STALE_DAYS }),
    }),
    output: report,
    run: async ({ service, query }) => await service.report(query.days),
  }),
];
