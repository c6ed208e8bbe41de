import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { z } from "zod";
import { webUrl } from "../../shared/core/values.ts";
import { parseUrl, webUrlFault } from "../../shared/kernel/web-url.ts";
import { seededRandom } from "../support/random.ts";

const OUTSIDE = "must be a URL, such as https://example.com/logo.png";
const SECURE = "must begin with https:// (http:// is allowed only for localhost)";
const CREDENTIALS = "must contain no user name or password";
const ENCODED = "must have the characters of a URI: encode others, such as %C3%BC for ü";
const INVISIBLE = "must contain no spaces, backslashes or invisible characters";

describe("a web address that a caller sends", () => {
  test.each([
    "https://example.com",
    "https://cdn.aurora.example/logo.png?v=2#dark",
    "HTTPS://EXAMPLE.COM/a@b",
    "https://example.com/?mail=a@b.example",
    "https://example.com#a@b",
    "https://xn--mnchen-3ya.example/%C3%BC?q=%c3%bc#%C3%BC",
    "https://[2001:db8::1]:8443/logo",
    "http://localhost:3000/logo.png",
    "http://127.0.0.1/logo.png",
    "http://[::1]:8000/",
    `https://example.com/${"a".repeat(2_048 - 20)}`,
  ])("H02: %s is accepted", (text) => {
    expect(webUrlFault(text)).toBeNull();
    expect(webUrl.parse(text)).toBe(text);
  });

  test("H02: letters beyond ASCII are parsed also once the engine has compiled the check", () => {
    const parsed = Array.from({ length: 20_000 }, () => parseUrl("https://münchen.example/ü"));
    expect(parsed.filter((url) => url === null)).toEqual([]);
  });

  test.each([
    ["javascript:alert(1)", OUTSIDE],
    ["javascript://example.com/%0aalert(1)", OUTSIDE],
    ["data:text/html,<script>alert(1)</script>", OUTSIDE],
    ["ftp://example.com/logo.png", OUTSIDE],
    ["file:///etc/passwd", OUTSIDE],
    ["//example.com/logo.png", OUTSIDE],
    ["x+https://example.com", OUTSIDE],
    ["view-source:https://example.com", OUTSIDE],
    ["/logo.png", OUTSIDE],
    ["example.com", OUTSIDE],
    ["https:example.com", OUTSIDE],
    ["https:///example.com", OUTSIDE],
    ["https://", OUTSIDE],
    ["https://exa%mple.com", OUTSIDE],
    ["https://example.com:99999", OUTSIDE],
    ["", OUTSIDE],
    ["http://example.com/logo.png", SECURE],
    ["http://localhost.example.com", SECURE],
    ["http://127.0.0.2", SECURE],
    ["http://10.0.0.1", SECURE],
    ["https://user:pass@example.com", CREDENTIALS],
    ["https://user@example.com", CREDENTIALS],
    ["https://@example.com", CREDENTIALS],
    ["http://localhost@example.com", CREDENTIALS],
    ["http://localhost:80@example.com", CREDENTIALS],
    [" https://example.com", INVISIBLE],
    ["https://example.com ", INVISIBLE],
    ["https://exam\tple.com", INVISIBLE],
    ["https://example.com/\nx", INVISIBLE],
    ["java\nscript:alert(1)", INVISIBLE],
    ["https://example.com\\@evil.example", INVISIBLE],
    ["https://example.com/\u202egnp.exe", INVISIBLE],
    ["https://example.com/\u0000", INVISIBLE],
    ["https://example.com/\ud800", INVISIBLE],
    ["https://münchen.example/logo.png", "must name its host in ASCII: xn--mnchen-3ya.example"],
    ["https://example.com/ü.png", ENCODED],
    ["https://example.com/a%2", ENCODED],
    ["https://example.com/?a=<b>", ENCODED],
    ["https://example.com/[1]", ENCODED],
    ["https://example.com/#a#b", ENCODED],
    [`https://example.com/${"a".repeat(2_048 - 19)}`, "must be at most 2048 characters"],
  ])("%j is refused", (text, message) => {
    expect(webUrlFault(text)).toBe(message);
    expect(webUrl.safeParse(text).error?.issues).toMatchObject([{ message, params: { code: "invalid_url" } }]);
  });

  test("every text is accepted or refused, and an accepted one is https or localhost and has no credentials", () => {
    const text = fc.oneof(
      fc.string({ unit: "binary", maxLength: 60 }),
      fc.webUrl({ validSchemes: ["http", "https", "ftp"], withQueryParameters: true, withFragments: true }),
      fc.tuple(
        fc.constantFrom("https://", "http://", "javascript:", "https:/", "HTTP://localhost"),
        fc.string({ unit: fc.constantFrom(..."ab.:@/\\?#[]%0 \u0000ü"), maxLength: 30 }),
      ).map((parts) => parts.join("")),
    );
    fc.assert(
      fc.property(text, (sent) => {
        if (webUrlFault(sent) !== null) return !webUrl.safeParse(sent).success;
        const { protocol, hostname, username, password } = new URL(sent);
        expect(username + password).toBe("");
        return protocol === "https:" || ["localhost", "127.0.0.1", "[::1]"].includes(hostname);
      }),
      { seed: seededRandom("web addresses").seed, numRuns: 3_000 },
    );
  });

  test("has a JSON Schema with its format, length and an example", () => {
    expect(z.toJSONSchema(webUrl)).toMatchObject({ type: "string", format: "uri", maxLength: 2_048 });
  });
});
