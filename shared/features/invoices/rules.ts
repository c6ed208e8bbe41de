import { maxPrice } from "../../core/money.ts";
import { addDays } from "../../core/periods.ts";
import { errors, type FieldError, InnkeepError } from "../../kernel/errors.ts";
import type { Invoice, InvoiceStatus, LineInput, LineItem } from "./entity.ts";

/** Days from the issue of an invoice to its due date. */
export const PAYMENT_DAYS = 14;

const MAX_PAYMENT_DAYS = 3_650;
/** Invoices may be imported, so a payment can be older than its invoice. */
const EARLIEST_PAYMENT = "2000-01-01T00:00:00.000Z";

export const INVOICE_TRANSITIONS: Readonly<Record<InvoiceStatus, readonly InvoiceStatus[]>> = {
  pending: ["paid", "failed", "void"],
  failed: ["paid", "void"],
  paid: ["refunded"],
  refunded: [],
  void: [],
};

/** The amounts as a caller sends them. Those that are left out are computed. */
export interface SumsInput {
  readonly lineItems: readonly LineInput[];
  readonly amount?: number | undefined;
  readonly tax?: number | undefined;
  readonly total?: number | undefined;
}

export interface Sums {
  readonly lineItems: LineItem[];
  readonly amount: number;
  readonly tax: number;
  readonly total: number;
}

/**
 * The line items and sums of an invoice or credit note, in the minor unit of `currency`. Exact: every product and sum that passes is
 * a safe integer. Throws `validation_failed` with every amount that is wrong.
 */
export function summed(input: SumsInput, currency: string): Sums {
  const highest = maxPrice(currency);
  const { tax = 0 } = input;
  const lineItems = input.lineItems.map(lineOf);
  const faults = input.lineItems.flatMap((line, i) => lineFaults(line, `/lineItems/${i}`, highest));
  if (faults.length > 0) throw errors.validation(faults);
  // The sum of 250 lines can exceed the safe integers, although each is below the highest price.
  const exact = lineItems.reduce((sum, line) => sum + BigInt(line.amount), 0n);
  if (exact < 0n) {
    throw errors.validation([{ path: "/lineItems", message: `must sum to at least 0, and sum to ${exact}`, code: "too_small" }]);
  }
  if (exact > BigInt(highest)) throw errors.validation([tooBig("/lineItems", `must sum to at most ${highest}`, currency)]);
  const amount = Number(exact);
  const total = amount + tax;
  if (total > highest) throw errors.validation([tooBig("/tax", `must make the total at most ${highest}`, currency)]);
  const unequal = [
    ...equalFault("/amount", input.amount, amount, "must be the sum of the line items"),
    ...equalFault("/total", input.total, total, "must be amount + tax"),
  ];
  if (unequal.length > 0) throw errors.validation(unequal);
  return { lineItems, amount, tax, total };
}

function lineOf({ quantity = 1, kind = "other", ...line }: LineInput): LineItem {
  // `+ 0` turns -0 into 0.
  return { ...line, quantity, kind, amount: quantity * line.unitAmount + 0 } as LineItem;
}

function lineFaults(line: LineInput, path: string, highest: number): FieldError[] {
  const { quantity = 1, unitAmount, amount, periodStart, periodEnd } = line;
  // Above the safe integers the product is rounded, but never to less than the highest amount.
  const product = quantity * unitAmount + 0;
  if (Math.abs(product) > highest) {
    return [{
      path: `${path}/unitAmount`,
      message: `must make the amount of the line a number from -${highest} to ${highest}`,
      code: "too_big",
    }];
  }
  return [
    ...equalFault(`${path}/amount`, amount, product, "must be quantity × unitAmount"),
    ...periodFault(path, periodStart, periodEnd),
  ];
}

function periodFault(path: string, start: string | undefined, end: string | undefined): FieldError[] {
  if (start === undefined && end === undefined) return [];
  if (start === undefined) return [{ path: `${path}/periodStart`, message: "is required with periodEnd", code: "required" }];
  if (end === undefined) return [{ path: `${path}/periodEnd`, message: "is required with periodStart", code: "required" }];
  return end > start ? [] : [{ path: `${path}/periodEnd`, message: "must be after periodStart", code: "invalid_period" }];
}

function equalFault(path: string, sent: number | undefined, computed: number, rule: string): FieldError[] {
  return sent === undefined || sent === computed ? [] : [{ path, message: `${rule}, which is ${computed}`, code: "wrong_sum" }];
}

function tooBig(path: string, message: string, currency: string): FieldError {
  return { path, message: `${message}, in the minor unit of ${currency}`, code: "too_big" };
}

/** The due date of an invoice that is issued at `now`. Throws `validation_failed` for one before `now`, or 10 years later. */
export function dueDateOf(sent: string | undefined, now: string): string {
  if (sent === undefined) return addDays(now, PAYMENT_DAYS);
  if (sent < now) throw errors.validation([{ path: "/dueDate", message: "must not be before the invoice is issued", code: "in_past" }]);
  // A mistyped year cannot be corrected in an invoice.
  if (sent <= addDays(now, MAX_PAYMENT_DAYS)) return sent;
  throw errors.validation([{ path: "/dueDate", message: `must be at most ${MAX_PAYMENT_DAYS} days from now`, code: "too_late" }]);
}

/** A payment that is reported at `now`. Throws `validation_failed` if it is in the future, or before 2000. */
export function paymentTime(sent: string | undefined, now: string): string {
  if (sent === undefined) return now;
  if (sent > now) throw errors.validation([{ path: "/paidAt", message: "must not be in the future", code: "in_future" }]);
  if (sent < EARLIEST_PAYMENT) throw errors.validation([{ path: "/paidAt", message: "must not be before 2000-01-01", code: "too_early" }]);
  return sent;
}

const TIMES = { paid: "paidAt", failed: "failedAt", void: "voidedAt", refunded: "refundedAt" } as const;

/** The invoice with its new status; unchanged if it has the status. Throws `invalid_transition` with the allowed statuses. */
export function moved(invoice: Invoice, to: keyof typeof TIMES, at: string): Invoice {
  if (invoice.status === to) return invoice;
  const allowed = INVOICE_TRANSITIONS[invoice.status];
  if (!allowed.includes(to)) throw errors.transition(invoice.status, to, allowed, "An invoice");
  return { ...invoice, status: to, [TIMES[to]]: at };
}

/** The amount that can still be credited, in the minor unit. Nothing of an invoice that is voided or refunded. */
export function creditLeft({ status, total, creditedTotal }: Pick<Invoice, "status" | "total" | "creditedTotal">): number {
  return status === "void" || status === "refunded" ? 0 : total - creditedTotal;
}

/** The invoice after a credit note. Its status stays. Throws `credit_exceeds_invoice`. */
export function credited(invoice: Invoice, total: number): Invoice {
  const remaining = creditLeft(invoice);
  if (total <= remaining) return { ...invoice, creditedTotal: invoice.creditedTotal + total };
  const { number, status, currency } = invoice;
  const reason = status === "void" || status === "refunded"
    ? `Invoice ${number} is ${status}. You cannot credit it.`
    : `This credit note is ${total}, and at most ${remaining} of invoice ${number} can be credited (in the minor unit of ${currency}).`;
  throw new InnkeepError("credit_exceeds_invoice", reason, [], { remaining });
}

/** Throws `validation_failed` for a credit note of 0. */
export function assertCredits({ total }: Sums): void {
  if (total > 0) return;
  throw errors.validation([{ path: "/lineItems", message: "must sum to more than 0, including the tax", code: "too_small" }]);
}

/** Series of numbers, one for each year in UTC. */
export const SERIES = { invoice: "INV", "credit-note": "CN" } as const;
export type Series = keyof typeof SERIES;

/** The name of the counter, such as `invoice-2026`. */
export function counterName(series: Series, now: string): string {
  return `${series}-${now.slice(0, 4)}`;
}

/** `INV-2026-000123`. From the millionth number on it has seven digits. */
export function numberOf(series: Series, now: string, n: number): string {
  return `${SERIES[series]}-${now.slice(0, 4)}-${String(n).padStart(6, "0")}`;
}
