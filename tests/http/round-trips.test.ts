import { afterAll, beforeAll, expect, test } from "vitest";
import { type Api, createApi } from "../../functions/api/app.ts";
import { createTokenVerifier } from "../../shared/adapters/token-verifier.ts";
import { createBackend } from "../../shared/container.ts";
import { silentLogger } from "../../shared/kernel/logger.ts";
import type { SqlDriver } from "../../shared/kv/driver.ts";
import { postgresDriver } from "../../shared/kv/drivers/postgres.ts";
import { createStore } from "../../shared/kv/sql-store.ts";
import { read } from "../architecture/sources.ts";
import { KEYS } from "../support/test-context.ts";
import { useApi } from "./support/api.ts";
import { bodyOf, pathOf, prepare } from "./support/samples.ts";
import { ROUND_TRIPS, roundTripsSection } from "./support/round-trips.ts";
import { AUDIENCE, ISSUER } from "./support/tokens.ts";

const api = useApi();

/** The calls of the database, with start and end. */
let calls: { readonly from: number; readonly to: number }[] = [];
let driver: SqlDriver;
let app: Api;

beforeAll(() => {
  const real = postgresDriver({ connectionString: api.open.database.appUrl, max: 8 });
  driver = {
    ...real,
    call: async (...call) => {
      const from = performance.now();
      try {
        // Slow enough that concurrent calls overlap.
        await new Promise((resolve) => setTimeout(resolve, 5));
        return await real.call(...call);
      } finally {
        calls.push({ from, to: performance.now() });
      }
    },
  };
  const verifier = createTokenVerifier({ issuer: ISSUER, audience: AUDIENCE, jwks: api.signer.jwks, clock: api.clock, fetch });
  const store = createStore(driver, { clock: api.clock });
  const hosts = { baseDomain: "innkeep.example", apiHosts: [] };
  const backend = createBackend({ store, clock: api.clock, logger: silentLogger, hosts, ...KEYS });
  app = createApi({ logger: silentLogger, corsOrigins: [] }, () => ({ backend, verifier }));
});
afterAll(() => driver.close());

/** The largest number of calls of which each began after the previous one had ended. */
function roundTrips(): number {
  let trips = 0;
  let end = -Infinity;
  for (const { from, to } of calls.toSorted((a, b) => a.to - b.to)) {
    if (from < end) continue;
    trips += 1;
    end = to;
  }
  return trips;
}

async function measured(method: string, path: string, token: string, json?: unknown): Promise<number> {
  calls = [];
  const response = await app.fetch(
    new Request(`http://localhost${path}`, {
      method,
      headers: { authorization: `Bearer ${token}`, ...(json === undefined ? {} : { "content-type": "application/json" }) },
      ...(json === undefined ? {} : { body: JSON.stringify(json) }),
    }),
  );
  expect(response.status, `${method} ${path}: ${await response.text()}`).toBeLessThan(300);
  return roundTrips();
}

test("O11: every route takes the number of round trips in docs/performance.md", async () => {
  const rows: [string, number][] = [];
  const wrong: string[] = [];
  for (const route of api.routes.filter(({ scope }) => scope !== "public")) {
    const token = api.admin("super_admin");
    const run = async (ids: Readonly<Record<string, string>>) =>
      await measured(route.method, pathOf(route, ids), token, bodyOf(route, ids));
    const first = await prepare(api, route);
    await run(first); // The first call loads the feature, and fills what the process remembers.
    // What a route evaluates is not new to the process as a rule.
    const trips = await run(route.sample?.memberOf ? first : await prepare(api, route));
    const place = `${route.method} ${route.path}`;
    rows.push([place, trips]);
    const isNamed = (route.loads ?? []).length > 0;
    const usual = route.method !== "GET" ? 3 : isNamed ? 1 : 2;
    if (trips > usual && ROUND_TRIPS.find(([known]) => known === place)?.[2] === undefined) wrong.push(`${place}: ${trips} of ${usual}`);
  }
  expect(wrong).toEqual([]);
  expect(rows).toEqual(ROUND_TRIPS.map(([place, trips]) => [place, trips]));
  expect(read("docs/performance.md")).toContain(roundTripsSection());
}, 180_000);

test("O11: a tenant's user reads a record in one round trip, including the lookup of the user and the tenant", async () => {
  const { id } = await api.tenant();
  const token = await api.user(id, "owner");
  for (const path of [`/v1/tenants/${id}`, `/v1/tenants/${id}/subscription`]) {
    await measured("GET", path, token);
    expect(await measured("GET", path, token), path).toBe(1);
  }
});
