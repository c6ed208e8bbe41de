import type { ApiKeyCaller } from "../../shared/core/caller.ts";
import type { Payer } from "../../shared/core/rate-limiter.ts";
import { Collection } from "../../shared/core/collection.ts";
import { isInRanges } from "../../shared/features/api-keys/addresses.ts";
import type { ApiKeyHash } from "../../shared/features/api-keys/entity.ts";
import { countUse, findKey, hashesOf, keepHashCurrent } from "../../shared/features/api-keys/lookup.ts";
import { refusalOf, REFUSALS, scopesOf } from "../../shared/features/api-keys/rules.ts";
import { tenant } from "../../shared/features/tenants/entity.ts";
import { isoTime } from "../../shared/kernel/clock.ts";
import { systemContext } from "../../shared/kernel/context.ts";
import { InnkeepError } from "../../shared/kernel/errors.ts";
import { keyOf } from "../../shared/kv/define.ts";
import type { Entry } from "../../shared/kv/store.ts";
import { RefusedCredentialError } from "./denials.ts";
import type { ApiDeps } from "./deps.ts";

const MAX_KNOWN = 10_000;

/** Authenticates API keys. Reads the key and its tenant on every request, so that a revocation takes effect at once. */
export class KeyAuthenticator {
  /** The keys that were used, by hash: a key's tenant is then read, and its rate limit charged, while the key is read. */
  readonly #known = new Map<string, Pick<ApiKeyHash, "keyId" | "tenantId" | "allowedIps">>();

  constructor(private readonly deps: Pick<ApiDeps, "backend">) {}

  /** Returns the caller of a well-formed secret. `lookUp` starts other reads that share the round trip. */
  async caller<T>(
    secret: string,
    address: string | undefined,
    lookUp: (payer?: Payer) => T,
  ): Promise<T & { readonly caller: ApiKeyCaller }> {
    const { backend } = this.deps;
    const { store, platform } = backend;
    const hashes = await hashesOf(secret, platform);
    const known = this.#known.get(hashes.current);
    const expected = known?.tenantId;
    // From an address that is not allowed, a stolen key must not use up the limit of its owner.
    const isCharged = known !== undefined && await isAllowed(known, address);
    // Started in one turn, these reads are one database call.
    const reading = findKey(store, hashes);
    const readingTenant = expected === undefined ? null : handled(store.get(keyOf(tenant, { id: expected })));
    const started = lookUp(isCharged ? { kind: "key", id: known.keyId } : undefined);
    const key = await reading;
    if (!key) throw new InnkeepError("unauthenticated", "The API key is unknown. It may have been deleted, or belong to another platform.");
    const tenantEntry = key.tenantId === undefined
      ? null
      : await (key.tenantId === expected && readingTenant ? readingTenant : store.get(keyOf(tenant, { id: key.tenantId })));
    const refusal = await this.#refusalOf(key, address);
    if (refusal) {
      this.#known.delete(hashes.current);
      throw refusal;
    }
    this.#remember(hashes.current, key);
    if (key.hash !== hashes.current) {
      await keepHashCurrent(backend.bind(systemContext(backend.clock, "api-keys", "api-keys")), key, hashes.current);
    }
    countUse(platform, key, isoTime(backend.clock.now()), address);
    return { ...started, caller: this.#callerOf(key, tenantEntry) };
  }

  async #refusalOf(key: ApiKeyHash, address: string | undefined): Promise<InnkeepError | null> {
    const refusal = refusalOf(key, isoTime(this.deps.backend.clock.now()));
    const actor = { type: "api_key", id: key.keyId } as const;
    if (refusal !== null) return new RefusedCredentialError(refusal, REFUSALS[refusal], actor, key.tenantId);
    if (await isAllowed(key, address)) return null;
    const message = "This API key may not be used from your address. Add the address to its allowedIps.";
    return new RefusedCredentialError("address_not_allowed", message, actor, key.tenantId);
  }

  #callerOf(key: ApiKeyHash, tenantEntry: Entry | null): ApiKeyCaller {
    const { store, platform } = this.deps.backend;
    const own = tenantEntry && new Collection(tenant, store).read(tenantEntry);
    const { keyId, name, tenantId = null, rateLimit } = key;
    if (tenantId !== null && !own) throw new InnkeepError("unauthenticated", "The tenant of this API key does not exist.");
    return {
      kind: "key",
      actor: { type: "api_key", id: keyId },
      scopes: scopesOf(key, platform.scopes),
      tenantId,
      tenant: own && { id: own.id, name: own.name, status: own.status, plan: own.plan, maintenance: own.maintenance },
      name,
      ...(rateLimit === undefined ? {} : { rateLimit }),
    };
  }

  #remember(hash: string, { keyId, tenantId, allowedIps }: ApiKeyHash): void {
    if (this.#known.size >= MAX_KNOWN) this.#known.clear();
    this.#known.set(hash, { keyId, tenantId, allowedIps });
  }
}

async function isAllowed({ allowedIps }: Pick<ApiKeyHash, "allowedIps">, address: string | undefined): Promise<boolean> {
  return allowedIps === undefined || await isInRanges(address, allowedIps);
}

function handled<T>(promise: Promise<T>): Promise<T> {
  promise.catch(() => undefined);
  return promise;
}
