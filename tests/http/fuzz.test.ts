import fc from "fast-check";
import { expect, test } from "vitest";
import { seededRandom } from "../support/random.ts";
import { useApi } from "./support/api.ts";
import { bodyOf, pathOf } from "./support/samples.ts";

const api = useApi();
const { seed } = seededRandom("fuzz over HTTP");
const REQUESTS = Number(process.env["FUZZ_REQUESTS"] ?? 5_000);

const nasty = fc.oneof(
  fc.constantFrom(
    "\u0000",
    "\ud800",
    "'; drop table kv.entries; --",
    "../..",
    "%",
    "_",
    "",
    "null",
    "1e999",
    "-0",
    "true",
    "tn_1:x",
    "__proto__",
    "constructor",
    "\u202e",
    "🏨".repeat(40),
    "9".repeat(400),
  ),
  fc.string({ unit: "binary", maxLength: 40 }),
);
const value = fc.oneof(
  nasty,
  fc.jsonValue({ maxDepth: 3 }),
  fc.double(),
  fc.integer(),
  fc.constantFrom(null, true, [], {}, 2 ** 53, -1e308),
);
/** A valid body with some members replaced and some unknown ones added. */
const mutation = fc.record({ keep: fc.double({ min: 0, max: 1, noNaN: true }), extra: fc.dictionary(nasty, value, { maxKeys: 2 }), value });
const request = fc.record({
  route: fc.nat(),
  segment: fc.option(nasty),
  query: fc.array(
    fc.tuple(
      fc.oneof(nasty, fc.constantFrom("limit", "page", "cursor", "sort", "search", "status", "period", "tenantId", "amount", "from")),
      nasty,
    ),
    { maxLength: 3 },
  ),
  change: fc.option(mutation),
  raw: fc.option(fc.oneof(nasty, fc.json())),
  caller: fc.constantFrom("super_admin", "read_only", "owner", "none"),
  header: fc.option(
    fc.tuple(
      fc.constantFrom("if-match", "if-none-match", "x-tenant-id", "x-request-id", "x-forwarded-for", "origin"),
      fc.string({ maxLength: 20 }),
    ),
  ),
});

test("H23: no random request returns a 5xx, a stack or SQL text, and every response matches the OpenAPI file", async () => {
  const { id } = await api.tenant();
  const owner = await api.user(id, "owner");
  const tokens: Record<string, string | undefined> = {
    super_admin: api.admin("super_admin"),
    read_only: api.admin("read_only"),
    owner,
    none: undefined,
  };
  // The run must not delete the tenant or change the caller's rights.
  const routes = api.routes.filter(({ operationId }) =>
    operationId !== "deleteTenant" && operationId !== "deleteAdmin" && operationId !== "updateAdmin"
  );
  const run = fc.asyncProperty(request, async ({ route: pick, segment, query, change, raw, caller, header }) => {
    const route = routes[pick % routes.length];
    if (!route) return;
    const path = pathOf(route, { tenantId: id }).replace(/\?.*/, "");
    const at = segment === null
      ? path
      : path.replace(/[^/]+$/, () => encodeURIComponent(segment.toWellFormed?.() ?? segment.replaceAll(/[\ud800-\udfff]/g, "x")) || "x");
    const search = new URLSearchParams(query).toString();
    const sent = {
      token: tokens[caller],
      headers: { ...(header && isHeader(header[1]) ? { [header[0]]: header[1] } : {}), "content-type": "application/json" },
      ...(route.method === "GET" || route.method === "DELETE" ? {} : { raw: raw ?? JSON.stringify(mutated(bodyOf(route) ?? {}, change)) }),
    };
    const answer = await api.send(route.method, search ? `${at}?${search}` : at, sent);
    expect(answer.status, `${route.method} ${at} ${search} ${answer.text}`).toBeLessThan(500);
    expect(answer.text).not.toMatch(/\bat .+\.ts:\d+|node_modules|kv_[a-z]+\(|SQLSTATE|select \* from/);
  });
  await fc.assert(run, { seed, numRuns: REQUESTS, endOnFailure: true });
});

function mutated(body: Record<string, unknown>, change: { keep: number; extra: Record<string, unknown>; value: unknown } | null): unknown {
  if (!change) return body;
  const members = Object.entries(body).map(([name, good], i, all) => [name, (i + 1) / all.length <= change.keep ? good : change.value]);
  return { ...Object.fromEntries(members), ...change.extra };
}

/** The characters that a header may contain. Clients do not send others. */
function isHeader(text: string): boolean {
  return /^[\x21-\x7e]([\x20-\x7e]*[\x21-\x7e])?$/.test(text);
}
