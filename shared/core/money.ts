import { minorDigits } from "../kernel/currencies.ts";
import type { FieldError } from "../kernel/errors.ts";
import { MAX_MAJOR_UNITS, MAX_MINOR_UNITS } from "./values.ts";

/** What a plan costs, in the currency's minor unit. */
export interface Price {
  readonly price: number;
  readonly currency: string;
  readonly interval: "monthly" | "yearly";
}

/** Decimals of a monthly revenue, at most; a currency of fewer digits keeps to its own. */
const REVENUE_DECIMALS = 2;

/**
 * What a plan brings in a month, in the major unit. Months and digits beyond 2 are divided away in one step and rounded half up
 * once: 0.175 KWD a year is 0.01 a month; rounded to 15 fils first, it would be 0.02.
 */
export function monthlyRevenue({ price, currency, interval }: Price): number {
  const digits = minorDigits(currency);
  const decimals = Math.min(digits, REVENUE_DECIMALS);
  const months = interval === "yearly" ? 12 : 1;
  return dividedHalfUp(price, months * 10 ** (digits - decimals)) / 10 ** decimals;
}

/** The highest price in a currency: a month of it must fit a tenant's mrr, also where the minor unit is the major one. */
export function maxPrice(currency: string): number {
  return Math.min(MAX_MINOR_UNITS, MAX_MAJOR_UNITS * 10 ** minorDigits(currency));
}

/** What is wrong with a plan's price in its currency; null: nothing. The currency is one already. */
export function priceFault({ price, currency }: Pick<Price, "price" | "currency">): FieldError | null {
  const highest = maxPrice(currency);
  if (price <= highest) return null;
  return { path: "/price", message: `must be at most ${highest} in ${currency}`, code: "too_big" };
}

/** What is wrong with a monthly revenue in the platform's currency, in the major unit; null: nothing. */
export function revenueProblem(amount: number, currency: string): string | null {
  const decimals = Math.min(minorDigits(currency), REVENUE_DECIMALS);
  if (Math.round(amount * 10 ** decimals) / 10 ** decimals === amount) return null;
  return decimals === 0 ? `must be a whole number in ${currency}` : `must have at most ${decimals} decimals in ${currency}`;
}

/** `amount / divisor` rounded half up, exact for every safe integer: the remainder never meets a fraction. */
function dividedHalfUp(amount: number, divisor: number): number {
  const remainder = amount % divisor;
  const whole = (amount - remainder) / divisor;
  return remainder * 2 >= divisor ? whole + 1 : whole;
}
