import { errors } from "../../kernel/errors.ts";

/** Loaded by the first key with an allow-list. */
const load = () => import("ipaddr.js");
type IpAddr = Awaited<ReturnType<typeof load>>["default"];

/** An address is a range with its full length. IPv4 ranges that are written as IPv6 ones count as IPv4. Null if it is neither. */
function rangeOf({ isValidCIDR, isValid, parse, parseCIDR, IPv6 }: IpAddr, text: string): ReturnType<IpAddr["parseCIDR"]> | null {
  if (!isPlain(text) || !(isValidCIDR(text) || isValid(text))) return null;
  const [address, bits] = isValidCIDR(text) ? parseCIDR(text) : [parse(text), null];
  const isMapped = address instanceof IPv6 && address.isIPv4MappedAddress() && (bits ?? 128) >= 96;
  if (isMapped) return [address.toIPv4Address(), (bits ?? 128) - 96];
  return [address, bits ?? (address.kind() === "ipv4" ? 32 : 128)];
}

/** The library reads octal, hexadecimal and short forms such as 010.0x1 too, which readers take for other addresses. */
function isPlain(text: string): boolean {
  return text.includes(":") ? !/(^|\.)0\d/.test(text) : /^(?:0|[1-9]\d{0,2})(?:\.(?:0|[1-9]\d{0,2})){3}(?:\/\d+)?$/.test(text);
}

/** Throws `validation_failed` for entries that are neither an address nor a CIDR range. */
export async function assertRanges(ranges: readonly string[] = []): Promise<void> {
  if (ranges.length === 0) return;
  const { default: ipaddr } = await load();
  const faults = ranges.flatMap((range, i) =>
    rangeOf(ipaddr, range) ? [] : [{
      path: `/allowedIps/${i}`,
      message: "must be an IPv4 or IPv6 address, or a CIDR range such as 203.0.113.0/24",
      code: "invalid_address",
    }]
  );
  if (faults.length > 0) throw errors.validation(faults);
}

/** Whether an address is in one of the ranges. An IPv4 address that is written as an IPv6 one (RFC 4291 §2.5.5.2) counts as IPv4. */
export async function isInRanges(address: string | undefined, ranges: readonly string[]): Promise<boolean> {
  if (address === undefined) return false;
  const { default: ipaddr } = await load();
  if (!isPlain(address) || !ipaddr.isValid(address)) return false;
  const given = ipaddr.process(address);
  return ranges.some((text) => {
    const range = rangeOf(ipaddr, text);
    return range !== null && range[0].kind() === given.kind() && given.match(range);
  });
}
