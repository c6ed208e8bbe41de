/** `a - b` of the decimals that the two numbers stand for: 2.1 - 1 is 1.1. `b` is an integer. */
export function subtractExactly(a: number, b: number): number {
  if (Number.isSafeInteger(a) && Number.isSafeInteger(a - b)) return a - b;
  const [, sign = "", whole = "0", fraction = "", exponent = "0"] = /^(-?)(\d+)(?:\.(\d+))?(?:e([+-]\d+))?$/.exec(String(a)) ?? [];
  const scale = Math.max(0, fraction.length - Number(exponent));
  const digits = BigInt(sign + whole + fraction) * 10n ** BigInt(Math.max(0, Number(exponent) - fraction.length));
  return Number(`${digits - BigInt(b) * 10n ** BigInt(scale)}e-${scale}`);
}
