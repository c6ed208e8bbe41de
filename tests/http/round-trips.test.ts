import { afterAll, beforeAll, expect, test } from "vitest";
import { type Api, createApi } from "../../functions/api/app.ts";
import { createTokenVerifier } from "../../shared/adapters/token-verifier.ts";
import { createBackend } from "../../shared/container.ts";
import { silentLogger } from "../../shared/kernel/logger.ts";
import type { SqlDriver } from "../../shared/kv/driver.ts";
import { postgresDriver } from "../../shared/kv/drivers/postgres.ts";
import { createStore } from "../../shared/kv/sql-store.ts";
import { useApi } from "./support/api.ts";
import { AUDIENCE, ISSUER } from "./support/tokens.ts";

const api = useApi();

/** The same database through a driver that notes how many times the program waits for it. */
let counted: Api;
let driver: SqlDriver;
let roundTrips = 0;
let isAnswered = false;

beforeAll(() => {
  const real = postgresDriver({ connectionString: api.open.database.appUrl, prepare: true, max: 4 });
  driver = {
    ...real,
    call: async (...args) => {
      // Calls that go out before any of them is answered are waited for together.
      if (roundTrips === 0 || isAnswered) roundTrips += 1;
      isAnswered = false;
      try {
        return await real.call(...args);
      } finally {
        isAnswered = true;
      }
    },
    close: () => real.close(),
  };
  const store = createStore(driver, { clock: api.clock });
  const verifier = createTokenVerifier({ issuer: ISSUER, audience: AUDIENCE, jwks: api.signer.jwks, clock: api.clock, fetch });
  counted = createApi({ backend: createBackend({ store, clock: api.clock, logger: silentLogger }), verifier, config: { corsOrigins: [] } });
});
afterAll(() => driver.close());

/** Round trips of a second request: the first loads the feature and opens connections. */
async function tripsOf(method: string, path: (n: number) => string, token: string, json?: (n: number) => object): Promise<number> {
  for (const n of [1, 2]) {
    roundTrips = 0;
    const headers = { authorization: `Bearer ${token}`, ...(json ? { "content-type": "application/json" } : {}) };
    const body = json && JSON.stringify(json(n));
    const { status } = await counted.fetch(new Request(`http://localhost${path(n)}`, { method, headers, ...(body ? { body } : {}) }));
    expect(status, `${method} ${path(n)}`).toBeLessThan(300);
  }
  return roundTrips;
}

test("a record is read in one round trip, by an admin and by a tenant's user, and changed in two", async () => {
  const [one, two] = [await api.tenant(), await api.tenant()];
  const admin = api.admin("super_admin");
  const user = await api.user(one.id, "owner");
  const plan = { price: 100, currency: "USD", interval: "monthly", limits: {} };
  const trips = {
    "GET a plan": await tripsOf("GET", () => "/v1/plans/Pro", admin),
    "GET the tenant's own record": await tripsOf("GET", () => `/v1/tenants/${one.id}`, user),
    "GET a subscription": await tripsOf("GET", () => `/v1/tenants/${one.id}/subscription`, user),
    "GET a list": await tripsOf("GET", () => "/v1/tenants?limit=2", admin),
    "POST a plan": await tripsOf("POST", () => "/v1/plans", admin, (n) => ({ ...plan, name: `Trips-${n}` })),
    "PATCH a plan": await tripsOf("PATCH", () => "/v1/plans/Basic", admin, (n) => ({ description: `d ${n}` })),
    "PATCH a tenant": await tripsOf("PATCH", () => `/v1/tenants/${two.id}`, admin, (n) => ({ name: `Hotel ${n}` })),
    "DELETE a plan": await tripsOf("DELETE", (n) => `/v1/plans/Trips-${n}`, admin),
  };
  expect(trips).toEqual({
    "GET a plan": 1,
    "GET the tenant's own record": 1,
    "GET a subscription": 1,
    "GET a list": 2,
    "POST a plan": 2,
    "PATCH a plan": 2,
    "PATCH a tenant": 2,
    "DELETE a plan": 4,
  });
});
