import { Collection } from "../../core/collection.ts";
import type { UnitOfWork } from "../../core/unit-of-work.ts";
import { isoTime } from "../../kernel/clock.ts";
import { errors } from "../../kernel/errors.ts";
import { keyOf } from "../../kv/define.ts";
import type { Flag } from "../flags/entity.ts";
import { currentSet } from "../flags/flag-set.ts";
import { flagEvaluation } from "./entity.ts";
import { overridesAt } from "./overrides.ts";
import { type Finding, findingsOf } from "./rules.ts";

export const MAX_STALE_DAYS = 365;
export const DEFAULT_STALE_DAYS = 30;
const DAY_MS = 86_400_000;

/** A flag that can probably be removed, with every reason. */
export interface StaleFlag extends Pick<Flag, "key" | "name"> {
  readonly flagId: string;
  readonly reasons: Finding[];
  readonly lastEvaluatedAt: string | null;
  readonly lastDeliveredAt: string | null;
}

export interface StaleReport {
  readonly days: number;
  readonly asOf: string;
  readonly data: StaleFlag[];
}

/** Finds the flags that are no longer needed. */
export class StaleFlagService {
  constructor(private readonly work: UnitOfWork) {}

  /** The stale flags in the order of their keys. `days`: 1-365, how long something must have been so. */
  async report(days = DEFAULT_STALE_DAYS): Promise<StaleReport> {
    if (!Number.isInteger(days) || days < 1 || days > MAX_STALE_DAYS) {
      throw errors.parameter("days", `must be a whole number from 1 to ${MAX_STALE_DAYS}`);
    }
    const { work } = this;
    const asOf = work.now();
    const cutoff = isoTime(Date.parse(asOf) - days * DAY_MS);
    const { flags } = await currentSet(work);
    const evaluations = new Collection(flagEvaluation, work.store);
    const [found, overrides] = await Promise.all([
      evaluations.getMany(flags.map(({ id }) => keyOf(flagEvaluation, { flagId: id }))),
      overridesAt(work, flags, asOf),
    ]);
    const data = flags.flatMap((flag, i): StaleFlag[] => {
      const evaluation = found[i] ?? null;
      const reasons = findingsOf({ flag, evaluation, ...overrides(flag) }, cutoff);
      if (reasons.length === 0) return [];
      const { lastEvaluatedAt = null, lastDeliveredAt = null } = evaluation ?? {};
      return [{ flagId: flag.id, key: flag.key, name: flag.name, reasons, lastEvaluatedAt, lastDeliveredAt }];
    });
    return { days, asOf, data };
  }
}
