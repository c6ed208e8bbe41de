import { InnkeepError } from "../../kernel/errors.ts";
import type { Metric } from "../metrics/entity.ts";
import { judged, type Policy } from "../usage/policies.ts";
import type { Level } from "../usage/rules.ts";
import type { Reservation } from "./entity.ts";

/** Whether its amount is free again although it was neither committed nor released. */
export function isExpired({ status, expiresAt }: Pick<Reservation, "status" | "expiresAt">, now: string): boolean {
  return status === "held" && expiresAt <= now;
}

/** The reservation as responses show it: released from the instant at which it expires. */
export function shown<R extends Reservation>(record: R, now: string): R {
  return isExpired(record, now) ? released(record, now) : record;
}

/** The reservation without its hold. One that has expired ended when it expired. */
export function released<R extends Reservation>(record: R, now: string): R {
  const expired = isExpired(record, now);
  return { ...record, status: "released", expired, endedAt: expired ? record.expiresAt : now };
}

export function committed<R extends Reservation>(record: R, committedAmount: number, now: string): R {
  return { ...record, status: "committed", committedAmount, endedAt: now };
}

/**
 * Whether a commit of `amount` has to be written. False if it was committed with this amount before. Throws `reservation_expired`, and
 * `reservation_ended` if it was released or committed with another amount.
 */
export function assertCommittable(record: Reservation, amount: number, now: string): boolean {
  const { id, status, expired, expiresAt, committedAmount } = shown(record, now);
  if (status === "held") return true;
  if (status === "committed" && committedAmount === amount) return false;
  if (status === "released" && expired) {
    const message = `Reservation ${id} expired at ${expiresAt}, and its amount is free again. Reserve the amount again.`;
    throw new InnkeepError("reservation_expired", message);
  }
  throw ended(id, status, status === "committed" ? `was committed with the amount ${committedAmount}` : "was released");
}

/** Whether a release has to be written. Throws `reservation_ended` if it was committed. */
export function assertReleasable({ id, status, committedAmount }: Reservation): boolean {
  if (status === "committed") throw ended(id, status, `was committed with the amount ${committedAmount}`);
  return status === "held";
}

function ended(id: string, status: string, how: string): InnkeepError {
  return new InnkeepError("reservation_ended", `Reservation ${id} ${how}, so it can no longer be changed.`, [], { status });
}

/** The refusal of an amount that the policy does not allow. */
export function exceeded(metric: Pick<Metric, "id"> & Policy, amount: number, level: Level): InnkeepError {
  const { current, limit, remaining } = judged(level, amount, metric);
  const message =
    `${amount} more of ${metric.id} does not fit the limit of ${limit}: ${current} is used or reserved. Nothing was reserved.`;
  return new InnkeepError("usage_limit_exceeded", message, [], { current, limit, remaining });
}
