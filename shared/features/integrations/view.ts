import { z } from "zod";
import type { Stored } from "../../core/collection.ts";
import { component } from "../../core/schemas.ts";
import { instant } from "../../core/values.ts";
import { CALL_OUTCOMES } from "../connector-events/entity.ts";
import { type integration, INTEGRATION_TYPES } from "./entity.ts";
import { OUTCOME_TEXTS } from "./rules.ts";

type Record = Stored<typeof integration>;

/** An integration as reads show it. */
export type ShownIntegration = { readonly [F in keyof Record as F extends "credentials" ? never : F]: Record[F] };

export function shown(record: Record): ShownIntegration {
  const { credentials: _, ...rest } = record;
  return rest as unknown as ShownIntegration;
}

export const testView = component(
  "IntegrationTest",
  z.object({
    outcome: z.enum(CALL_OUTCOMES),
    message: z.string().meta({ description: "What the outcome means and what to do, for people." }),
    statusCode: z.int().optional().meta({ description: "The HTTP status of the provider's response." }),
    durationMs: z.number().meta({ description: "How long the provider took, in milliseconds." }),
    at: instant,
    version: z.string().meta({ description: "The version of the integration, as in the ETag." }),
  }),
  () => ({ outcome: "ok", message: OUTCOME_TEXTS.ok, statusCode: 200, durationMs: 182, at: "2026-01-01T00:00:00.000Z", version: "42" }),
);
export type IntegrationTest = z.output<typeof testView>;

const schema = z.record(z.string(), z.json()).meta({ description: "A JSON Schema (2020-12)." });
export const providersView = component(
  "IntegrationProviders",
  z.object({
    data: z.array(z.object({
      id: z.string(),
      name: z.string(),
      type: z.enum(INTEGRATION_TYPES),
      docs: z.url().meta({ description: "Where the provider documents its credentials." }),
      config: schema,
      credentials: schema,
    })),
  }),
  () => ({
    data: [{
      id: "hubspot",
      name: "HubSpot",
      type: "crm",
      docs: "https://developers.hubspot.com/docs/guides/apps/private-apps/overview",
      config: { type: "object", properties: {}, additionalProperties: false },
      credentials: {
        type: "object",
        properties: { accessToken: { type: "string", minLength: 8 } },
        required: ["accessToken"],
        additionalProperties: false,
      },
    }],
  }),
);
