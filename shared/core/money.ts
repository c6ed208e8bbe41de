/** What a plan costs, in the currency's minor unit. */
export interface Price {
  readonly price: number;
  readonly interval: "monthly" | "yearly";
}

/**
 * What a plan brings in a month, in the major unit with at most 2 decimals. A year's price is divided by
 * 12 and rounded half up on whole minor units; the one division by 100 at the end is correctly rounded.
 */
export function monthlyRevenue(plan: Price): number {
  return (plan.interval === "yearly" ? dividedHalfUp(plan.price, 12) : plan.price) / 100;
}

/** `amount / divisor` rounded half up, exact for every safe integer: the remainder never meets a fraction. */
function dividedHalfUp(amount: number, divisor: number): number {
  const remainder = amount % divisor;
  const whole = (amount - remainder) / divisor;
  return remainder * 2 >= divisor ? whole + 1 : whole;
}
