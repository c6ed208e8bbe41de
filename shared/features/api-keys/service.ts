import type { Stored } from "../../core/collection.ts";
import type { CreateInput, UpdateInput } from "../../core/fields.ts";
import { changedFields } from "../../core/merge-patch.ts";
import { type Filters, listPage, type Page, type Pagination, selectionOf, type Sort } from "../../core/paging.ts";
import { Records } from "../../core/records.ts";
import type { UnitOfWork } from "../../core/unit-of-work.ts";
import { isoTime } from "../../kernel/clock.ts";
import { errors, InnkeepError } from "../../kernel/errors.ts";
import type { JsonObject } from "../../kernel/json.ts";
import type { ChangeOptions } from "../../kernel/version.ts";
import type { Mutation } from "../../kv/store.ts";
import { keyOf } from "../../kv/define.ts";
import { shortTenantId, tenant } from "../tenants/entity.ts";
import { assertRanges } from "./addresses.ts";
import { type ApiKey, apiKey } from "./entity.ts";
import { countUse, lookUpsOf, serverKeyOf, withoutLookUps } from "./lookup.ts";
import { assertCovers, assertNotRevoked, assertScopes, MAX_OVERLAP_SECONDS, scheduled, withExpiry } from "./rules.ts";
import { hashOf, newSecret } from "./secret.ts";
import { type Verification, verificationOf, type VerifyOptions } from "./verification.ts";

export type { Verification, VerifyOptions };
type Key = Stored<typeof apiKey>;
type Hidden = "hash" | "previousHash";

/** An API key as reads show it. */
export type ShownApiKey = { readonly [F in keyof Key as F extends Hidden ? never : F]: Key[F] };
/** A key with its secret, which is shown only once. It is absent when the call is repeated with its idempotency key. */
export type NewApiKey = ShownApiKey & { readonly secret?: string };

const MAX_TENANT_KEYS = 500;
const DAY_MS = 24 * 3_600_000;
/** A revocation must not fail because others change the key. */
const REVOKE_ATTEMPTS = 50;

/** API keys of the platform and of tenants. A caller that is bound to a tenant has access to that tenant's keys only. */
export class ApiKeyService {
  readonly #keys: Records<typeof apiKey>;

  constructor(private readonly work: UnitOfWork) {
    this.#keys = new Records(apiKey, work);
  }

  /** The keys of one tenant; without a tenant, all that the caller may see. */
  async list(tenantId?: string, filters: Filters = {}, sort?: Sort, pagination?: Pagination): Promise<Page<ShownApiKey>> {
    const { data, ...page } = await listPage(this.#keys, {
      ...selectionOf(apiKey, filters),
      sort,
      pagination,
      ...this.#scopeOf(tenantId),
    });
    return { ...page, data: data.map(shown) };
  }

  async get(keyId: string): Promise<ShownApiKey | null> {
    const key = await this.#keys.get(keyId);
    return key && shown(key);
  }

  /**
   * Makes a key. Throws `validation_failed`, `forbidden` for scopes that the caller does not have, `not_found` for another or no tenant,
   * and `api_keys_disabled`.
   */
  async generate(
    name: string,
    scopes: readonly string[],
    options: Omit<CreateInput<typeof apiKey>, "name" | "scopes"> = {},
    change: ChangeOptions = {},
  ): Promise<NewApiKey> {
    const input = this.#keys.checkCreate({ ...options, name, scopes: [...scopes] });
    const { environment = "live" } = options;
    const tenantId = await this.#tenantIdOf(options.tenantId);
    await this.#assertGrantable({ scopes: [...scopes], tenantId }, options.allowedIps);
    await this.#assertRoom();
    const { secret, prefix, last4 } = await newSecret(environment);
    const hash = await hashOf(secret, serverKeyOf(this.work.platform));
    const createdBy = this.work.context.actor.id;
    const decide = () => {
      const now = this.work.now();
      const own = { prefix, last4, hash, createdBy, unusedSince: now, ...(tenantId === undefined ? {} : { tenantId }) };
      const record = scheduled(withExpiry(this.#keys.newRecord({ ...input, ...own }), null, now));
      return { record, mutations: lookUpsOf(this.work.store, record) };
    };
    const key = await this.#keys.create("api-key.created", decide, change, input as JsonObject);
    return withSecret(key, hash, secret);
  }

  /** Applies a JSON merge patch. Null if there is no such key. */
  async update(keyId: string, updates: UpdateInput<typeof apiKey>, options: ChangeOptions = {}): Promise<ShownApiKey | null> {
    const key = await this.#keys.patch(keyId, updates, options, async (after, before) => {
      this.#assertMayChange(before);
      const { type, id } = this.work.context.actor;
      if (type === "api_key" && id === before.id) {
        throw new InnkeepError("forbidden", "An API key cannot change its own limits. Send another credential to change it.");
      }
      if (changed(before, after, "scopes") || changed(before, after, "allowedIps")) await this.#assertGrantable(after, after.allowedIps);
      const now = this.work.now();
      // Otherwise a key that was disabled because nobody used it would be disabled again at once.
      const since = after.enabled && !before.enabled ? { unusedSince: now } : {};
      const record = scheduled(withExpiry({ ...after, ...since }, before, now));
      return { record, mutations: this.#lookUpsIfChanged(before, record) };
    });
    return key && shown(key);
  }

  /**
   * Replaces the secret. The present one stays valid for `overlapSeconds`, 0 to 604,800, and one before it ends at once. Null if there
   * is no such key.
   */
  async rotate(
    keyId: string,
    { overlapSeconds }: { readonly overlapSeconds: number },
    options: ChangeOptions = {},
  ): Promise<NewApiKey | null> {
    if (!Number.isInteger(overlapSeconds) || overlapSeconds < 0 || overlapSeconds > MAX_OVERLAP_SECONDS) {
      const message = `must be a whole number from 0 to ${MAX_OVERLAP_SECONDS}`;
      throw errors.validation([{ path: "/overlapSeconds", message, code: "invalid" }]);
    }
    const serverKey = serverKeyOf(this.work.platform);
    const made = { live: await newSecret("live"), test: await newSecret("test") };
    const hashes = { live: await hashOf(made.live.secret, serverKey), test: await hashOf(made.test.secret, serverKey) };
    const decide = (before: Key) => {
      this.#assertMayChange(before);
      this.#assertNotExpired(before);
      const { prefix, last4 } = made[before.environment];
      const { previous: _, previousHash: older, previousUsedAt: __, ...rest } = before;
      const expiresAt = isoTime(Date.parse(this.work.now()) + overlapSeconds * 1_000);
      const overlap = { previous: { prefix: before.prefix, last4: before.last4, expiresAt }, previousHash: before.hash };
      const next = { ...rest, prefix, last4, hash: hashes[before.environment], ...(overlapSeconds > 0 ? overlap : {}) };
      const record = scheduled(next as unknown as ApiKey);
      const gone = withoutLookUps([older, ...(overlapSeconds > 0 ? [] : [before.hash])]);
      return { record, mutations: [...gone, ...lookUpsOf(this.work.store, record)], data: { overlapSeconds } };
    };
    const key = await this.#keys.change(keyId, options, "api-key.rotated", decide, { overlapSeconds });
    return key && withSecret(key, hashes[key.environment], made[key.environment].secret);
  }

  /** Ends a key for good, from the next request on. A revoked key keeps its first reason. Null if there is no such key. */
  async revoke(keyId: string, reason?: string, options: ChangeOptions = {}): Promise<ShownApiKey | null> {
    const decide = (before: Key) => {
      if (before.revokedAt !== undefined) return { record: before };
      const { previous: _, previousHash, previousUsedAt: __, unusedSince: ___, ...rest } = before;
      const revokedAt = this.work.now();
      const endsAt = before.endsAt !== undefined && before.endsAt < revokedAt ? before.endsAt : revokedAt;
      const why = reason === undefined ? {} : { revokedReason: reason };
      const record = scheduled({ ...rest, enabled: false, revokedAt, endsAt, ...why } as unknown as ApiKey);
      const mutations = [...withoutLookUps([previousHash]), ...lookUpsOf(this.work.store, record)];
      return { record, mutations, attempts: REVOKE_ATTEMPTS };
    };
    const key = await this.#keys.change(keyId, options, "api-key.revoked", decide, reason === undefined ? {} : { reason });
    return key && shown(key);
  }

  /** The enabled keys that were not used for `days`, the longest unused first. */
  async unused(days = 90, tenantId?: string, pagination?: Pagination): Promise<Page<ShownApiKey>> {
    const to = isoTime(this.work.context.clock.now() - days * DAY_MS);
    const { data, ...page } = await listPage(this.#keys, {
      where: [{ field: "enabled", in: [true] }, { field: "unusedSince", to }],
      sort: { field: "unusedSince", direction: "asc" },
      pagination,
      ...this.#scopeOf(tenantId),
    });
    return { ...page, data: data.map(shown) };
  }

  /** Whether a secret is valid now, and what it may do. A use is counted. Throws `api_keys_disabled`. */
  async verify(secret: string, options: VerifyOptions = {}): Promise<Verification> {
    return await verificationOf(this.work, secret, options);
  }

  /** Counts one use of a key. It is written in the background, together with others. */
  trackUsage(keyId: string, ipAddress?: string): void {
    countUse(this.work.platform, { keyId: keyId.slice(keyId.indexOf(":") + 1) }, this.work.now(), ipAddress);
  }

  /** Throws `not_found` for another tenant than the caller's own. */
  #scopeOf(tenantId: string | undefined): { readonly scope?: string } {
    if (tenantId === undefined) return {};
    const { tenantId: bound } = this.work.context;
    const scope = shortTenantId(tenantId);
    if (bound !== null && scope !== bound) throw errors.notFound("tenant", scope);
    return { scope };
  }

  #assertMayChange(before: Key): void {
    assertNotRevoked(before);
    assertCovers(this.work.context.scopes, before, this.work.platform.scopes);
  }

  /** Each key has a rate limit of its own, so a tenant must not make any number of them. Concurrent calls may exceed it by a few. */
  async #assertRoom(): Promise<void> {
    const { context: { tenantId }, store } = this.work;
    if (tenantId === null || await store.count({ entity: apiKey, scope: tenantId }) < MAX_TENANT_KEYS) return;
    const message = `exceeds the limit of ${MAX_TENANT_KEYS} keys that a tenant makes, with those revoked in the last 90 days`;
    throw errors.validation([{ path: "/tenantId", message, code: "too_many" }]);
  }

  /** Throws `validation_failed`, and `forbidden` for scopes that the caller does not have. */
  async #assertGrantable(key: Pick<ApiKey, "scopes" | "tenantId">, allowedIps: readonly string[] | undefined): Promise<void> {
    const { scopes: catalogue } = this.work.platform;
    assertScopes(key.scopes, key.tenantId, catalogue);
    assertCovers(this.work.context.scopes, key, catalogue);
    await assertRanges(allowedIps);
  }

  /** The tenant of a new key. Throws `not_found` for one that does not exist, or that is not the caller's. */
  async #tenantIdOf(given: string | undefined): Promise<string | undefined> {
    const { tenantId: bound } = this.work.context;
    const asked = given === undefined ? undefined : shortTenantId(given);
    if (asked === undefined || asked === bound) return bound ?? undefined;
    if (bound !== null) throw errors.otherTenant(asked);
    if (await this.work.read(keyOf(tenant, { id: asked })) === null) throw errors.notFound("tenant", asked);
    return asked;
  }

  #assertNotExpired(key: Key): void {
    if (key.expiresAt === undefined || key.expiresAt > this.work.now()) return;
    const message = `The API key ${key.id} has expired. Set a later expiresAt before you rotate it.`;
    throw new InnkeepError("invalid_transition", message, [], { from: "expired", to: "rotated", allowed: [] });
  }

  #lookUpsIfChanged(before: Key, after: ApiKey): readonly Mutation[] {
    const { version: _, ...record } = before;
    const fields = changedFields(record, after);
    return Object.keys(fields.before).length + Object.keys(fields.after).length > 0 ? lookUpsOf(this.work.store, after) : [];
  }
}

/** Without the hashes of its secrets. */
function shown(key: Key): ShownApiKey {
  const { hash: _, previousHash: __, ...rest } = key;
  return rest as unknown as ShownApiKey;
}

/** With its secret, if this call made it: the recorded result of an earlier call has the hash of another one. */
function withSecret(key: Key, hash: string, secret: string): NewApiKey {
  return { ...shown(key), ...(key.hash === hash ? { secret } : {}) };
}

function changed(before: Key, after: ApiKey, field: "scopes" | "allowedIps"): boolean {
  return JSON.stringify(before[field]) !== JSON.stringify(after[field]);
}
