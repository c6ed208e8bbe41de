import type { Clock } from "../kernel/clock.ts";
import type { AnyEntity } from "../kv/define.ts";
import type { CountCheck, Mutation, Store } from "../kv/store.ts";
import { Collection, type Stored } from "./collection.ts";
import { KEPT_MS, TimedCache } from "./timed-cache.ts";

/**
 * What the program itself must know whoever calls, read at the service level: records such as the settings, and numbers of records.
 * A service bases decisions on it, and shows a tenant's caller nothing of it that the route does not name.
 */
export class PlatformRecords {
  /** One for each entity, so that many names of hosts do not displace the settings. */
  readonly #kept = new Map<AnyEntity, TimedCache<Stored<AnyEntity> | null>>();

  constructor(private readonly store: Store, private readonly clock: Clock) {}

  /** The record with this key, at most `maxAgeMs` old (default: 10 seconds); null if there is none. */
  async cached<E extends AnyEntity>(entity: E, key: string, maxAgeMs: number = KEPT_MS): Promise<Stored<E> | null> {
    const found = await this.#cacheOf(entity).get(key, async (old) => {
      const entry = await this.store.get(key);
      return old && entry?.version === old.version ? old : entry && new Collection<AnyEntity>(entity, this.store).read(entry);
    }, maxAgeMs);
    return found as Stored<E> | null;
  }

  /** Drops the cached records that a commit of this process has changed, or may have changed if its outcome is unknown. */
  forget(mutations: readonly Mutation[]): void {
    if (mutations.some((mutation) => !("key" in mutation))) return this.#kept.clear();
    for (const cache of this.#kept.values()) {
      for (const mutation of mutations) if ("key" in mutation) cache.forget(mutation.key);
    }
  }

  #cacheOf(entity: AnyEntity): TimedCache<Stored<AnyEntity> | null> {
    let cache = this.#kept.get(entity);
    if (!cache) this.#kept.set(entity, cache = new TimedCache(this.clock));
    return cache;
  }

  async count(records: Pick<CountCheck, "entity" | "where">): Promise<number> {
    return await this.store.count(records);
  }
}
