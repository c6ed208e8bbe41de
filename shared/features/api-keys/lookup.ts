import { Collection } from "../../core/collection.ts";
import type { Platform } from "../../core/platform.ts";
import { Records } from "../../core/records.ts";
import type { UnitOfWork } from "../../core/unit-of-work.ts";
import { InnkeepError } from "../../kernel/errors.ts";
import type { JsonObject } from "../../kernel/json.ts";
import { keyOf } from "../../kv/define.ts";
import type { Mutation, Store } from "../../kv/store.ts";
import { type ApiKey, apiKey, type ApiKeyHash, apiKeyHash } from "./entity.ts";
import { hashRowOf } from "./rules.ts";
import { hashOf } from "./secret.ts";

/** The hashes of a secret: under the server's key, and under the key before it while that is configured. */
export interface SecretHashes {
  readonly current: string;
  readonly previous: string | null;
}

/** The key of the HMAC. Throws `api_keys_disabled`. */
export function serverKeyOf({ apiKeySecret }: Pick<Platform, "apiKeySecret">): string {
  if (apiKeySecret !== null) return apiKeySecret;
  const message = "API keys are disabled on this platform. Set INNKEEP_API_KEY_SECRET to enable them.";
  throw new InnkeepError("api_keys_disabled", message);
}

/** Throws `api_keys_disabled`. */
export async function hashesOf(secret: string, platform: Platform): Promise<SecretHashes> {
  const { previousApiKeySecret: previous } = platform;
  const current = await hashOf(secret, serverKeyOf(platform));
  return { current, previous: previous === null ? null : await hashOf(secret, previous) };
}

/** What authentication needs of a key; null for an unknown secret. The reads start at once, in one call. */
export async function findKey(store: Store, { current, previous }: SecretHashes): Promise<ApiKeyHash | null> {
  const hashes = new Collection(apiKeyHash, store);
  const keys = [current, ...(previous === null ? [] : [previous])].map((hash) => hashes.key({ hash }));
  const found = (await Promise.all(keys.map((key) => store.get(key)))).find((entry) => entry !== null);
  return found ? hashes.read(found) : null;
}

/** The mutations that write the look-ups of a key's secrets. */
export function lookUpsOf(store: Store, key: ApiKey): Mutation[] {
  const hashes = new Collection(apiKeyHash, store);
  const { hash, previous, previousHash } = key;
  return [
    hashes.set(hashRowOf(key, hash)),
    ...(previous && previousHash !== undefined ? [hashes.set(hashRowOf(key, previousHash, previous.expiresAt))] : []),
  ];
}

/** The mutations that delete look-ups. */
export function withoutLookUps(hashes: readonly (string | undefined)[]): Mutation[] {
  return hashes.filter((hash) => hash !== undefined).map((hash) => ({ op: "delete", key: keyOf(apiKeyHash, { hash }) }));
}

/** Stores the look-up of a secret under the server's present key, when it was found under the one before. */
export async function rehash(work: UnitOfWork, { keyId, hash }: ApiKeyHash, current: string): Promise<void> {
  const records = new Records(apiKey, work);
  await records.change(keyId, {}, "api-key.rehashed", (before) => {
    const field = before.hash === hash ? "hash" : before.previousHash === hash ? "previousHash" : null;
    if (field === null) return { record: before };
    const record = { ...before, [field]: current };
    return { record, mutations: [...withoutLookUps([hash]), ...lookUpsOf(work.store, record)] };
  });
}

/** Stores a hash under the present key, if it was found under the one before. A failure is logged: the next use tries again. */
export async function keepHashCurrent(work: UnitOfWork, key: ApiKeyHash, current: string): Promise<void> {
  try {
    if (key.hash !== current) await rehash(work, key, current);
  } catch (error) {
    const { keyId } = key;
    work.platform.logger.warn("api_key_not_rehashed", { keyId, error: error instanceof Error ? error.message : String(error) });
  }
}

export const REFUSED_EVERY_MS = 60_000;

/** Records that a key of a tenant was used for another tenant, in the platform's chain, at most once a minute for each key. */
export async function recordRefusal(work: UnitOfWork, keyId: string, asked: string): Promise<void> {
  const keys = new Collection(apiKey, work.store);
  await work.transact(async () => {
    const before = await keys.get(keyId);
    const now = work.now();
    const last = before?.lastRefusedAt;
    if (!before || (last !== undefined && Date.parse(now) - Date.parse(last) < REFUSED_EVERY_MS)) return { done: {}, resultOf: null };
    const data: JsonObject = { asked, ...(before.tenantId === undefined ? {} : { keyTenantId: before.tenantId }) };
    const note = { action: "api-key.refused", resource: apiKey.name, resourceId: keyId, data };
    return {
      commit: {
        changes: [{ entity: apiKey, before, after: { ...before, lastRefusedAt: now } }],
        audit: [note],
        events: [{ type: note.action, subject: keyId, data }],
        result: {},
      },
      resultOf: null,
    };
  });
}

/** Counts one use of a key, in the background. One that was refused does not put off its disabling. */
export function countUse(
  { uses }: Pick<Platform, "uses">,
  { keyId, validUntil, isRefused = false }: Pick<ApiKeyHash, "keyId" | "validUntil"> & { readonly isRefused?: boolean },
  now: string,
  ip: string | undefined,
): void {
  uses.count(keyOf(apiKey, { id: keyId }), { usageCount: 1 }, {
    lastUsedAt: now,
    ...(isRefused ? {} : { unusedSince: now }),
    ...(ip === undefined ? {} : { lastUsedIp: ip }),
    ...(validUntil === undefined ? {} : { previousUsedAt: now }),
  });
}
