import { describe, expect, test } from "vitest";
import { NO_HOST_RULES } from "../../../shared/core/platform.ts";
import { type Tenant, tenant as entity } from "../../../shared/features/tenants/entity.ts";
import { nameOfHost, type TenantName } from "../../../shared/features/tenants/host-names.ts";
import { assertAllowed, claimChanges, refuseClaim, releasedClaims } from "../../../shared/features/tenants/names.ts";
import { InnkeepError } from "../../../shared/kernel/errors.ts";

const hosts = { baseDomain: "innkeep.example", apiHosts: ["api.innkeep.example", "backend.acme.example"] };
const regions = ["us-east-1", "eu-west-1"];
const now = "2026-01-15T00:00:00.000Z";

const { customDomain: _, ...example } = entity.schema.parse(entity.example);
const hotel = (subdomain: string, customDomain?: string): Tenant =>
  ({ ...example, id: "tn_1", subdomain, ...(customDomain === undefined ? {} : { customDomain }) }) as Tenant;

describe("the tenant a host names", () => {
  test.each<[string, TenantName | null]>([
    ["aurora.innkeep.example", { subdomain: "aurora" }],
    ["AURORA.Innkeep.example.:8443", { subdomain: "aurora" }],
    ["a.b.innkeep.example", { subdomain: "a.b" }],
    ["stay.aurora.example", { domain: "stay.aurora.example" }],
    ["Stay.Aurora.Example:443", { domain: "stay.aurora.example" }],
    ["notinnkeep.example", { domain: "notinnkeep.example" }],
    ["innkeep.example", null],
    ["innkeep.example:443", null],
    ["api.innkeep.example", null],
    ["backend.acme.example", null],
    ["localhost:8000", null],
    ["127.0.0.1", null],
    ["[::1]:8000", null],
    ["project.supabase.co", null],
    ["", null],
  ])("T13: of %j is %j", (host, name) => {
    expect(nameOfHost(host, hosts)).toEqual(name);
  });

  test.each<[string, TenantName | null]>([
    ["aurora.innkeep.example", { domain: "aurora.innkeep.example" }],
    ["a.null", { domain: "a.null" }],
    ["null", null],
  ])("T13: of %j, where the platform has no base domain, is %j", (host, name) => {
    expect(nameOfHost(host, NO_HOST_RULES)).toEqual(name);
  });
});

describe("names and regions a tenant asks for", () => {
  test.each([
    [{}],
    [{ id: "tn_1", subdomain: "aurora", customDomain: "stay.aurora.example", region: "eu-west-1" }],
    [{ customDomain: null, region: null }],
    [{ region: "us-east-1" }],
  ])("T15: %j are accepted", (names) => {
    expect(() => assertAllowed(names, { hosts, regions, currency: "USD" })).not.toThrow();
  });

  test.each([
    [{ id: "platform" }, [["/id", "must not be platform, which is reserved"]]],
    [{ id: "stats" }, [["/id", "must not be stats, which is reserved"]]],
    [{ subdomain: "api" }, [["/subdomain", "is reserved for the platform; choose another one"]]],
    [{ customDomain: "aurora.innkeep.example" }, [["/customDomain", "is reserved for the platform; choose another one"]]],
    [{ region: "mars-1" }, [["/region", "must be one of us-east-1, eu-west-1"]]],
    [{ region: "" }, [["/region", "must be one of us-east-1, eu-west-1"]]],
    [{ id: "global", subdomain: "api", customDomain: "innkeep.example", region: "x" }, [
      ["/id", "must not be global, which is reserved"],
      ["/subdomain", "is reserved for the platform; choose another one"],
      ["/customDomain", "is reserved for the platform; choose another one"],
      ["/region", "must be one of us-east-1, eu-west-1"],
    ]],
  ])("T15: %j is refused, with a pointer to every problem", (names, problems) => {
    expect(() => assertAllowed(names, { hosts, regions, currency: "USD" })).toThrowError(expect.objectContaining({
      code: "validation_failed",
      fields: problems.map(([path, message]) => ({ path, message, code: "invalid" })),
    }));
  });
});

describe("claims on names", () => {
  const subdomain = (label: string) => ({ entity: "subdomain-claim", before: null, after: { label, tenantId: "tn_1", createdAt: now } });
  const domain = (hostname: string) => ({ entity: "domain-claim", before: null, after: { hostname, tenantId: "tn_1", createdAt: now } });

  test.each<[string, Tenant | null, Tenant, unknown[], string[]]>([
    ["a new tenant claims its subdomain", null, hotel("aurora"), [subdomain("aurora")], []],
    ["a new tenant claims both its names", null, hotel("aurora", "a.example"), [subdomain("aurora"), domain("a.example")], []],
    ["a tenant that keeps its names claims and gives up nothing", hotel("aurora", "a.example"), hotel("aurora", "a.example"), [], []],
    ["a tenant without a domain gives none up", hotel("aurora"), hotel("aurora"), [], []],
    [
      "another subdomain takes the place of the one before",
      hotel("aurora", "a.example"),
      hotel("boreal", "a.example"),
      [subdomain("boreal")],
      ["subdomain:aurora"],
    ],
    ["a first domain is claimed", hotel("aurora"), hotel("aurora", "a.example"), [domain("a.example")], []],
    ["another domain frees the one before", hotel("aurora", "a.example"), hotel("aurora", "b.example"), [domain("b.example")], [
      "domain:a.example",
    ]],
    ["a domain taken off is free", hotel("aurora", "a.example"), hotel("aurora"), [], ["domain:a.example"]],
    [
      "both names change at once",
      hotel("aurora", "a.example"),
      hotel("boreal", "b.example"),
      [subdomain("boreal"), domain("b.example")],
      ["subdomain:aurora", "domain:a.example"],
    ],
  ])("K25: %s", (_what, before, after, claims, freed) => {
    expect(claimChanges(before, after, now).map((change) => ({ ...change, entity: change.entity.name }))).toEqual(claims);
    if (before) expect(releasedClaims(before, after)).toEqual(freed.map((key) => ({ op: "delete", key })));
  });

  test.each([
    ["subdomain:aurora", "subdomain_taken", "The subdomain aurora is taken. Choose another one."],
    ["domain:a.example", "domain_taken", "The domain a.example is taken. Choose another one."],
  ])("K25: a conflict on %s is reported as %s", (key, code, message) => {
    const error = refuseClaim(hotel("aurora", "a.example"))(key);
    expect(error).toBeInstanceOf(InnkeepError);
    expect(error).toMatchObject({ code, message, status: 409 });
  });

  test.each(["subdomain:boreal", "domain:b.example", "tenant:tn_1", "domain:undefined"])(
    "K25: a conflict on %s is not about a name",
    (key) => {
      expect(refuseClaim(hotel("aurora", "a.example"))(key)).toBeUndefined();
      expect(refuseClaim(hotel("aurora"))(key)).toBeUndefined();
    },
  );
});
