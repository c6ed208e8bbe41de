import type { HostRules } from "../../core/platform.ts";

/** Host names of tenants. A function that ends in `Problem` returns a message for the caller, or null for a valid name. */

/** Labels of the platform, of mail and of infrastructure, and labels that are useful for phishing. */
export const RESERVED_SUBDOMAINS: ReadonlySet<string> = new Set(
  `abuse account accounts admin administrator api app assets auth autoconfig autodiscover beta billing blog cdn console
  control dashboard demo dev dns docs email files ftp global graphql health help hostmaster id imap info innkeep internal
  invalid invoice invoices jobs legal local localhost login logout mail media metrics monitor mx noreply ns ns1 ns2 oauth
  ofrep openapi ops pay payment payments platform pop pop3 portal postmaster preview private prod production public root
  secure security settings sftp shop signin signup smtp ssh sso staging static status storage supabase support sys system
  test tests tenant tenants testing usenet verify vpn web webhook webhooks webmail webmaster wpad ws www www1 www2`.split(/\s+/),
);

/** One DNS label (RFC 1123 §2.1), lower case. */
const LABEL = /^[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?$/;
/** A label that the URL standard parses as part of an IPv4 address: decimal, octal or hexadecimal. */
const NUMBER = /^(?:\d+|0x[0-9a-f]*)$/;
const DASHED_ADDRESS = /^\d{1,3}(?:-\d{1,3}){3}$/;
/** Domains of Supabase, which serves the functions, and localhost (RFC 6761 §6.3). They are never a tenant's. */
const PLATFORM_HOSTS = /(^|\.)(supabase\.(co|red|net|com)|localhost)$/;
/** A hostname is one key segment, which is shorter than DNS allows (253). */
const MAX_HOSTNAME_CHARACTERS = 128;

const IS_ADDRESS = "must be a host name, not an IP address";
const IS_PLATFORMS = "is reserved for the platform; choose another one";

export function subdomainProblem(label: string): string | null {
  if (label.length < 3 || label.length > 63) return "must be 3 to 63 characters";
  const problem = labelProblem(label);
  if (problem) return problem;
  if (NUMBER.test(label) || DASHED_ADDRESS.test(label)) return "must not look like an IP address";
  return RESERVED_SUBDOMAINS.has(label) ? "is reserved; choose another one" : null;
}

export function domainProblem(hostname: string): string | null {
  if (hostname.length > MAX_HOSTNAME_CHARACTERS) return `must be at most ${MAX_HOSTNAME_CHARACTERS} characters`;
  if (hostname.startsWith("[") || hostname.includes("::")) return IS_ADDRESS;
  const labels = hostname.split(".");
  if (labels.length < 2) return "must be a full hostname, such as stay.hotel.example";
  for (const label of labels) {
    const problem = labelProblem(label);
    if (problem) return problem;
  }
  if (PLATFORM_HOSTS.test(hostname)) return "must not be a domain of Supabase or of localhost";
  // URL standard, "ends in a number": such a host is parsed as an IPv4 address.
  return NUMBER.test(hostname.slice(hostname.lastIndexOf(".") + 1)) ? IS_ADDRESS : null;
}

/** The host of the subdomain must not be one of the API's own hosts, which name no tenant. */
export function heldSubdomainProblem(label: string, { baseDomain, apiHosts }: HostRules): string | null {
  return baseDomain !== null && apiHosts.includes(`${label}.${baseDomain}`) ? IS_PLATFORMS : null;
}

/** The domain must not be a host of the API, nor lie below the base domain, where tenants have subdomains. */
export function heldDomainProblem(hostname: string, { baseDomain, apiHosts }: HostRules): string | null {
  const isBelow = baseDomain !== null && `.${hostname}`.endsWith(`.${baseDomain}`);
  return isBelow || apiHosts.includes(hostname) ? IS_PLATFORMS : null;
}

function labelProblem(label: string): string | null {
  if (!LABEL.test(label)) return "must have only a-z, 0-9 and hyphens, with no hyphen at either end of a label";
  // RFC 5891 §4.2.3.1: `--` in positions 3 and 4 marks an encoded name, which can imitate another one by look-alike letters.
  return label.slice(2, 4) === "--" ? "must not be punycode: no label may have -- in positions 3 and 4" : null;
}

/** The name of a Host header in lower case, without the port and the trailing dot of a fully qualified name. */
export function normalizeHost(host: string): string {
  return host.trim().toLowerCase().replace(/^(\[[^\]]*\]|[^:]*):\d*$/, "$1").replace(/\.$/, "");
}

export type TenantName = { readonly subdomain: string } | { readonly domain: string };

/** The tenant name of a host: the label below the base domain, else a custom domain. Null for a host that cannot name a tenant. */
export function nameOfHost(host: string, { baseDomain, apiHosts }: HostRules): TenantName | null {
  const name = normalizeHost(host);
  if (name === baseDomain || apiHosts.includes(name)) return null;
  if (baseDomain && name.endsWith(`.${baseDomain}`)) {
    return { subdomain: name.slice(0, -baseDomain.length - 1) };
  }
  return domainProblem(name) === null ? { domain: name } : null;
}
