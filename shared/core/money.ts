import { minorDigits } from "../kernel/currencies.ts";
import type { FieldError } from "../kernel/errors.ts";
import { MAX_MAJOR_UNITS, MAX_MINOR_UNITS } from "./values.ts";

/** The price of a plan for one interval, in the currency's minor unit. */
export interface Price {
  readonly price: number;
  readonly currency: string;
  readonly interval: "monthly" | "yearly";
}

/** The maximum number of decimals of a monthly revenue. A currency with fewer decimals uses its own number. */
const REVENUE_DECIMALS = 2;

/**
 * The monthly revenue of a plan, in the major unit. One division by the months and the excess decimals, rounded half up once:
 * 0.175 KWD a year is 0.01 a month, but would be 0.02 if it were first rounded to 15 fils.
 */
export function monthlyRevenue({ price, currency, interval }: Price): number {
  const digits = minorDigits(currency);
  const decimals = Math.min(digits, REVENUE_DECIMALS);
  const months = interval === "yearly" ? 12 : 1;
  return dividedHalfUp(price, months * 10 ** (digits - decimals)) / 10 ** decimals;
}

/** The maximum price in a currency, in its minor unit. The monthly revenue must fit a tenant's `mrr`, also without decimals. */
export function maxPrice(currency: string): number {
  return Math.min(MAX_MINOR_UNITS, MAX_MAJOR_UNITS * 10 ** minorDigits(currency));
}

/** The error of a plan's price, else null. The currency must be valid. */
export function priceFault({ price, currency }: Pick<Price, "price" | "currency">): FieldError | null {
  const highest = maxPrice(currency);
  if (price <= highest) return null;
  return { path: "/price", message: `must be at most ${highest}, in the minor unit of ${currency}`, code: "too_big" };
}

/** Why a monthly revenue, in the major unit of the platform's currency, is invalid; null if it is valid. */
export function revenueProblem(amount: number, currency: string): string | null {
  const decimals = Math.min(minorDigits(currency), REVENUE_DECIMALS);
  if (Math.round(amount * 10 ** decimals) / 10 ** decimals === amount) return null;
  return decimals === 0 ? `must be a whole number in ${currency}` : `must have at most ${decimals} decimals in ${currency}`;
}

/** `amount / divisor` rounded half up. Exact for every safe integer, because every step is an integer. */
function dividedHalfUp(amount: number, divisor: number): number {
  const remainder = amount % divisor;
  const whole = (amount - remainder) / divisor;
  return remainder * 2 >= divisor ? whole + 1 : whole;
}
