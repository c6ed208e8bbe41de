import { minorDigits } from "../kernel/currencies.ts";
import type { FieldError } from "../kernel/errors.ts";
import type { Interval, Recurrence } from "./periods.ts";
import { MAX_MAJOR_UNITS, MAX_MINOR_UNITS } from "./values.ts";

/** The price of a plan for one billing interval, in the currency's minor unit. */
export interface Price extends Recurrence {
  readonly price: number;
  readonly currency: string;
}

/** Intervals in a year. */
const PER_YEAR: Readonly<Record<Interval, number>> = { daily: 365, weekly: 52, monthly: 12, yearly: 1 };

/** The maximum number of decimals of a monthly revenue. A currency with fewer decimals uses its own number. */
const REVENUE_DECIMALS = 2;

/**
 * The monthly revenue of a plan, in the major unit. A year has 365 days and 52 weeks. One division, rounded half up once: 0.175 KWD
 * a year is 0.01 a month, but would be 0.02 if it were first rounded to 15 fils.
 */
export function monthlyRevenue({ price, currency, interval, intervalCount = 1 }: Price): number {
  const digits = minorDigits(currency);
  const decimals = Math.min(digits, REVENUE_DECIMALS);
  const amount = BigInt(price) * BigInt(PER_YEAR[interval]);
  return dividedHalfUp(amount, BigInt(12 * intervalCount * 10 ** (digits - decimals))) / 10 ** decimals;
}

/** The maximum price in a currency, in its minor unit. The monthly revenue must fit a tenant's `mrr`, also without decimals. */
export function maxPrice(currency: string): number {
  return Math.min(MAX_MINOR_UNITS, MAX_MAJOR_UNITS * 10 ** minorDigits(currency));
}

/** The error of a plan's price, else null. The currency must be valid. */
export function priceFault(price: Price): FieldError | null {
  const { currency, interval } = price;
  const highest = maxPrice(currency);
  if (price.price > highest) {
    return { path: "/price", message: `must be at most ${highest}, in the minor unit of ${currency}`, code: "too_big" };
  }
  if (monthlyRevenue(price) <= MAX_MAJOR_UNITS) return null;
  return { path: "/price", message: `must make at most ${MAX_MAJOR_UNITS} ${currency} a month, and this is ${interval}`, code: "too_big" };
}

/** Why a monthly revenue, in the major unit of the platform's currency, is invalid; null if it is valid. */
export function revenueProblem(amount: number, currency: string): string | null {
  const decimals = Math.min(minorDigits(currency), REVENUE_DECIMALS);
  if (Math.round(amount * 10 ** decimals) / 10 ** decimals === amount) return null;
  return decimals === 0 ? `must be a whole number in ${currency}` : `must have at most ${decimals} decimals in ${currency}`;
}

/** `amount / divisor` rounded half up. `amount` is not negative. */
export function dividedHalfUp(amount: bigint, divisor: bigint): number {
  return Number((amount * 2n + divisor) / (divisor * 2n));
}
