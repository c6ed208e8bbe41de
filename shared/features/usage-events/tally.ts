import type { Stored } from "../../core/collection.ts";
import type { FieldError } from "../../kernel/errors.ts";
import type { JsonObject } from "../../kernel/json.ts";
import { keyOf } from "../../kv/define.ts";
import type { Addition, Check, Mutation } from "../../kv/store.ts";
import type { usageRecord } from "../usage/entity.ts";
import type { Opening, Place } from "../usage/reads.ts";
import { plus } from "../usage/rules.ts";
import { usageGroups } from "./entity.ts";
import { addEvent, type Booking, fullDimension, grouped, MAX_GROUPS, Sums } from "./rules.ts";

type Groups = Readonly<Record<string, Readonly<Record<string, number>>>>;

export function groupsKey({ tenantId, metric, period }: Place): string {
  return keyOf(usageGroups, { tenantId, metric: metric.id, period });
}

/** What one commit adds to one metric in one month, and the records as they were read. */
export class Tally {
  readonly #usage = new Sums();
  readonly #grouped = new Sums();
  /** The last levels of a gauge, by day. */
  readonly #levels = new Map<string, number>();
  #levelAt: string | undefined;
  /** The groups after the events so far. */
  #known: Groups;
  #hasNewGroup = false;
  #isCounted = false;

  constructor(
    readonly place: Place,
    readonly usage: Stored<typeof usageRecord> | null,
    private readonly groups: Stored<typeof usageGroups> | null,
  ) {
    this.#levelAt = usage?.levelAt;
    this.#known = groups?.groups ?? {};
  }

  /** Whether the commit changes the usage record. */
  get isCounted(): boolean {
    return this.#isCounted;
  }

  /** Why the event has no place in the groups of the month. Null if it has. */
  faultOf(dimensions: Readonly<Record<string, string>>): FieldError | null {
    const full = fullDimension(this.#known, dimensions);
    if (full === null) return null;
    const message = `must be one of the ${MAX_GROUPS} values of ${full} in ${this.place.period}; group by what has fewer values`;
    return { path: `/data/dimensions/${full}`, message, code: "too_many_groups" };
  }

  /** Adds an event. Returns whether it changes the usage: an event of a gauge that is older than the level, or of a closed month, does not. */
  add(booking: Booking, amount: number, dimensions: Readonly<Record<string, string>>): boolean {
    const { metric } = this.place;
    if (metric.kind === "gauge") {
      if (booking.isFinal || (this.#levelAt !== undefined && booking.time < this.#levelAt)) return false;
      this.#levelAt = booking.time;
      this.#levels.set(booking.day, amount);
    } else {
      addEvent(this.#usage, booking, amount, metric.resolution === "hour");
      this.#hasNewGroup ||= Object.entries(dimensions).some(([name, value]) => this.#known[name]?.[value] === undefined);
      this.#known = grouped(this.#known, dimensions, amount);
      for (const [name, value] of Object.entries(dimensions)) this.#grouped.add(["groups", name, value], amount);
    }
    return this.#isCounted = true;
  }

  /** The writes of usage and groups. `opening` is given if there is no usage record yet. */
  mutations(opening: Opening | null, now: string): Mutation[] {
    const { place } = this;
    const grouping = this.#grouped.additions();
    const { tenantId, metric, period } = place;
    const first = { id: groupsKey(place), tenantId, metric: metric.id, period, groups: {}, createdAt: now };
    return [
      {
        op: "increment",
        key: place.key,
        add: this.#additions(),
        merge: { updatedAt: now, ...(metric.kind === "gauge" && this.#levelAt !== undefined ? { levelAt: this.#levelAt } : {}) },
        ...(opening ? { initial: { value: opening.record as JsonObject } } : {}),
      },
      ...(grouping.length === 0
        ? []
        : [{ op: "increment", key: first.id, add: grouping, merge: { updatedAt: now }, initial: { value: first } } as const]),
    ];
  }

  /** The versions on which the writes depend: a level that others may set, and groups to which others may add a value. */
  checks(opening: Opening | null): Check[] {
    const { place, usage, groups } = this;
    return [
      ...opening?.checks ?? [],
      ...(opening?.carried ? [opening.carried] : []),
      ...(place.metric.kind === "gauge" ? [{ key: place.key, version: usage?.version ?? null }] : []),
      ...(this.#hasNewGroup ? [{ key: groupsKey(place), version: groups?.version ?? null }] : []),
    ];
  }

  #additions(): Addition[] {
    if (this.place.metric.kind === "counter") return this.#usage.additions();
    const days = [...this.#levels].sort(([a], [b]) => a < b ? -1 : 1);
    // What is held stays beside the level. The check of the version keeps it the same until the commit.
    const level = plus(days.at(-1)?.[1] ?? 0, this.usage?.reserved ?? 0);
    return [{ path: ["current"], to: level }, ...days.map(([day, to]) => ({ path: ["daily", day], to }))];
  }
}
