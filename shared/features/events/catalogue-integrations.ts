import { z } from "zod";
import { instant } from "../../core/values.ts";
import { integration, REAUTH_REASONS } from "../integrations/entity.ts";
import { eventsOf, type EventType } from "./event-type.ts";

const expiring = z.object({ daysLeft: z.int().meta({ description: "14, 7 or 1." }), credentialsExpireAt: instant })
  .meta({ examples: [{ daysLeft: 7, credentialsExpireAt: "2026-01-08T00:00:00.000Z" }] });
const broken = z.object({ reason: z.enum(REAUTH_REASONS) }).meta({ examples: [{ reason: "revoked" }] });
const turned = z.object({ failures: z.int().meta({ description: "Failed calls since the last that the provider responded to." }) });

/** Connections of tenants to other systems. */
export const integrationEvents: readonly EventType[] = eventsOf(integration, {
  "integration.connected": "A provider was connected, or connected again with new credentials.",
  "integration.updated": "The config or the credentials of a connected provider were changed.",
  "integration.disconnected": {
    description: "A provider was disconnected, and its credentials were deleted.",
    example: { status: "disconnected", credentialFields: [], disconnectedAt: "2026-01-03T00:00:00.000Z" },
  },
  "integration.synced": "A synchronisation has begun, ended or failed.",
  "integration.tested": {
    description: "The connection to a provider was tested.",
    example: { lastTest: { at: "2026-01-03T00:00:00.000Z", outcome: "ok", statusCode: 200, durationMs: 182 } },
  },
  "integration.credentials_expiring": { description: "The credentials of an integration expire soon.", extra: expiring },
  "integration.needs_reauth": {
    description: "The credentials of an integration no longer work. No calls are made until it has new ones.",
    extra: broken,
    example: { status: "error", needsReauth: true, reauthReason: "revoked" },
  },
  "integration.circuit_opened": {
    description: "Calls of a provider failed, so no calls are made for some time.",
    extra: turned.meta({ examples: [{ failures: 5 }] }),
    example: {
      circuit: {
        state: "open",
        failures: 5,
        refusals: 0,
        openedAt: "2026-01-03T00:00:00.000Z",
        nextProbeAt: "2026-01-03T00:01:00.000Z",
      },
    },
  },
  "integration.circuit_closed": {
    description: "A provider responds again, so calls are made.",
    extra: turned.meta({ examples: [{ failures: 0 }] }),
  },
});
