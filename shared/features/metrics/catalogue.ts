import { Collection, type Stored } from "../../core/collection.ts";
import type { Platform } from "../../core/platform.ts";
import type { UnitOfWork } from "../../core/unit-of-work.ts";
import { errors } from "../../kernel/errors.ts";
import { metric } from "./entity.ts";

export type StoredMetric = Stored<typeof metric>;
/** The metrics by id, ordered by id. */
export type Catalogue = ReadonlyMap<string, StoredMetric>;

/** The maximum number of metrics. Every list of usage, and some commits, process a record for each. */
export const MAX_METRICS = 100;

/** How long a process caches the catalogue. Kinds never change, and creating a usage record checks that its metric exists. */
const KEPT_MS = 10_000;

interface Kept {
  readonly readAtMs: number;
  readonly catalogue: Promise<Catalogue>;
}

/** One catalogue for each backend. A process has one backend. */
const kept = new WeakMap<Platform, Kept>();

/** All metrics. The result is at most 10 seconds old. */
export async function catalogueOf(work: UnitOfWork): Promise<Catalogue> {
  const known = kept.get(work.platform);
  const ageMs = known ? work.context.clock.now() - known.readAtMs : 0;
  return await (known && ageMs >= 0 && ageMs < KEPT_MS ? known.catalogue : freshCatalogue(work));
}

/** All metrics, read from the store. */
async function freshCatalogue(work: UnitOfWork): Promise<Catalogue> {
  const catalogue = readAll(work);
  const entry = { readAtMs: work.context.clock.now(), catalogue };
  kept.set(work.platform, entry);
  try {
    return await catalogue;
  } catch (error) {
    if (kept.get(work.platform) === entry) kept.delete(work.platform);
    throw error;
  }
}

/** Drops the cached metrics after a change. */
export function forgetCatalogue(work: UnitOfWork): void {
  kept.delete(work.platform);
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
