import type { Advanced } from "./billing-run.ts";
import type { Step } from "./renewals.ts";

/** What a run of the job did, or would do. */
export type Tally = {
  readonly trialsEnded: number;
  readonly renewed: number;
  readonly cancelled: number;
  readonly invoices: number;
  /** The totals of the invoices, in the minor unit of the platform's currency. */
  readonly invoiced: number;
  readonly pastDue: number;
  readonly reminders: number;
  readonly suspended: number;
};

export const NOTHING: Tally = {
  trialsEnded: 0,
  renewed: 0,
  cancelled: 0,
  invoices: 0,
  invoiced: 0,
  pastDue: 0,
  reminders: 0,
  suspended: 0,
};

export function counted(tally: Tally, { actions, lines }: Step, total = 0): Tally {
  const has = (action: string) => actions.includes(action) ? 1 : 0;
  return {
    trialsEnded: tally.trialsEnded + has("subscription.trial_ended"),
    renewed: tally.renewed + has("subscription.renewed"),
    cancelled: tally.cancelled + has("subscription.cancelled"),
    invoices: tally.invoices + (lines.length > 0 ? 1 : 0),
    invoiced: tally.invoiced + total,
    pastDue: tally.pastDue + has("subscription.past_due"),
    reminders: tally.reminders + has("invoice.overdue"),
    suspended: tally.suspended + has("tenant.suspended"),
  };
}

/**
 * Whether the visit goes on. It ends with an invoice to pay, so that after a downtime its payment can be recorded before the next
 * period or the next reminder is due.
 */
export function isContinued({ invoice }: Pick<Advanced, "invoice">): boolean {
  return invoice === null || invoice.status === "paid";
}
