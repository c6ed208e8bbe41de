import type { StoredMetric } from "../metrics/catalogue.ts";
import type { ReceivedEvent } from "./cloud-event.ts";

/** An event with the id of its record and its metric. */
export interface Keyed {
  readonly event: ReceivedEvent;
  readonly id: string;
  readonly metric: StoredMetric;
}

/** Above 200 keys in a commit, the database locks whole families of keys, and all other writers of usage wait. */
const MAX_KEYS = 190;
/** The record of the event, which is checked and written. */
const EVENT_KEYS = 1;
/** The writes and checks of a usage record and its groups, and the checks that a first usage record depends on. */
const PLACE_KEYS = 8;

/** Cuts the events of one tenant into parts of one commit each, in their order. */
export function chunksOf(events: readonly Keyed[]): Keyed[][] {
  const chunks: Keyed[][] = [];
  let places = new Set<string>();
  let keys = MAX_KEYS;
  for (const one of events) {
    const place = `${one.metric.id} ${one.event.time?.slice(0, 7)}`;
    if (keys + EVENT_KEYS + (places.has(place) ? 0 : PLACE_KEYS) > MAX_KEYS) {
      chunks.push([]);
      places = new Set();
      keys = 0;
    }
    keys += EVENT_KEYS + (places.has(place) ? 0 : PLACE_KEYS);
    places.add(place);
    chunks.at(-1)?.push(one);
  }
  return chunks;
}

/** Runs tasks, `width` at a time. After a failure it starts no more, waits for those that run, and throws the first error. */
export async function runBounded<T>(items: readonly T[], width: number, task: (item: T) => Promise<void>): Promise<void> {
  const waiting = items.values();
  const failures: unknown[] = [];
  const worker = async () => {
    for (const item of waiting) {
      if (failures.length > 0) return;
      await task(item).catch((error: unknown) => void failures.push(error));
    }
  };
  await Promise.all(Array.from({ length: Math.min(width, items.length) }, worker));
  if (failures.length > 0) throw failures[0];
}
