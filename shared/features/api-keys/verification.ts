import { z } from "zod";
import { Collection } from "../../core/collection.ts";
import { periodOf } from "../../core/periods.ts";
import { covers } from "../../core/scopes.ts";
import type { UnitOfWork } from "../../core/unit-of-work.ts";
import { instant } from "../../core/values.ts";
import type { ErrorCode } from "../../kernel/errors.ts";
import { metricOf } from "../metrics/catalogue.ts";
import { tenant } from "../tenants/entity.ts";
import { usageRecord } from "../usage/entity.ts";
import { fits } from "../usage/policies.ts";
import { openingOf, placeOf } from "../usage/reads.ts";
import { isInRanges } from "./addresses.ts";
import type { ApiKeyHash } from "./entity.ts";
import { countUse, findKey, hashesOf, keepHashCurrent } from "./lookup.ts";
import { type Refusal, refusalOf, scopesOf } from "./rules.ts";
import { isSecret } from "./secret.ts";

const VERIFICATION_CODES = [
  "VALID",
  "NOT_FOUND",
  "EXPIRED",
  "DISABLED",
  "FORBIDDEN_IP",
  "INSUFFICIENT_PERMISSIONS",
  "RATE_LIMITED",
  "USAGE_EXCEEDED",
] as const;
type VerificationCode = (typeof VERIFICATION_CODES)[number];

export const verifyInput = z.strictObject({
  key: z.string().min(1).max(500).meta({ description: "The secret.", examples: ["ik_live_…"] }),
  scopes: z.array(z.string().min(1).max(100)).max(200).optional().meta({ description: "Scopes that the key must have." }),
  ipAddress: z.string().max(45).regex(/^[0-9a-fA-F:.]{2,45}$/, "must be an IPv4 or IPv6 address").optional().meta({
    description: "The address that sent the key to you. A key with `allowedIps` is not valid without it.",
  }),
  metric: z.string().min(1).max(128).optional().meta({
    description: "A metric of which the key's tenant must have `cost` left in this month. It is not consumed.",
  }),
  cost: z.int().min(1).max(1_000_000).default(1).meta({
    description: "How many requests are charged to the key's rate limit, and the amount of `metric`.",
  }),
});

export interface VerifyOptions {
  readonly scopes?: readonly string[] | undefined;
  readonly ipAddress?: string | undefined;
  readonly metric?: string | undefined;
  readonly cost?: number | undefined;
}

export const verification = z.object({
  valid: z.boolean(),
  code: z.enum(VERIFICATION_CODES).meta({ description: "`VALID`, or the first reason why the key is not." }),
  reason: z.string().optional().meta({ description: "With `DISABLED`: `key_disabled`, `key_revoked` or `tenant_suspended`." }),
  keyId: z.string().optional(),
  name: z.string().optional(),
  tenantId: z.string().optional().meta({ description: "The key's tenant. A key without one belongs to the platform." }),
  scopes: z.array(z.string()).optional().meta({ description: "The scopes that the key has now." }),
  expiresAt: instant.optional(),
}).meta({
  examples: [{
    valid: true,
    code: "VALID",
    keyId: "key_1767225600000_a1b2c3d4e5f6",
    name: "Booking engine",
    tenantId: "tn_1767225600000_a1b2c3d4e5f6",
    scopes: ["read:tenants", "read:usage"],
  }],
});
export type Verification = z.output<typeof verification>;

/** Checks a secret. A caller that is bound to a tenant finds that tenant's keys only. Throws `api_keys_disabled`, and `not_found` for a metric. */
export async function verificationOf(work: UnitOfWork, secret: string, options: VerifyOptions): Promise<Verification> {
  const hashes = await hashesOf(secret, work.platform);
  const key = isSecret(secret) ? await findKey(work.store, hashes) : null;
  if (!key) return { valid: false, code: "NOT_FOUND" };
  const { keyId, name, tenantId, expiresAt, validUntil } = key;
  const refusal = refusalOf(key, work.now());
  countUse(work.platform, { keyId, validUntil, isRefused: refusal !== null }, work.now(), options.ipAddress);
  const scopes = [...scopesOf(key, work.platform.scopes)].sort();
  if (refusal === null) await keepHashCurrent(work, key, hashes.current);
  const { code, reason } = refusal === null ? await stateOf(work, key, options) : refused(refusal);
  return {
    valid: code === "VALID",
    code,
    ...(reason === undefined ? {} : { reason }),
    keyId,
    name,
    ...(tenantId === undefined ? {} : { tenantId }),
    scopes,
    ...(expiresAt === undefined ? {} : { expiresAt }),
  };
}

interface State {
  readonly code: VerificationCode;
  readonly reason?: ErrorCode;
}

function refused(refusal: Refusal): State {
  return refusal === "key_expired" ? { code: "EXPIRED" } : { code: "DISABLED", reason: refusal };
}

async function stateOf(work: UnitOfWork, key: ApiKeyHash, options: VerifyOptions): Promise<State> {
  const { tenantId, allowedIps } = key;
  if (tenantId !== undefined && await isSuspended(work, tenantId)) return { code: "DISABLED", reason: "tenant_suspended" };
  if (allowedIps && !await isInRanges(options.ipAddress, allowedIps)) return { code: "FORBIDDEN_IP" };
  if (options.scopes && !hasScopes(work, key, options.scopes)) return { code: "INSUFFICIENT_PERMISSIONS" };
  // The bucket is that of the key's own requests to this API.
  const { limiter } = work.platform;
  const payer = { kind: "key", id: key.keyId } as const;
  // A key that has no limit of its own any more has that of the platform again.
  limiter?.learn(payer, key.rateLimit);
  const charged = await limiter?.charge(payer, { cost: options.cost ?? 1 });
  if (charged && !charged.allowed) return { code: "RATE_LIMITED" };
  return { code: await hasUsageLeft(work, tenantId, options) ? "VALID" : "USAGE_EXCEEDED" };
}

/** A group stands for the same scopes as in a key of that tenant. */
function hasScopes({ platform: { scopes: catalogue } }: UnitOfWork, key: ApiKeyHash, asked: readonly string[]): boolean {
  const isGroup = (scope: string) => scope === "read:*" || scope === "write:*";
  const each = asked.flatMap((scope) => isGroup(scope) ? [...scopesOf({ ...key, scopes: [scope] }, catalogue)] : [scope]);
  return covers(scopesOf(key, catalogue), new Set(each));
}

async function isSuspended(work: UnitOfWork, tenantId: string): Promise<boolean> {
  const found = await new Collection(tenant, work.store).get(tenantId);
  return !found || found.status === "suspended" || found.status === "cancelled";
}

async function hasUsageLeft(work: UnitOfWork, tenantId: string | undefined, { metric, cost = 1 }: VerifyOptions): Promise<boolean> {
  if (metric === undefined) return true;
  const found = await metricOf(work, metric);
  if (tenantId === undefined) return true;
  const place = placeOf(tenantId, found, periodOf(work.context.clock.now()));
  const records = new Collection(usageRecord, work.store);
  const [record] = await records.getMany([place.key]);
  const level = record ?? (await openingOf(work, place))?.record;
  return level !== undefined && fits(level, cost, found);
}
