import { z } from "zod";
import { CURRENCY_RULE, isCurrency } from "../kernel/currencies.ts";
import { MAX_URL_CHARS, webUrlFault } from "../kernel/web-url.ts";
import { isSegment, isTimestamp } from "../kv/key.ts";

/** Value types the declarations share. */

/** UTC instant with milliseconds, `YYYY-MM-DDTHH:mm:ss.sssZ`. */
export const instant = z.string().refine(isTimestamp, "must be a UTC instant YYYY-MM-DDTHH:mm:ss.sssZ")
  .meta({ format: "date-time", examples: ["2026-11-01T09:30:00.000Z"] });
/** Calendar day in UTC, `YYYY-MM-DD`. */
export const day = z.iso.date();
/** Month in UTC, `YYYY-MM`. */
export const period = z.string().regex(/^\d{4}-(0[1-9]|1[0-2])$/, "must be YYYY-MM").meta({ examples: ["2026-11"] });
/** An id that is one segment of a key. It may become the name of a member, which `__proto__` cannot be. */
export const segment = z.string().refine(
  (id) => isSegment(id) && id !== "__proto__",
  "must be 1-128 characters of A-Z a-z 0-9 . _ ~ @ + -, and not ., .. or __proto__",
);
export const email = z.email().max(254);
/** ISO 4217 code of a currency in use. */
export const currency = z.string().refine(isCurrency, CURRENCY_RULE).meta({ pattern: "^[A-Z]{3}$", examples: ["USD"] });
export const MAX_MAJOR_UNITS = 1e12;
export const MAX_MINOR_UNITS = MAX_MAJOR_UNITS * 100;
/** Integer amount in the currency's minor unit. */
export const minorUnits = z.int().min(0).max(MAX_MINOR_UNITS);
/** Non-negative decimal in the major unit with at most 2 decimals: 299 means 299.00 a month. */
export const majorUnits = z.number().min(0).max(MAX_MAJOR_UNITS)
  .refine((amount) => Math.round(amount * 100) / 100 === amount, "must have at most 2 decimals");
/** The maximum number of decimals of a metered amount. */
export const QUANTITY_DECIMALS = 6;
/** Rounded to the decimals of a metered amount. */
export const roundedQuantity = (amount: number) => Number.isInteger(amount) ? amount : Number(amount.toFixed(QUANTITY_DECIMALS));
/**
 * A metered amount: a non-negative number with at most 6 decimals. Sums are exact, and a sum is stored only if a double
 * represents it. Any sum of up to 15 digits is represented, so sums below 1e9 never fail.
 */
export const quantity = (max: number) =>
  z.number().min(0).max(max)
    .refine((amount) => roundedQuantity(amount) === amount, `must have at most ${QUANTITY_DECIMALS} decimals`)
    .meta({ description: `At most ${QUANTITY_DECIMALS} decimals.` });
/** A URL that callers send and browsers open: https, or http on localhost. */
export const webUrl = z.string().check(({ value, issues }) => {
  const message = webUrlFault(value);
  if (message !== null) issues.push({ code: "custom", message, input: value, params: { code: "invalid_url" } });
}).meta({ format: "uri", maxLength: MAX_URL_CHARS, examples: ["https://example.com/logo.png"] });
export const percent = z.number().min(0).max(100);
export const metadata = z.record(z.string().max(100), z.json());

/** A text with a custom rule. `problem` returns the message for an invalid text, else null. */
export function checkedText(schema: z.ZodString, problem: (text: string) => string | null): z.ZodString {
  return schema.check((payload) => {
    const message = problem(payload.value);
    if (message !== null) payload.issues.push({ code: "custom", input: payload.value, message });
  });
}
