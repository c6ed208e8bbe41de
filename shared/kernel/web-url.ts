/**
 * The parsed URL, or null if it is invalid. Instead of `URL.canParse`, which in Node 20 returns false for text with Latin-1 letters
 * such as ü once its caller is compiled.
 */
export function parseUrl(text: string): URL | null {
  try {
    return new URL(text);
  } catch {
    return null;
  }
}

/** The maximum length of a URL. */
export const MAX_URL_CHARS = 2_048;
/** The characters of a URI with a host (RFC 3986): `[` and `]` are only in the host, and `#` is there once. */
const URI =
  /^https?:\/\/[!-.0->@-~]+(?:\/(?:[\w.~:/@!$&'()*+,;=-]|%[0-9a-f]{2})*)?(?:\?(?:[\w.~:/?@!$&'()*+,;=-]|%[0-9a-f]{2})*)?(?:#(?:[\w.~:/?@!$&'()*+,;=-]|%[0-9a-f]{2})*)?$/i;
const THIS_MACHINE: ReadonlySet<string> = new Set(["localhost", "127.0.0.1", "[::1]"]);

/** The field message for a URL with other characters than a URI, else null. */
export function uriFault(text: string, { hostname }: URL): string | null {
  const authority = /^https?:\/\/([^/?#]+)/i.exec(text)?.[1] ?? "";
  if (!/^[\x21-\x7e]+$/.test(authority)) return `must name its host in ASCII: ${hostname}`;
  return URI.test(text) ? null : "must have the characters of a URI: encode others, such as %C3%BC for \u00fc";
}

/**
 * Returns the field message for an invalid web address, else null. Allows https, and http for localhost. Refuses credentials,
 * invisible characters, and characters that are not those of a URI or that a parser would silently change (WHATWG URL drops tabs).
 */
export function webUrlFault(text: string): string | null {
  if (text.length > MAX_URL_CHARS) return `must be at most ${MAX_URL_CHARS} characters`;
  if (/[\s\p{C}\\]/u.test(text)) return "must contain no spaces, backslashes or invisible characters";
  const authority = /^https?:\/\/([^/?#]+)/i.exec(text)?.[1];
  const url = parseUrl(text);
  if (authority === undefined || url === null) return "must be a URL, such as https://example.com/logo.png";
  if (authority.includes("@")) return "must contain no user name or password";
  const fault = uriFault(text, url);
  if (fault !== null) return fault;
  const { protocol, hostname } = url;
  return protocol === "http:" && !THIS_MACHINE.has(hostname) ? "must begin with https:// (http:// is allowed only for localhost)" : null;
}
