import type { CreateInput } from "../../core/fields.ts";
import { Records } from "../../core/records.ts";
import type { Change, UnitOfWork } from "../../core/unit-of-work.ts";
import { errors, InnkeepError } from "../../kernel/errors.ts";
import { counter, type Invoice, invoice } from "./entity.ts";
import { counterName, dueDateOf, numberOf, type Series, summed, type SumsInput } from "./rules.ts";

/** How often a creation is decided again when another one took its number. Enough for 8 processes that issue without a pause. */
export const NUMBER_ATTEMPTS = 40;

interface Issued<R> {
  readonly record: R;
  /** The counter, which must be in the same commit as the record. */
  readonly changes: readonly Change[];
  readonly attempts: number;
}

/**
 * A new invoice of a tenant with the next number, for the commit of a service or job. Call it only within a decision. The input must
 * be checked. Throws `validation_failed` for amounts that do not sum, and for another currency than the platform's.
 */
export async function issuedInvoice(work: UnitOfWork, tenantId: string, input: CreateInput<typeof invoice>): Promise<Issued<Invoice>> {
  const now = work.now();
  const { currency } = work.platform;
  assertCurrency(input.currency, currency, "the platform's currency");
  const fields = { ...input, ...summed(input as SumsInput, currency), currency, dueDate: dueDateOf(input.dueDate, now) };
  const { number, change } = await nextNumber(work, "invoice", now);
  const isFree = fields.total === 0;
  const record = new Records(invoice, work).newRecord({
    ...fields,
    tenantId,
    number,
    status: isFree ? "paid" : "pending",
    ...(isFree ? { paidAt: now } : {}),
    issuedAt: now,
  });
  return { record, changes: [change], attempts: NUMBER_ATTEMPTS };
}

/** The next number of a series, and the change of its counter. A commit that is refused takes no number. */
export async function nextNumber(
  work: UnitOfWork,
  series: Series,
  now: string,
): Promise<{ readonly number: string; readonly change: Change }> {
  const name = counterName(series, now);
  const before = await new Records(counter, work).get(name);
  const last = (before?.last ?? 0) + 1;
  const after = { ...(before ?? { name, createdAt: now }), last, updatedAt: now };
  return { number: numberOf(series, now, last), change: { entity: counter, before, after } };
}

/** Also for library callers, which no route checks. Throws `forbidden` for a tenant's own user. */
export function assertPlatform({ context: { tenantId } }: UnitOfWork): void {
  if (tenantId === null) return;
  throw new InnkeepError("forbidden", "Only the platform issues, changes and credits invoices. Ask the platform's support.");
}

/** Throws `validation_failed` if the caller sends another currency: sums never mix currencies. */
export function assertCurrency(sent: string | undefined, currency: string, whose: string): void {
  if (sent === undefined || sent === currency) return;
  throw errors.validation([{ path: "/currency", message: `must be ${whose}, ${currency}`, code: "other_currency" }]);
}
