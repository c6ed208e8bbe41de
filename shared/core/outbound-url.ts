import { errors } from "../kernel/errors.ts";
import { MAX_URL_CHARS, parseUrl, uriFault } from "../kernel/web-url.ts";
import type { OutboundRules } from "./outbound.ts";

/** Loaded by the first URL whose host is an address. */
const load = () => import("ipaddr.js");

/** Names of private networks (RFC 6761, 6762, 8375; `internal` is reserved by ICANN) and of clouds' metadata services. */
const PRIVATE_SUFFIXES = [
  "localhost",
  "local",
  "internal",
  "home.arpa",
  "lan",
  "intranet",
  "corp",
  "home",
  "private",
  "svc",
  "metadata.goog",
];
/** Azure's host agent, which answers every virtual machine at a public address. */
const REFUSED_ADDRESSES: ReadonlySet<string> = new Set(["168.63.129.16"]);
/** RFC 1035 §2.3.4, for a name without its last dot. */
const MAX_HOST_CHARS = 253;
const MAX_LABEL_CHARS = 63;
const LOOPBACK_NAME = /^(.+\.)?localhost$/;

/** Whether the host of a parsed URL is an address: WHATWG's parser writes IPv4 in decimal, and IPv6 in brackets. */
export function isAddress(hostname: string): boolean {
  return hostname.startsWith("[") || /^\d+\.\d+\.\d+\.\d+$/.test(hostname);
}

/** `public`: global unicast (IANA's special-purpose registries). `loopback`: this machine. `refused`: every other address. */
export async function addressKind(address: string): Promise<"public" | "loopback" | "refused"> {
  const { default: ipaddr } = await load();
  const bare = address.replace(/^\[|\]$/g, "");
  if (!ipaddr.isValid(bare)) return "refused";
  const parsed = ipaddr.parse(bare);
  const range = parsed.range();
  if (range === "loopback") return "loopback";
  // What translates to IPv4 is refused, too: the IPv4 address could be private, and a receiver has no need of it.
  const isGlobal = parsed instanceof ipaddr.IPv4 ? !REFUSED_ADDRESSES.has(parsed.toString()) : parsed.match(ipaddr.IPv6.parse("2000::"), 3);
  return range === "unicast" && isGlobal ? "public" : "refused";
}

/** Whether a URL names this machine by `localhost` or a loopback address, which `local` allows. */
export async function isLocalHost(hostname: string): Promise<boolean> {
  return LOOPBACK_NAME.test(hostname) || isAddress(hostname) && await addressKind(hostname) === "loopback";
}

/**
 * The field message for a URL that must not be called, else null. What a name resolves to is checked when it is called. Every
 * spelling of an address (decimal, octal, hexadecimal, mapped) is one address after parsing.
 */
export async function urlFault(text: string, rules: OutboundRules): Promise<string | null> {
  if (text.length > MAX_URL_CHARS) return `must be at most ${MAX_URL_CHARS} characters`;
  if (/[\s\p{C}\\]/u.test(text)) return "must contain no spaces, backslashes or invisible characters";
  const authority = /^https?:\/\/([^/?#]+)/i.exec(text)?.[1];
  const url = parseUrl(text);
  if (authority === undefined || url === null) return "must be a URL, such as https://hooks.example.com/innkeep";
  if (authority.includes("@")) return "must contain no user name or password";
  if (text.includes("#")) return "must contain no fragment: remove the part from # on";
  const fault = uriFault(text, url);
  if (fault !== null) return fault;
  if (rules.local && await isLocalHost(url.hostname)) return null;
  if (url.protocol !== "https:") return "must begin with https://";
  const port = url.port === "" ? 443 : Number(url.port);
  if (!rules.ports.includes(port)) return `must use port ${rules.ports.join(" or ")}`;
  return await hostFault(url.hostname);
}

async function hostFault(hostname: string): Promise<string | null> {
  if (isAddress(hostname)) {
    return await addressKind(hostname) === "public" ? null : "must not name a private, local or reserved address";
  }
  if (hostname.length > MAX_HOST_CHARS || hostname.split(".").some(({ length }) => length > MAX_LABEL_CHARS)) {
    return `must name a host of at most ${MAX_HOST_CHARS} characters, and ${MAX_LABEL_CHARS} between two dots`;
  }
  if (hostname.endsWith(".")) return "must name a host without a dot at its end";
  if (!hostname.includes(".")) return "must name a host of the public internet, such as hooks.example.com";
  const isPrivate = PRIVATE_SUFFIXES.some((suffix) => hostname === suffix || hostname.endsWith(`.${suffix}`));
  return isPrivate ? "must not name a host of a private network" : null;
}

/** Throws `validation_failed` for a URL that must not be called. `path`: the JSON Pointer of the field. */
export async function assertWebhookUrl(url: string, rules: OutboundRules, path = "/url"): Promise<void> {
  const message = await urlFault(url, rules);
  if (message !== null) throw errors.validation([{ path, message, code: "invalid_url" }]);
}
