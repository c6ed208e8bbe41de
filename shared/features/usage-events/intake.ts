import type { UnitOfWork } from "../../core/unit-of-work.ts";
import { errors, type FieldError, InnkeepError, isInnkeepError } from "../../kernel/errors.ts";
import { sha256Hex } from "../../kernel/sha256.ts";
import { isSegment, RESERVED_TENANT_IDS } from "../../kv/key.ts";
import { catalogueOf, metricOf, type StoredMetric } from "../metrics/catalogue.ts";
import { usageRecord } from "../usage/entity.ts";
import type { Mark } from "../usage/marks.ts";
import { Meter } from "../usage/meter.ts";
import { INEXACT, thresholdsReached } from "../usage/rules.ts";
import { chunksOf, type Keyed, runBounded } from "./chunks.ts";
import type { Item, ReceivedEvent } from "./cloud-event.ts";
import { decideOn, duplicateOf, mismatch, type Outcome, rejected, unknownTenant } from "./counting.ts";
import { dataFault, isSame } from "./rules.ts";
import type { Tally } from "./tally.ts";

/** The tenants whose events are counted at the same time. The events of one tenant are counted one commit after another. */
const PARALLEL_TENANTS = 4;
/** Errors of a commit that one of its events can cause. */
const OF_ONE_EVENT: ReadonlySet<string> = new Set(["not_found", "validation_failed", "payload_too_large"]);

/** The id of an event's record: what is equal for its repeats, and only for them (CloudEvents 1.0 §3.1.1). */
export async function usageEventIdOf({ source, id }: Pick<ReceivedEvent, "source" | "id">): Promise<string> {
  return await sha256Hex(JSON.stringify([source, id]));
}

/** A valid event of a batch, and its place there. */
interface Placed {
  readonly at: number;
  readonly keyed: Keyed;
}

/** Counts received events, each in a commit that stores it. */
export class Intake {
  readonly #meter: Meter;
  #hasFreshMetrics = false;

  constructor(private readonly work: UnitOfWork) {
    this.#meter = new Meter(work);
  }

  /** Counts one event. */
  async one(event: ReceivedEvent): Promise<Outcome> {
    const keyed = await this.#keyed(event, await usageEventIdOf(event));
    if ("status" in keyed) return keyed;
    const [outcome] = await this.#count(event.subject, [keyed]);
    return outcome as Outcome;
  }

  /** Counts the events of a batch in as few commits as they need. Returns their outcomes in order. */
  async all(items: readonly Item[]): Promise<Outcome[]> {
    const outcomes = new Array<Outcome>(items.length);
    const ids = await Promise.all(items.map((item) => "event" in item ? usageEventIdOf(item.event) : ""));
    const firsts = new Map<string, number>();
    const tenants = new Map<string, Placed[]>();
    for (const [at, item] of items.entries()) {
      const id = ids[at] ?? "";
      if (!("event" in item)) outcomes[at] = { status: "rejected", error: item.error };
      else if (!firsts.has(id)) {
        firsts.set(id, at);
        const keyed = await this.#keyed(item.event, id);
        const placed = tenants.get(item.event.subject);
        if ("status" in keyed) outcomes[at] = keyed;
        else if (placed) placed.push({ at, keyed });
        else tenants.set(item.event.subject, [{ at, keyed }]);
      }
    }
    await runBounded([...tenants], PARALLEL_TENANTS, async ([tenantId, placed]) => {
      const found = new Map(placed.map(({ at, keyed }) => [keyed, at]));
      for (const chunk of chunksOf(placed.map(({ keyed }) => keyed))) {
        const counted = await this.#count(tenantId, chunk);
        for (const [i, one] of chunk.entries()) outcomes[found.get(one) ?? 0] = counted[i] as Outcome;
      }
    });
    for (const [at, item] of items.entries()) {
      const first = firsts.get(ids[at] ?? "") ?? at;
      if ("event" in item && first !== at) outcomes[at] = repeated(item.event, items[first] as Item, outcomes[first] as Outcome);
    }
    return outcomes;
  }

  /** The event with its metric, or why it cannot be counted. */
  async #keyed(event: ReceivedEvent, id: string): Promise<Keyed | Outcome> {
    if (!isSegment(event.subject) || RESERVED_TENANT_IDS.has(event.subject)) return unknownTenant(event.subject);
    const metric = await this.#metric(event.type);
    if (!metric) return rejected("/type", errors.notFound("metric", event.type).message, "not_found");
    const error = dataFault(event.data, metric);
    return error ? { status: "rejected", error } : { event, id, metric };
  }

  /** Reads the catalogue at most once anew, however many events name a metric that it does not have. */
  async #metric(id: string): Promise<StoredMetric | undefined> {
    const known = (await catalogueOf(this.work)).get(id);
    if (known || this.#hasFreshMetrics) return known;
    this.#hasFreshMetrics = true;
    try {
      return await metricOf(this.work, id);
    } catch (error) {
      if (isInnkeepError(error, "not_found")) return undefined;
      throw error;
    }
  }

  /** Counts events of one tenant in one commit. If one of them makes the commit fail, halves are counted, down to that event. */
  async #count(tenantId: string, chunk: readonly Keyed[]): Promise<readonly Outcome[]> {
    let after: { readonly tallies: readonly Tally[]; readonly marks: readonly Mark[] } = { tallies: [], marks: [] };
    const decide = () => decideOn(this.work, tenantId, chunk, (tallies, marks) => void (after = { tallies, marks }));
    try {
      const { result, values } = await this.work.transact(decide);
      for (const mark of after.marks) mark.written();
      await this.#settle(after.tallies, values);
      return result.outcomes;
    } catch (error) {
      if (!(error instanceof InnkeepError) || !OF_ONE_EVENT.has(error.code)) throw error;
      if (chunk.length === 1) return [{ status: "rejected", error: faultOf(error) }];
      const middle = Math.ceil(chunk.length / 2);
      const first = await this.#count(tenantId, chunk.slice(0, middle));
      return [...first, ...await this.#count(tenantId, chunk.slice(middle))];
    }
  }

  /** Writes alerts and the tenant's `usagePercent` after counts that crossed a threshold. */
  async #settle(tallies: readonly Tally[], values: Readonly<Record<string, unknown>>): Promise<void> {
    for (const { place, usage } of tallies) {
      const after = usageRecord.schema.safeParse(values[place.key]);
      const { thresholds } = place.metric;
      if (after.success && (!usage || thresholdsReached(usage, thresholds) !== thresholdsReached(after.data, thresholds))) {
        await this.#meter.settleAfter(place);
      }
    }
  }
}

/** The outcome of a repeat in the same batch. */
function repeated(event: ReceivedEvent, first: Item, outcome: Outcome): Outcome {
  if (!("event" in first) || !isSame(first.event, event)) return mismatch();
  return outcome.status === "rejected" ? outcome : duplicateOf(outcome, outcome.usageEventId);
}

/** The fault of the one event in a commit. The path is that of the event, not of the record that could not hold it. */
function faultOf({ code, message }: InnkeepError): FieldError {
  if (code === "validation_failed") return { path: "/data/amount", ...INEXACT };
  return { path: code === "payload_too_large" ? "/data" : "/subject", message, code };
}
