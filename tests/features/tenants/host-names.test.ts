import { describe, expect, test } from "vitest";
import { NO_HOST_RULES } from "../../../shared/core/platform.ts";
import { isSegment } from "../../../shared/kv/key.ts";
import {
  domainProblem,
  heldDomainProblem,
  heldSubdomainProblem,
  normalizeHost,
  RESERVED_SUBDOMAINS,
  subdomainProblem,
} from "../../../shared/features/tenants/host-names.ts";
import { seededRandom } from "../../support/random.ts";

describe("subdomains", () => {
  test.each([
    "aurora",
    "abc",
    "a-b",
    "hotel-7",
    "7seas",
    "4you",
    "a".repeat(63),
    "1-2-3",
    "xn-aurora",
    "1-2-3-4-5",
    "10-20-30-40-rooms",
    "rooms-10-20-30-40",
    "1000-1-1-1",
  ])(
    "T15: %s can be a tenant's subdomain",
    (label) => {
      expect(subdomainProblem(label)).toBeNull();
    },
  );

  test.each(["www", "api", "admin", "app", "mail", "ftp", "global", "platform", "localhost", "login", "status"])(
    "T15: %s is reserved",
    (label) => {
      expect(subdomainProblem(label)).toBe("is reserved; choose another one");
    },
  );

  test.each(["xn--aurra-jua", "xn--80ak6aa92e", "ab--cd"])("T15: the encoded name %s, which can look like another, is refused", (label) => {
    expect(subdomainProblem(label)).toBe("must not be punycode: no label may have -- in positions 3 and 4");
  });

  test.each(["127", "2130706433", "0x7f000001", "0x0", "127-0-0-1", "10-20-30-40"])(
    "T15: %s looks like an IP address and is refused",
    (label) => {
      expect(subdomainProblem(label)).toBe("must not look like an IP address");
    },
  );

  test.each([
    "",
    "a",
    "ab",
    "a".repeat(64),
    "-abc",
    "abc-",
    "Aurora",
    "AURORA",
    "au rora",
    "au.rora",
    "au_rora",
    "auróra",
    "аurora",
    "aurora\n",
    "aurora\u0000",
    "au:rora",
    "aurora.",
    "*",
    "[::1]",
    "127.0.0.1",
  ])("T15: %j is no DNS label of 3 to 63 characters in lower case", (label) => {
    expect(subdomainProblem(label)).not.toBeNull();
  });

  test.each(["", "ab", "a".repeat(64), "A".repeat(64)])("T15: %j is refused with the length of a subdomain", (label) => {
    expect(subdomainProblem(label)).toBe("must be 3 to 63 characters");
  });

  test("T15: every reserved word is a valid label, so that the list blocks it", () => {
    for (const word of RESERVED_SUBDOMAINS) expect(word).toMatch(/^[a-z0-9]+$/);
  });
});

describe("custom domains", () => {
  test.each([
    "stay.aurora.example",
    "aurora.example",
    "a.io",
    "3.example",
    "1.2.3.example",
    "www.aurora.example",
    `${"a".repeat(63)}.example`,
  ])(
    "T15: %s can be a tenant's domain",
    (hostname) => {
      expect(domainProblem(hostname)).toBeNull();
    },
  );

  test.each([
    "127.0.0.1",
    "10.1",
    "0x7f.0.0.1",
    "0x7f.1",
    "017700000001",
    "2130706433",
    "aurora.1",
    "aurora.0x1f",
    "[::1]",
    "::1",
    "[fe80::1].example",
  ])("T15: the address %s is never a tenant", (hostname) => {
    expect(domainProblem(hostname)).not.toBeNull();
  });

  test.each(["127.0.0.1", "aurora.1", "aurora.0x1f", "[::1]", "::1", "a::b.example", "[fe80::1].example", "[1.2.3.4]", "[v1.a].example"])(
    "T15: the IP address %s is refused as one",
    (hostname) => {
      expect(domainProblem(hostname)).toBe("must be a host name, not an IP address");
    },
  );

  test.each(["aurora", "localhost", "", "1"])("T15: %j is refused with an example of a full hostname", (hostname) => {
    expect(domainProblem(hostname)).toBe("must be a full hostname, such as stay.hotel.example");
  });

  test("T15: a hostname of 128 characters can be a tenant's, and one of 129 is refused with the limit", () => {
    const longest = `${"a".repeat(60)}.${"b".repeat(60)}.exampl`;
    expect(longest).toHaveLength(128);
    expect(domainProblem(longest)).toBeNull();
    expect(domainProblem(`${longest}e`)).toBe("must be at most 128 characters");
  });

  test.each(["xn--aurra-jua.example", "stay.xn--80ak6aa92e.example", "aurora.xn--p1ai"])(
    "T15: the encoded name %s is never a tenant",
    (hostname) => {
      expect(domainProblem(hostname)).toBe("must not be punycode: no label may have -- in positions 3 and 4");
    },
  );

  test.each([
    "",
    "localhost",
    "aurora",
    ".example",
    "aurora..example",
    "aurora.example.",
    "Aurora.example",
    "auróra.example",
    "-a.example",
    "a-.example",
    "a_b.example",
    "*.example",
    "aurora.example:443",
    "https://aurora.example",
    "aurora.example/x",
    "a b.example",
    `${"a".repeat(64)}.example`,
    `${"abcdefg.".repeat(16)}example`,
  ])("T15: %j is no full hostname in lower case", (hostname) => {
    expect(domainProblem(hostname)).not.toBeNull();
  });

  test.each(["project.supabase.co", "supabase.co", "a.b.supabase.net", "x.supabase.red", "x.supabase.com", "a.localhost", "a.b.localhost"])(
    "T15: the platform's own name %s is never a tenant's",
    (hostname) => {
      expect(domainProblem(hostname)).toBe("must not be a domain of Supabase or of localhost");
    },
  );

  test.each(["notsupabase.co", "supabase.co.example", "supabase.example", "localhost.example"])(
    "T15: %s only resembles a platform's name, and can be a tenant's",
    (hostname) => {
      expect(domainProblem(hostname)).toBeNull();
    },
  );

  test("T15: every accepted name is one key segment, and a host that the URL standard parses as the same name", () => {
    const random = seededRandom("hostnames");
    let accepted = 0;
    for (let i = 0; i < 20_000; i++) {
      const name = random.text(1 + random.below(12), "abxn019-.-.:[]%/_ÄÅ ");
      if (domainProblem(name) !== null) continue;
      accepted++;
      expect(isSegment(name), name).toBe(true);
      expect(new URL(`https://${name}/`).hostname).toBe(name);
    }
    expect(accepted).toBeGreaterThan(0);
  });
});

describe("names that are reserved for the platform", () => {
  const rules = { baseDomain: "innkeep.example", apiHosts: ["api.innkeep.example", "backend.acme.example"] };
  const HELD = "is reserved for the platform; choose another one";

  test("T15: a subdomain is reserved if its host is one of the API's, and only then", () => {
    expect(heldSubdomainProblem("api", rules)).toBe(HELD);
    for (const free of ["aurora", "backend", "api.innkeep", ""]) expect(heldSubdomainProblem(free, rules), free).toBeNull();
  });

  test("T15: without a base domain no subdomain is a host of the API", () => {
    for (const apiHosts of [["api.null"], ["api"], ["api.innkeep.example"]]) {
      expect(heldSubdomainProblem("api", { baseDomain: null, apiHosts })).toBeNull();
    }
  });

  test.each(["innkeep.example", "aurora.innkeep.example", "a.b.innkeep.example", "api.innkeep.example", "backend.acme.example"])(
    "T15: the domain %s is reserved for the platform",
    (hostname) => {
      expect(heldDomainProblem(hostname, rules)).toBe(HELD);
    },
  );

  test.each(["aurora.example", "notinnkeep.example", "innkeep.example.aurora.example", "acme.example", "stay.backend.acme.example"])(
    "T15: the domain %s is not reserved for the platform",
    (hostname) => {
      expect(heldDomainProblem(hostname, rules)).toBeNull();
    },
  );

  test("T15: without a base domain only the API's own hosts are reserved", () => {
    const { apiHosts } = rules;
    expect(heldDomainProblem("backend.acme.example", { baseDomain: null, apiHosts })).toBe(HELD);
    for (const free of ["aurora.innkeep.example", "a.null"]) expect(heldDomainProblem(free, { baseDomain: null, apiHosts })).toBeNull();
  });

  test("T15: a platform without configured hosts reserves none", () => {
    expect(NO_HOST_RULES).toEqual({ baseDomain: null, apiHosts: [] });
    expect(heldSubdomainProblem("api", NO_HOST_RULES)).toBeNull();
    expect(heldDomainProblem("api.example", NO_HOST_RULES)).toBeNull();
  });
});

describe("host headers", () => {
  test.each([
    ["Aurora.Example", "aurora.example"],
    ["aurora.example:8443", "aurora.example"],
    ["aurora.example.", "aurora.example"],
    ["AURORA.example.:80", "aurora.example"],
    ["localhost:54321", "localhost"],
    ["[::1]:8000", "[::1]"],
    ["[::1]", "[::1]"],
    ["127.0.0.1:80", "127.0.0.1"],
    [" aurora.example ", "aurora.example"],
    ["::1:8000", "::1:8000"],
    ["a:b:80", "a:b:80"],
    ["aurora.example:", "aurora.example"],
    ["aurora.example:80a", "aurora.example:80a"],
  ])("T13: the host %j is looked up as %s", (host, name) => {
    expect(normalizeHost(host)).toBe(name);
  });
});
