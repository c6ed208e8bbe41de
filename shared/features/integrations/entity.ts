import { z } from "zod";
import { byServer, changedInstant, createdInstant } from "../../core/fields.ts";
import { sealed } from "../../core/sealed.ts";
import { instant, segment } from "../../core/values.ts";
import { defineEntity, type RecordOf } from "../../kv/define.ts";
import { CALL_OUTCOMES } from "../connector-events/entity.ts";

export const INTEGRATION_TYPES = [
  "payment_gateway",
  "accounting",
  "crm",
  "analytics",
  "email",
  "sms",
  "messaging",
  "channel_manager",
  "property_management",
] as const;
export type IntegrationType = (typeof INTEGRATION_TYPES)[number];

export const INTEGRATION_STATUSES = ["connected", "disconnected", "error", "pending"] as const;
export const SYNC_STATUSES = ["running", "success", "partial", "failed"] as const;
export type SyncStatus = (typeof SYNC_STATUSES)[number];
/** Why the credentials no longer work. */
export const REAUTH_REASONS = ["revoked", "invalid_credentials", "expired"] as const;
export type ReauthReason = (typeof REAUTH_REASONS)[number];
export const MAX_HISTORY = 50;
export const MAX_SYNC_ERROR_CHARS = 2_000;

export const CIRCUIT_STATES = ["closed", "open", "half_open"] as const;

const circuit = z.object({
  state: z.enum(CIRCUIT_STATES).meta({
    description:
      "`closed`: calls are made. `open`: calls are refused. `half_open`: one call is made to find out whether the provider works again.",
  }),
  failures: z.int().min(0).meta({ description: "Failed calls since the last that the provider responded to." }),
  refusals: z.int().min(0).meta({ description: "Calls with refused credentials since the last with accepted ones." }),
  openedAt: instant.optional(),
  nextProbeAt: instant.optional().meta({ description: "From then on, the next call is made." }),
});
export type Circuit = z.output<typeof circuit>;

const syncStatus = z.enum(SYNC_STATUSES);
const syncError = z.string().min(1).max(MAX_SYNC_ERROR_CHARS);
const REMINDED = "Days before the expiry of the credentials for which the reminder was sent or is no longer due.";

export const integration = defineEntity({
  name: "integration",
  summary: "A tenant's connection to a provider, such as Stripe. Its credentials are encrypted, and no response shows them.",
  key: "integration:{tenantId}:{provider}",
  schema: z.looseObject({
    id: z.string(),
    tenantId: byServer(segment),
    provider: byServer(segment.meta({ examples: ["stripe"] })),
    type: byServer(z.enum(INTEGRATION_TYPES)),
    status: byServer(z.enum(INTEGRATION_STATUSES)),
    enabled: byServer(z.boolean().default(true).meta({ description: "If false, the program makes no calls." })),
    config: byServer(z.record(z.string(), z.json()).default({})),
    /** An object of texts. */
    credentials: byServer(sealed.optional()),
    credentialFields: byServer(
      z.array(z.object({
        name: z.string(),
        last4: z.string().length(4).optional().meta({ description: "The last 4 characters of a value of at least 12." }),
      })).default([]).meta({ description: "The names of the stored credentials." }),
    ),
    credentialsSetAt: byServer(instant.optional()),
    credentialsExpireAt: byServer(instant.optional().meta({ description: "Reminders are sent 14, 7 and 1 days before." })),
    reminded: byServer(z.array(z.int().meta({ description: REMINDED })).default([])),
    /** When the job `integrations` looks at it. */
    nextCheckAt: byServer(instant.optional()),
    needsReauth: byServer(
      z.boolean().default(false).meta({ description: "If true, the program makes no calls until it is connected again." }),
    ),
    reauthReason: byServer(z.enum(REAUTH_REASONS).optional()),
    connectedAt: byServer(instant.optional()),
    disconnectedAt: byServer(instant.optional()),
    lastSyncAt: byServer(instant.optional().meta({ description: "The end of the last synchronisation." })),
    lastSyncStatus: byServer(syncStatus.optional()),
    lastSyncError: byServer(syncError.optional()),
    consecutiveFailures: byServer(z.int().min(0).default(0).meta({ description: "Failed synchronisations since the last success." })),
    syncHistory: byServer(
      z.array(z.object({ at: instant, status: syncStatus, error: syncError.optional() })).max(MAX_HISTORY).default([]).meta({
        description: `The last ${MAX_HISTORY} synchronisations, the newest first.`,
      }),
    ),
    lastTest: byServer(
      z.object({
        at: instant,
        outcome: z.enum(CALL_OUTCOMES),
        statusCode: z.int().optional().meta({ description: "The HTTP status of the provider's response." }),
        durationMs: z.number().min(0).meta({ description: "How long the provider took, in milliseconds." }),
      }).optional().meta({ description: "The last test of the connection." }),
    ),
    circuit: byServer(circuit.default({ state: "closed", failures: 0, refusals: 0 })),
    createdAt: createdInstant(instant),
    updatedAt: changedInstant(instant.optional()),
  }),
  owner: "tenant",
  filterable: ["provider", "type", "status", "enabled", "needsReauth", "lastSyncStatus", "lastSyncAt", "credentialsExpireAt"],
  sortable: ["provider", "createdAt", "lastSyncAt", "nextCheckAt"],
  defaultSort: "provider",
  indexes: [["@tenantId", "provider"], ["nextCheckAt"]],
  encrypted: ["credentials"],
  naturalKey: true,
  exported: true,
  example: {
    id: "integration:tn_1767225600000_a1b2c3d4e5f6:stripe",
    tenantId: "tn_1767225600000_a1b2c3d4e5f6",
    provider: "stripe",
    type: "payment_gateway",
    status: "connected",
    enabled: true,
    config: { accountId: "acct_1a2B3c4D5e6F" },
    credentialFields: [{ name: "secretKey", last4: "4fZ9" }],
    credentialsSetAt: "2026-01-01T00:00:00.000Z",
    needsReauth: false,
    connectedAt: "2026-01-01T00:00:00.000Z",
    lastSyncAt: "2026-01-02T00:00:00.000Z",
    lastSyncStatus: "success",
    consecutiveFailures: 0,
    syncHistory: [{ at: "2026-01-02T00:00:00.000Z", status: "success" }],
    createdAt: "2026-01-01T00:00:00.000Z",
  },
});

export type Integration = RecordOf<typeof integration>;
