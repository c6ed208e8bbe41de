import type { UnitOfWork } from "../../core/unit-of-work.ts";
import { InnkeepError } from "../../kernel/errors.ts";
import { roundedQuantity } from "../../core/values.ts";
import type { Addition } from "../../kv/store.ts";
import type { Metric } from "../metrics/entity.ts";
import { isOverLimit, type Level, plus } from "./rules.ts";

/** What a metric does above its limit. */
export type Policy = Pick<Metric, "policy" | "gracePercent">;

/** Whether an amount is allowed, and the level with it. */
export interface Judgement extends Level, Pick<Metric, "policy"> {
  readonly allowed: boolean;
  /** What remains of the limit, without the grace. Null if unlimited. */
  readonly remaining: number | null;
  /** Whether the limit is reached or exceeded, with the amount if it is allowed. */
  readonly overLimit: boolean;
  /** How much of the level is above the limit, with the amount if it is allowed. */
  readonly overage: number;
}

/** The highest level that the policy allows. Null: any. */
export function ceilingOf(limit: number | null, { policy, gracePercent }: Policy): number | null {
  if (limit === null || policy !== "hard") return null;
  return gracePercent === 0 ? limit : roundedQuantity(limit * (1 + gracePercent / 100));
}

/** The bound of an addition that enforces the ceiling of the record's own limit. */
export function boundOf({ policy, gracePercent }: Policy): Pick<Addition, "maxOf"> {
  return policy === "hard" ? { maxOf: { member: "limit", percent: 100 + gracePercent } } : {};
}

/** Whether `amount` more is allowed. Reaching the ceiling exactly is. */
export function fits({ current, limit }: Level, amount: number, policy: Policy): boolean {
  const ceiling = ceilingOf(limit, policy);
  return ceiling === null || plus(current, amount) <= ceiling;
}

export function judged(level: Level, amount: number, policy: Policy, allowed = fits(level, amount, policy)): Judgement {
  const { current, limit } = level;
  const after = allowed ? plus(current, amount) : current;
  return {
    allowed,
    current,
    limit,
    remaining: limit === null ? null : Math.max(0, plus(limit, -current)),
    policy: policy.policy,
    overLimit: isOverLimit(after, limit),
    overage: overageOf({ current: after, limit }),
  };
}

/** The amount above the limit; 0 if there is none. */
export function overageOf({ current, limit }: Level): number {
  return limit === null ? 0 : Math.max(0, plus(current, -limit));
}

/** A tenant cannot move its own meter. Also for library callers, which no route checks. Throws `forbidden`. */
export function assertMeters({ context: { tenantId } }: Pick<UnitOfWork, "context">): void {
  if (tenantId !== null) throw new InnkeepError("forbidden", "Only the platform can count usage.");
}
