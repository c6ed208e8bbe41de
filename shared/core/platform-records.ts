import type { Clock } from "../kernel/clock.ts";
import type { AnyEntity } from "../kv/define.ts";
import type { CountCheck, Store } from "../kv/store.ts";
import { Collection, type Stored } from "./collection.ts";
import { TimedCache } from "./timed-cache.ts";

/**
 * What the program itself must know whoever calls, read at the service level: records such as the settings, and numbers of records.
 * A service bases decisions on it, and shows a tenant's caller nothing of it that the route does not name.
 */
export class PlatformRecords {
  /** One for each entity, so that many names of hosts do not displace the settings. */
  readonly #kept = new Map<AnyEntity, TimedCache<Stored<AnyEntity> | null>>();

  constructor(private readonly store: Store, private readonly clock: Clock) {}

  /** The record with this key, at most 10 seconds old; null if there is none. */
  async cached<E extends AnyEntity>(entity: E, key: string): Promise<Stored<E> | null> {
    const found = await this.#cacheOf(entity).get(key, async (old) => {
      const entry = await this.store.get(key);
      return old && entry?.version === old.version ? old : entry && new Collection<AnyEntity>(entity, this.store).read(entry);
    });
    return found as Stored<E> | null;
  }

  /** Drops a cached record after a change of it. */
  forget(entity: AnyEntity, key: string): void {
    this.#cacheOf(entity).forget(key);
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
