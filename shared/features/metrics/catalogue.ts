import { Collection, type Stored } from "../../core/collection.ts";
import type { Platform } from "../../core/platform.ts";
import { TimedCache } from "../../core/timed-cache.ts";
import type { UnitOfWork } from "../../core/unit-of-work.ts";
import { errors } from "../../kernel/errors.ts";
import { metric } from "./entity.ts";

export type StoredMetric = Stored<typeof metric>;
/** The metrics by id, ordered by id. */
export type Catalogue = ReadonlyMap<string, StoredMetric>;

/** The maximum number of metrics. Every list of usage, and some commits, process a record for each. */
export const MAX_METRICS = 100;

/** The catalogue of each backend. Kinds never change, and creating a usage record checks that its metric exists. */
const kept = new WeakMap<Platform, TimedCache<Catalogue>>();

/** All metrics. The result is at most 10 seconds old. */
export async function catalogueOf(work: UnitOfWork): Promise<Catalogue> {
  return await cacheOf(work).get("metrics", () => readAll(work));
}

/** Drops the cached metrics after a change. */
export function forgetCatalogue(work: UnitOfWork): void {
  cacheOf(work).forget("metrics");
}

function cacheOf({ platform, context }: UnitOfWork): TimedCache<Catalogue> {
  let cache = kept.get(platform);
  if (!cache) kept.set(platform, cache = new TimedCache(context.clock));
  return cache;
}

/** All metrics, read from the store. */
async function freshCatalogue(work: UnitOfWork): Promise<Catalogue> {
  forgetCatalogue(work);
  return await catalogueOf(work);
}

/** One metric. If the cache does not have it, reads the store. Throws `not_found`. */
export async function metricOf(work: UnitOfWork, id: string): Promise<StoredMetric> {
  const found = (await catalogueOf(work)).get(id) ?? (await freshCatalogue(work)).get(id);
  if (!found) throw errors.notFound("metric", id);
  return found;
}

async function readAll(work: UnitOfWork): Promise<Catalogue> {
  const metrics = new Collection(metric, work.store);
  const found = new Map<string, StoredMetric>();
  for await (const entry of work.store.entries({ prefix: "metric" })) {
    const record = metrics.read(entry);
    found.set(record.id, record);
  }
  return found;
}
