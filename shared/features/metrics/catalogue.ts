import { Collection, type Stored } from "../../core/collection.ts";
import type { Platform } from "../../core/platform.ts";
import type { UnitOfWork } from "../../core/unit-of-work.ts";
import { errors } from "../../kernel/errors.ts";
import { metric } from "./entity.ts";

export type StoredMetric = Stored<typeof metric>;
/** By id, in the order of the ids. */
export type Catalogue = ReadonlyMap<string, StoredMetric>;

/** At most so many metrics: tenants have a record of each, which some commits and every list of usage take together. */
export const MAX_METRICS = 100;

/** How long a process counts by what it knows. A kind never changes, and who makes a usage record checks that its metric is there. */
const KEPT_MS = 10_000;

interface Kept {
  readonly readAtMs: number;
  readonly catalogue: Promise<Catalogue>;
}

/** One catalogue a backend; a process has one. */
const kept = new WeakMap<Platform, Kept>();

/** Every metric, as of at most 10 seconds ago. */
export async function catalogueOf(work: UnitOfWork): Promise<Catalogue> {
  const known = kept.get(work.platform);
  const ageMs = known ? work.context.clock.now() - known.readAtMs : 0;
  return await (known && ageMs >= 0 && ageMs < KEPT_MS ? known.catalogue : freshCatalogue(work));
}

/** Every metric there is now. */
export async function freshCatalogue(work: UnitOfWork): Promise<Catalogue> {
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

/** Where a metric was changed, the next look is a fresh one. */
export function forgetCatalogue(work: UnitOfWork): void {
  kept.delete(work.platform);
}

/** One metric. Throws `not_found` when a fresh look does not find it either. */
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
