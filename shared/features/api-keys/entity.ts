import { z } from "zod";
import { byServer, changedInstant, createdInstant, createOnly, generated, given, platformOnly } from "../../core/fields.ts";
import { instant, segment } from "../../core/values.ts";
import { defineEntity, type RecordOf } from "../../kv/define.ts";

export const ENVIRONMENTS = ["live", "test"] as const;

const scopes = z.array(z.string().min(1).max(100)).min(1).max(200)
  .meta({
    description: "Scopes of the catalogue, `read:*`, `write:*`, or `*` for everything.",
    examples: [["read:tenants", "read:usage"]],
  });
const allowedIps = z.array(z.string().min(1).max(64)).min(1).max(100)
  .meta({
    description: "IPv4 and IPv6 addresses and CIDR ranges from which the key may be used.",
    examples: [["203.0.113.7", "2001:db8::/32"]],
  });
const rateLimit = z.strictObject({
  limit: z.int().min(1).max(1_000_000).meta({ description: "The number of requests in each window." }),
  windowSeconds: z.int().min(1).max(86_400).meta({ description: "The length of a window." }),
}).meta({ description: "The key's own rate limit, instead of the platform's." });
const autoDisableAfterDays = z.int().min(1).max(3_650)
  .meta({ description: "The key is disabled when it was not used for this number of days." });
const prefix = z.string().max(32).meta({ description: "How the secret begins.", examples: ["ik_live_4fZ9qT"] });
const last4 = z.string().length(4).meta({ description: "How the secret ends.", examples: ["0aZ7"] });

const REMINDED = "Days before the expiry for which the reminder was sent or is no longer due. 0 stands for the expiry itself.";

/** What authentication needs of a key, in the record and in the look-up of its secret. */
const rights = {
  name: z.string().min(1).max(200),
  scopes,
  enabled: z.boolean().default(true),
  allowedIps: allowedIps.optional(),
  rateLimit: rateLimit.optional(),
  expiresAt: instant.optional(),
};

export const apiKey = defineEntity({
  name: "api-key",
  summary: "A credential of a program: of the platform, or of one tenant. Its secret is not stored.",
  key: "apikey:{id}",
  schema: z.looseObject({
    /** Ids are unique on the platform, so a chosen one would tell a tenant which ids others have. */
    id: platformOnly(generated("key", segment)),
    tenantId: createOnly(segment.optional()),
    environment: createOnly(z.enum(ENVIRONMENTS).default("live").meta({ description: "How the secret begins: `ik_live_` or `ik_test_`." })),
    ...rights,
    /** A tenant could otherwise lift the platform's limit. */
    rateLimit: platformOnly(rights.rateLimit),
    name: given(z.string().min(1).max(200), z.string().trim().min(1).max(200)),
    description: z.string().max(2_000).optional(),
    autoDisableAfterDays: autoDisableAfterDays.optional(),
    prefix: byServer(prefix),
    last4: byServer(last4),
    /** HMAC-SHA-256 of the secret. */
    hash: byServer(segment),
    previous: byServer(
      z.object({ prefix, last4, expiresAt: instant }).optional().meta({
        description: "The secret before the last rotation, which is valid until `expiresAt`.",
      }),
    ),
    previousHash: byServer(segment.optional()),
    previousUsedAt: byServer(instant.optional().meta({ description: "The last use of the previous secret." })),
    usageCount: byServer(z.int().min(0).default(0).meta({ description: "The number of uses. It is written at most 5 s after the use." })),
    lastUsedAt: byServer(instant.optional()),
    lastUsedIp: byServer(z.string().max(64).optional()),
    unusedSince: byServer(
      instant.optional().meta({
        description: "The last use, or the creation of a key that was never used. Absent once the key has expired.",
      }),
    ),
    lastRefusedAt: byServer(instant.optional().meta({ description: "The last request for another tenant than the key's own." })),
    revokedAt: byServer(instant.optional()),
    revokedReason: byServer(z.string().max(500).optional()),
    endsAt: byServer(
      instant.optional().meta({ description: "The instant of the revocation, else that of the expiry. Retention counts from it." }),
    ),
    reminded: byServer(z.array(z.int().meta({ description: REMINDED })).default([])),
    /** When the job `api-keys` looks at the key. */
    nextCheckAt: byServer(instant.optional()),
    createdBy: byServer(z.string().optional().meta({ description: "The id of the user or API key that created this one." })),
    createdAt: createdInstant(instant),
    updatedAt: changedInstant(instant.optional()),
  }),
  owner: "tenant",
  personal: ["lastUsedIp"],
  subjects: { userId: "createdBy" },
  retention: { days: 90, after: "endsAt" },
  filterable: ["enabled", "environment", "createdBy", "expiresAt", "lastUsedAt", "revokedAt"],
  sortable: ["name", "createdAt", "expiresAt", "lastUsedAt", "nextCheckAt", "unusedSince", "usageCount"],
  searchable: ["name", "description", "prefix"],
  indexes: [["createdAt"], ["@tenantId", "createdAt"], ["name"], ["unusedSince"], ["nextCheckAt"]],
  secrets: ["hash", "previousHash"],
  exported: true,
  example: {
    id: "key_1767225600000_a1b2c3d4e5f6",
    tenantId: "tn_1767225600000_a1b2c3d4e5f6",
    environment: "live",
    name: "Booking engine",
    scopes: ["read:tenants", "read:usage"],
    enabled: true,
    prefix: "ik_live_4fZ9qT",
    last4: "0aZ7",
    hash: "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08",
    usageCount: 0,
    unusedSince: "2026-01-01T00:00:00.000Z",
    createdBy: "5f0c3a52-6c43-4b3a-9d0a-4a1f2f0a7b11",
    createdAt: "2026-01-01T00:00:00.000Z",
  },
});

export type ApiKey = RecordOf<typeof apiKey>;

export const apiKeyHash = defineEntity({
  name: "api-key-hash",
  summary: "Finds an API key by the HMAC of its secret, and has what authentication needs of it. Each change of the key writes it too.",
  key: "apikeyhash:{hash}",
  schema: z.looseObject({
    hash: segment,
    keyId: segment,
    tenantId: segment.optional(),
    ...rights,
    revokedAt: instant.optional(),
    /** Of the secret before the last rotation: when it stops being valid. */
    validUntil: instant.optional(),
    endsAt: instant.optional(),
  }),
  owner: "tenant",
  retention: { days: 90, after: "endsAt" },
  example: {
    hash: "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08",
    keyId: "key_1767225600000_a1b2c3d4e5f6",
    tenantId: "tn_1767225600000_a1b2c3d4e5f6",
    name: "Booking engine",
    scopes: ["read:tenants", "read:usage"],
    enabled: true,
  },
});

export type ApiKeyHash = RecordOf<typeof apiKeyHash>;
