import { afterAll, beforeAll, expect, test } from "vitest";
import { ConnectionFault, SqlError, TimeoutFault } from "../../shared/kv/driver.ts";
import type { SqlDriver } from "../../shared/kv/driver.ts";
import { postgresDriver } from "../../shared/kv/drivers/postgres.ts";
import { MAX_ATTEMPTS } from "../../shared/kv/faults.ts";
import { createStore } from "../../shared/kv/sql-store.ts";
import type { Store } from "../../shared/kv/store.ts";
import { freshDatabase } from "../support/postgres.ts";
import type { TestDatabase } from "../support/postgres.ts";
import { codeOf, testClock } from "../support/store.ts";

let database: TestDatabase;
let real: SqlDriver;

beforeAll(async () => {
  database = await freshDatabase();
  real = postgresDriver({ connectionString: database.appUrl, max: 2 });
});

afterAll(async () => {
  await real.close();
  await database.drop();
});

/** The real driver, whose first calls fail as under contention. */
function failing(times: number, error: Error, timeoutMs = 15_000): { readonly store: Store; readonly calls: () => number } {
  let calls = 0;
  const or = async <T>(call: () => Promise<T>): Promise<T> => {
    if (++calls <= times) throw error;
    return await call();
  };
  const driver: SqlDriver = {
    timeoutMs,
    call: (...call) => or(() => real.call(...call)),
    ping: (...call) => or(() => real.ping(...call)),
    close: () => Promise.resolve(),
  };
  return { store: createStore(driver, { clock: testClock() }), calls: () => calls };
}

const WRITES: readonly (readonly [string, (store: Store) => Promise<unknown>])[] = [
  ["commit", (store) => store.commit([{ key: "retry:none", version: null }], [{ op: "set", key: "retry:a", value: 1 }])],
  ["set", (store) => store.set("retry:b", 1)],
  [
    "a tenant's increment",
    (store) => store.forTenant("tn_retry").increment("retry:c", [{ path: ["n"], by: 1 }], { initial: { value: {} } }),
  ],
];

test.each(WRITES)("K31: %s is repeated after serialization failures and deadlocks, and succeeds", async (_, write) => {
  for (const state of ["40001", "40P01"]) {
    const { store, calls } = failing(3, new SqlError(state, "lost to another"));
    expect(await codeOf(write(store))).toMatch(/^no error/);
    expect(calls()).toBe(4);
  }
});

test.each(WRITES)(
  "K31: %s that fails with serialization failures is write_conflict after a bounded number of attempts",
  async (_, write) => {
    const { store, calls } = failing(1_000, new SqlError("40001", "lost to another"));
    expect(await codeOf(write(store))).toBe("write_conflict");
    expect(calls()).toBeLessThanOrEqual(MAX_ATTEMPTS);
  },
);

test.each(WRITES)("K31: %s is not repeated if it may have been committed, nor after any other error", async (_, write) => {
  for (
    const [error, code] of [
      [new TimeoutFault(true, 15_000), "commit_unknown"],
      [new TimeoutFault(false, 15_000), "store_unavailable"],
      [new ConnectionFault(true, "lost"), "commit_unknown"],
      [new ConnectionFault(false, "refused"), "store_unavailable"],
      [new SqlError("57P01", "terminated"), "store_unavailable"],
      [new SqlError("53300", "too many connections"), "store_unavailable"],
      [new SqlError("XX000", "internal"), "internal"],
    ] as const
  ) {
    const { store, calls } = failing(1, error);
    expect(await codeOf(write(store))).toBe(code);
    expect(calls()).toBe(1);
  }
});

test("K31: a read is repeated once after a lost connection", async () => {
  const once = failing(1, new ConnectionFault(true, "lost"));
  expect(await codeOf(once.store.get("retry:none"))).toBe("no error, but null");
  const always = failing(1_000, new ConnectionFault(true, "lost"));
  expect(await codeOf(always.store.get("retry:none"))).toBe("store_unavailable");
  expect(always.calls()).toBe(2);
});

test.each(["57P01", "57P02", "57P03"])("K31: a read that the server ended with %s is repeated once", async (sqlState) => {
  const { store, calls } = failing(1, new SqlError(sqlState, "terminating connection"));
  expect(await codeOf(store.get("retry:none"))).toBe("no error, but null");
  expect(calls()).toBe(2);
});

test("K31: a read that timed out is not repeated", async () => {
  for (const sent of [true, false]) {
    for (const read of [(store: Store) => store.get("retry:none"), (store: Store) => store.count("retry")]) {
      const { store, calls } = failing(1, new TimeoutFault(sent, 15_000));
      expect(await codeOf(read(store))).toBe("store_unavailable");
      expect(calls()).toBe(1);
    }
  }
});

test.each(WRITES)("K31: %s that fails with serialization failures is not repeated after its deadline", async (_, write) => {
  const { store, calls } = failing(1_000, new SqlError("40001", "lost to another"), 5);
  expect(await codeOf(write(store))).toMatch(/write_conflict|commit_unknown/);
  expect(calls()).toBeLessThan(MAX_ATTEMPTS);
});

test("K31: an error never contains the database's own message", async () => {
  const { store } = failing(1, new SqlError("XX000", "secret detail of a row", "Key (key)=(tenant:secret)"));
  const error: unknown = await store.get("retry:none").catch((reason: unknown) => reason);
  expect(String(error)).not.toMatch(/secret/);
});
