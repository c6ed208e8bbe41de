import { covers, type ScopeCatalogue, type Scopes } from "../../core/scopes.ts";
import { isoTime } from "../../kernel/clock.ts";
import { errors, type FieldError, InnkeepError } from "../../kernel/errors.ts";
import type { ApiKey, ApiKeyHash } from "./entity.ts";

export const MAX_OVERLAP_SECONDS = 604_800;
const DAY_MS = 24 * 3_600_000;
/** Days before the expiry of which a reminder is sent. 0 is the expiry itself. */
const REMINDERS = [14, 7, 1, 0] as const;

/** Why a key is refused. The order is that of the checks. */
export type Refusal = "key_revoked" | "key_expired" | "key_disabled";

/** Whether a key can be used at an instant. It expires exactly at `expiresAt`. */
export function refusalOf(key: Pick<ApiKeyHash, "revokedAt" | "expiresAt" | "validUntil" | "enabled">, now: string): Refusal | null {
  if (key.revokedAt !== undefined) return "key_revoked";
  if (key.expiresAt !== undefined && key.expiresAt <= now) return "key_expired";
  if (key.validUntil !== undefined && key.validUntil <= now) return "key_expired";
  return key.enabled ? null : "key_disabled";
}

export const REFUSALS: Readonly<Record<Refusal, string>> = {
  key_revoked: "This API key was revoked. Use another one.",
  key_expired: "This API key has expired. Use another one, or the secret that replaced it.",
  key_disabled: "This API key is disabled. Enable it, or use another one.",
};

/** What authentication needs of a key, under the hash of one of its secrets. `validUntil`: of the secret before the last rotation. */
export function hashRowOf(key: ApiKey, hash: string, validUntil?: string): ApiKeyHash {
  const { id: keyId, tenantId, name, scopes, enabled, allowedIps, rateLimit, expiresAt, revokedAt, endsAt } = key;
  const row = { hash, keyId, tenantId, name, scopes, enabled, allowedIps, rateLimit, expiresAt, revokedAt, endsAt, validUntil };
  return Object.fromEntries(Object.entries(row).filter(([, value]) => value !== undefined)) as ApiKeyHash;
}

/** The scopes of a key. One of a tenant never has more than the tenant's owner could have. */
export function scopesOf({ scopes, tenantId }: Pick<ApiKeyHash, "scopes" | "tenantId">, catalogue: ScopeCatalogue): Scopes {
  const expanded = catalogue.expand(scopes);
  if (tenantId === undefined) return expanded;
  const owner = catalogue.ofTenant("owner");
  return new Set([...expanded].filter((scope) => owner.has(scope)));
}

/** Throws `validation_failed` for scopes that do not exist, or that no key of a tenant can have. */
export function assertScopes(scopes: readonly string[], tenantId: string | undefined, catalogue: ScopeCatalogue): void {
  const owner = catalogue.ofTenant("owner");
  const faults = scopes.flatMap((scope, i): FieldError[] => {
    const path = `/scopes/${i}`;
    if (!catalogue.grants.includes(scope)) return [{ path, message: `must be a scope, and ${scope} is not`, code: "unknown_scope" }];
    // The groups stand for those of their scopes that the owner has.
    if (tenantId === undefined || scope === "read:*" || scope === "write:*" || owner.has(scope)) return [];
    return [{ path, message: `must be a scope that a tenant's owner can have, and ${scope} is not`, code: "scope_not_allowed" }];
  });
  if (faults.length > 0) throw errors.validation(faults);
}

/**
 * A caller can make, change or rotate only keys whose scopes it has itself, because it could use them. Without `own`, the caller is the
 * program, which may do anything. Throws `forbidden`.
 */
export function assertCovers(own: Scopes | undefined, key: Pick<ApiKey, "scopes" | "tenantId">, catalogue: ScopeCatalogue): void {
  const asked = scopesOf(key, catalogue);
  if (!own || covers(own, asked)) return;
  const lacking = [...asked].filter((scope) => !own.has(scope));
  throw new InnkeepError("forbidden", `You cannot grant permissions you do not have: ${lacking.join(", ")}.`);
}

/** Throws `invalid_transition` for a key that was revoked: it never works again. */
export function assertNotRevoked({ id, revokedAt }: Pick<ApiKey, "id" | "revokedAt">): void {
  if (revokedAt === undefined) return;
  throw new InnkeepError("invalid_transition", `The API key ${id} was revoked and cannot be changed. Create a new one.`, [], {
    from: "revoked",
    to: "changed",
    allowed: [],
  });
}

/** The expiry after a change. Reminders whose instant has passed are not sent for a new expiry. Throws `validation_failed`. */
export function withExpiry(key: ApiKey, before: ApiKey | null, now: string): ApiKey {
  const { expiresAt } = key;
  if (before && before.expiresAt === expiresAt) return key;
  if (expiresAt !== undefined && expiresAt <= now) {
    throw errors.validation([{ path: "/expiresAt", message: "must be in the future; revoke the key to end it now", code: "invalid" }]);
  }
  const reminded = expiresAt === undefined ? [] : REMINDERS.filter((days) => instantBefore(expiresAt, days) <= now);
  const { endsAt: _, ...rest } = key;
  const unusedSince = key.unusedSince ?? key.lastUsedAt ?? key.createdAt;
  return { ...rest, reminded, unusedSince, ...(expiresAt === undefined ? {} : { endsAt: expiresAt }) } as ApiKey;
}

/** When the job looks at the key again: the next reminder, the expiry, the end of an overlap, or the earliest disabling. */
export function nextCheckOf(key: ApiKey): string | undefined {
  const { expiresAt, reminded, previous, enabled, autoDisableAfterDays: days, unusedSince, revokedAt } = key;
  const reminders = expiresAt === undefined || revokedAt !== undefined ? [] : REMINDERS.filter((each) => !reminded.includes(each));
  return [
    ...reminders.map((each) => instantBefore(expiresAt ?? "", each)),
    ...(previous ? [previous.expiresAt] : []),
    ...(enabled && days !== undefined && unusedSince !== undefined ? [instantBefore(unusedSince, -days)] : []),
  ].sort()[0];
}

/** The key with the instant at which the job looks at it. */
export function scheduled(key: ApiKey): ApiKey {
  const { nextCheckAt: _, ...rest } = key;
  const next = nextCheckOf(rest as ApiKey);
  return { ...rest, ...(next === undefined ? {} : { nextCheckAt: next }) } as ApiKey;
}

/** One thing that is due for a key. */
export interface DueChange {
  readonly action: "api-key.expiring" | "api-key.expired" | "api-key.disabled" | "api-key.secret_retired";
  readonly record: ApiKey;
  readonly data: Readonly<Record<string, string | number>>;
  /** The hash of a secret that is no longer valid. */
  readonly retired?: string;
}

/** The next thing that is due for a key at an instant; null if nothing is. Of several missed reminders, only the last is sent. */
export function dueChange(key: ApiKey, now: string): DueChange | null {
  const { expiresAt, reminded, previous, enabled, autoDisableAfterDays: days, unusedSince } = key;
  if (previous && previous.expiresAt <= now) {
    const { previous: _, previousHash, previousUsedAt: __, ...record } = key;
    const retired = previousHash === undefined ? {} : { retired: previousHash };
    return { action: "api-key.secret_retired", record: record as ApiKey, data: { last4: previous.last4 }, ...retired };
  }
  const passed = expiresAt === undefined || key.revokedAt !== undefined
    ? []
    : REMINDERS.filter((each) => instantBefore(expiresAt, each) <= now);
  const last = passed.at(-1);
  if (expiresAt !== undefined && last !== undefined && !reminded.includes(last)) {
    if (last > 0) return { action: "api-key.expiring", record: { ...key, reminded: passed }, data: { daysLeft: last, expiresAt } };
    const { unusedSince: _, ...record } = key;
    return { action: "api-key.expired", record: { ...record, reminded: passed } as ApiKey, data: { expiresAt } };
  }
  if (enabled && days !== undefined && unusedSince !== undefined && instantBefore(unusedSince, -days) <= now) {
    return { action: "api-key.disabled", record: { ...key, enabled: false }, data: { reason: "unused", unusedSince, days } };
  }
  return null;
}

function instantBefore(instant: string, days: number): string {
  return isoTime(Date.parse(instant) - days * DAY_MS);
}
