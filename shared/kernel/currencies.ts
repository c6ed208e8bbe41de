/**
 * The active codes of ISO 4217 List One (2026-01-01) by the digits of their minor unit. Metals, units of account and test codes have
 * no minor unit and are left out. `Intl` is not used: its list depends on the version of ICU, includes withdrawn codes, and has the
 * digits of displayed prices for IDR, HUF and MGA.
 */
const CODES_BY_DIGITS: readonly (readonly [digits: number, codes: string])[] = [
  [0, "BIF CLP DJF GNF ISK JPY KMF KRW PYG RWF UGX UYI VND VUV XAF XOF XPF"],
  [
    2,
    "AED AFN ALL AMD AOA ARS AUD AWG AZN BAM BBD BDT BMD BND BOB BOV BRL BSD BTN BWP BYN BZD CAD CDF CHE CHF CHW CNY COP COU CRC " +
    "CUP CVE CZK DKK DOP DZD EGP ERN ETB EUR FJD FKP GBP GEL GHS GIP GMD GTQ GYD HKD HNL HTG HUF IDR ILS INR IRR JMD KES KGS KHR " +
    "KPW KYD KZT LAK LBP LKR LRD LSL MAD MDL MGA MKD MMK MNT MOP MRU MUR MVR MWK MXN MXV MYR MZN NAD NGN NIO NOK NPR NZD PAB PEN " +
    "PGK PHP PKR PLN QAR RON RSD RUB SAR SBD SCR SDG SEK SGD SHP SLE SOS SRD SSP STN SVC SYP SZL THB TJS TMT TOP TRY TTD TWD TZS " +
    "UAH USD USN UYU UZS VED VES WST XAD XCD XCG YER ZAR ZMW ZWG",
  ],
  [3, "BHD IQD JOD KWD LYD OMR TND"],
  [4, "CLF UYW"],
];

const DIGITS: ReadonlyMap<string, number> = new Map(
  CODES_BY_DIGITS.flatMap(([digits, codes]) => codes.split(" ").map((code) => [code, digits] as const)),
);

/** The field message for any other code. */
export const CURRENCY_RULE = "must be an ISO 4217 currency code in use, such as USD, EUR or JPY";

/** Whether the text is a code of the list, in upper case. */
export function isCurrency(code: string): boolean {
  return DIGITS.has(code);
}

/** The digits of the minor unit: 2 for USD, 0 for JPY, 3 for KWD. Throws a RangeError for any other code. */
export function minorDigits(currency: string): number {
  const digits = DIGITS.get(currency);
  if (digits === undefined) throw new RangeError("minorDigits takes an ISO 4217 currency code in use");
  return digits;
}
