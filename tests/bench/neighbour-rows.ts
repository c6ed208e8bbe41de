import { InnkeepError } from "../../shared/kernel/errors.ts";
import type { Store } from "../../shared/kv/store.ts";
import { byName, interleave, ratio } from "./measure.ts";
import { rate } from "./report.ts";
import type { Row } from "./report.ts";

const CALLS = 200;
const REFUSED = 100;

/** 200 tenants increment concurrently. In one contender, one increment is out of its bounds. */
export async function neighbourRows(store: Store, report: (row: Row) => void): Promise<void> {
  const key = (tenant: number) => `usage:tn_${String(tenant).padStart(7, "0")}:bookings:2027-04`;
  const increment = async (tenant: number, max: number) => {
    const options = { initial: { value: { current: 0 } } };
    return await store.forTenant(`tn_${String(tenant).padStart(7, "0")}`).increment(
      key(tenant),
      [{ path: ["current"], by: 1, max }],
      options,
    );
  };
  const all = async (max: number) => {
    const results = await Promise.allSettled(Array.from({ length: CALLS }, (_, t) => increment(t, t === REFUSED ? max : 1e9)));
    const failed = results.flatMap((result, t) => result.status === "rejected" ? [{ t, reason: result.reason as unknown }] : []);
    const expected = max < 0 ? 1 : 0;
    if (failed.length !== expected || failed.some(({ t, reason }) => t !== REFUSED || !(reason instanceof InnkeepError))) {
      throw new Error(`${failed.length} of ${CALLS} calls failed, expected ${expected}`, { cause: failed[0]?.reason });
    }
  };
  const of = byName(
    await interleave([
      { name: "without", run: () => all(1e9) },
      { name: "with", run: () => all(-1) },
    ], { callers: 1, operations: 60, rounds: 9 }),
  );
  report({
    operation: "200 increments of as many tenants, one refused",
    callers: CALLS,
    store: rate(of("with")),
    against: "none refused",
    other: rate(of("without")),
    ratio: ratio(of("without"), of("with")),
    target: 1.3,
    atMost: true,
  });
}
