import { idempotencyRecord } from "../core/idempotency-record.ts";
import { outboxEvent } from "../core/outbox-event.ts";
import { rateLimitBucket } from "../core/rate-limit-bucket.ts";
import { type AnyEntity, isEntity, matchKey } from "../kv/define.ts";
import { features } from "./index.ts";

const modules = await Promise.all(features.map(({ entities }): Promise<object> => entities()));

/** A module's entities, ordered by name, because runtimes differ in the order of exports. */
function entitiesOf(module: object): AnyEntity[] {
  return Object.values(module).filter(isEntity).sort((a, b) => a.name < b.name ? -1 : 1);
}

/** Every declared entity: those of the features, those that the unit of work writes with a change, and the buckets of rate limits. */
export const registry: readonly AnyEntity[] = [...modules.flatMap(entitiesOf), outboxEvent, idempotencyRecord, rateLimitBucket];

/** The entity of a key, or null if no declared entity has such keys. */
export function entityOfKey(key: string): AnyEntity | null {
  return registry.find((entity) => matchKey(entity, key) !== null) ?? null;
}
