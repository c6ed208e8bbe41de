import { z } from "zod";
import { errors, InnkeepError } from "../kernel/errors.ts";
import { given } from "./fields.ts";
import { instant } from "./values.ts";

const members = {
  message: z.string().max(500).optional().meta({ description: "What callers are told." }),
  endsAt: instant.optional().meta({ description: "When it ends by itself. Without it, it lasts until it is removed." }),
};

/** While it is set, and until its end, changes are refused and reads go on. */
export const maintenance = given(
  z.object(members).optional(),
  z.strictObject(members).optional().meta({
    description: "While it is set, and until its end, changes are refused with 503 and reads go on.",
  }),
);

export type Maintenance = z.output<typeof maintenance>;

/** Of a maintenance without an end. */
const RETRY_AFTER_SECONDS = 60;

/** The maintenance, if it is not over. */
export function presentMaintenance(maintenance: Maintenance, nowMs: number): NonNullable<Maintenance> | null {
  if (!maintenance) return null;
  return maintenance.endsAt === undefined || Date.parse(maintenance.endsAt) > nowMs ? maintenance : null;
}

/** The record without a maintenance that is over, so that a patch is not merged with its end. */
export function withoutEnded<R extends { readonly maintenance?: Maintenance }>(record: R, nowMs: number): R {
  if (presentMaintenance(record.maintenance, nowMs)) return record;
  const { maintenance: _, ...rest } = record;
  return rest as R;
}

/** The answer to a change during a maintenance. It is 503 with the seconds until the end as Retry-After. */
export function underMaintenance({ message, endsAt }: NonNullable<Maintenance>, whose: string, nowMs: number): InnkeepError {
  const retryAfterSeconds = endsAt === undefined ? RETRY_AFTER_SECONDS : Math.max(1, Math.ceil((Date.parse(endsAt) - nowMs) / 1_000));
  const until = endsAt === undefined ? "" : ` until ${endsAt}`;
  const said = message === undefined ? "" : ` ${message}`;
  return new InnkeepError("maintenance", `${whose} is under maintenance${until}. Reads go on; repeat changes later.${said}`, [], {
    retryAfterSeconds,
  });
}

/**
 * Refuses a maintenance that is changed and already over, such as one that is set anew beside the end of an earlier one. Throws
 * `validation_failed`.
 */
export function assertNotOver(before: Maintenance, after: Maintenance, now: string): void {
  if (after?.endsAt === undefined || after.endsAt > now || sameMaintenance(before, after)) return;
  throw errors.validation([{ path: "/maintenance/endsAt", message: "must be in the future", code: "invalid" }]);
}

function sameMaintenance(before: Maintenance, after: NonNullable<Maintenance>): boolean {
  return before?.endsAt === after.endsAt && before?.message === after.message;
}
