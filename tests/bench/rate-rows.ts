import { createSigningKey, signToken } from "../../functions/local/tokens.ts";
import { admin as adminUser } from "../../shared/features/admins/entity.ts";
import type { JsonObject } from "../../shared/kernel/json.ts";
import type { Store } from "../../shared/kv/store.ts";
import { freePort } from "../support/cluster.ts";
import { environment, start } from "./http-rows.ts";
import { byName, interleave, ratio } from "./measure.ts";
import { rate } from "./report.ts";
import type { Row } from "./report.ts";

const CALLERS = 500;
const tenantId = (i: number) => `tn_${String(i % 1_000).padStart(7, "0")}`;

/** What a rate limit adds to a request: the same API under Deno twice, with limits that nobody reaches and without. */
export async function rateRows(store: Store, databaseUrl: string, report: (row: Row) => void): Promise<void> {
  const key = await createSigningKey();
  const url = "http://127.0.0.1";
  const users = Array.from({ length: CALLERS }, (_, i) => `bench-admin-${i}`);
  await store.mset(users.map((userId) => [`admin:${userId}`, { ...adminUser.example, userId } as JsonObject]));
  const tokens = await Promise.all(users.map((userId) => (
    signToken(key, url, { userId, email: `${userId}@innkeep.example`, appMetadata: {}, expiresInSeconds: 3_600 })
  )));
  const [limitedPort, freeOfLimitsPort] = [await freePort(), await freePort()];
  const base = environment(key, url, databaseUrl);
  const apis = await Promise.all([
    start(limitedPort, { ...base, INNKEEP_RATE_LIMITS: "on", INNKEEP_RATE_LIMIT_USER: "9999999/3600" }),
    start(freeOfLimitsPort, { ...base, INNKEEP_RATE_LIMITS: "off" }),
  ]);
  try {
    for (
      const [operation, callers, tokenOf] of [
        ["HTTP GET /v1/tenants/:id with a rate limit, one caller at a time", 1, () => tokens[0]],
        ["HTTP GET /v1/tenants/:id with a rate limit, requests of one caller", 64, () => tokens[0]],
        [`HTTP GET /v1/tenants/:id with a rate limit, requests of ${CALLERS} callers`, 64, (i: number) => tokens[i % CALLERS]],
      ] as const
    ) {
      const ask = (port: number) => async (i: number) => {
        const answer = await fetch(`${url}:${port}/v1/tenants/${tenantId(i)}`, { headers: { authorization: `Bearer ${tokenOf(i)}` } });
        await answer.arrayBuffer();
        if (answer.status !== 200 || answer.headers.has("ratelimit") !== (port === limitedPort)) throw new Error(`status ${answer.status}`);
      };
      const contenders = [{ name: "limited", run: ask(limitedPort) }, { name: "free", run: ask(freeOfLimitsPort) }];
      const of = byName(await interleave(contenders, { callers, operations: callers === 1 ? 400 : 4_000, rounds: 9 }));
      const other = { against: "INNKEEP_RATE_LIMITS=off", other: rate(of("free")), ratio: ratio(of("limited"), of("free")) };
      report({ operation, callers, store: rate(of("limited")), ...other, target: 0.9 });
    }
  } finally {
    await Promise.all(apis.map((api) => api.stop()));
  }
}
