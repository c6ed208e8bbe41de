import { createServer } from "node:net";
import type { AddressInfo } from "node:net";
import { setTimeout as sleep } from "node:timers/promises";
import { afterAll, beforeAll, expect, test } from "vitest";
import { postgresDriver } from "../../shared/kv/drivers/postgres.ts";
import { supabaseDriver } from "../../shared/kv/drivers/supabase.ts";
import { createStore } from "../../shared/kv/sql-store.ts";
import type { Store } from "../../shared/kv/store.ts";
import { freshDatabase } from "../support/postgres.ts";
import type { TestDatabase } from "../support/postgres.ts";
import { API_KEYS, startPostgrest } from "../support/postgrest.ts";
import { codeOf, testClock } from "../support/store.ts";
import type { DriverName } from "../support/store.ts";
import { startTcpProxy } from "../support/tcp-proxy.ts";
import type { TcpProxy } from "../support/tcp-proxy.ts";

const clock = testClock();
const TIMEOUT_MS = 1_500;
let database: TestDatabase;

beforeAll(async () => {
  database = await freshDatabase();
});

afterAll(() => database.drop());

interface Wired {
  readonly store: Store;
  readonly proxy: TcpProxy;
  close(): Promise<void>;
}

const OPEN: Readonly<Record<DriverName, (connections: number) => Promise<Wired>>> = {
  postgres: async (max) => {
    const proxy = await startTcpProxy(database.appUrl);
    const store = createStore(postgresDriver({ connectionString: proxy.url, max, timeoutMs: TIMEOUT_MS }), { clock });
    return {
      store,
      proxy,
      close: async () => {
        await store.close();
        await proxy.close();
      },
    };
  },
  supabase: async () => {
    const bridge = await startPostgrest({ databaseUrl: database.authenticatorUrl });
    const proxy = await startTcpProxy(bridge.url);
    const url = new URL(proxy.url).origin;
    const store = createStore(supabaseDriver({ url, serviceKey: API_KEYS.serviceKey, timeoutMs: TIMEOUT_MS }), { clock });
    return {
      store,
      proxy,
      close: async () => {
        await store.close();
        await proxy.close();
        await bridge.close();
      },
    };
  },
};

const DRIVERS: readonly DriverName[] = ["postgres", "supabase"];

test.each(DRIVERS)(
  "K31: %s: while one connection does not respond, calls on others continue, and batched writes after its deadline",
  async (driver) => {
    const { store, proxy, close } = await OPEN[driver](4);
    const key = (name: string) => `silent:${driver}-${name}`;
    await store.get("warm:up");
    const silenced = proxy.silenceNextRequest();
    const stuck = codeOf(store.set(key("stuck"), 1));
    await silenced;
    const meanwhile = [
      () => store.ping(),
      () => store.get(key("none")),
      () => store.list({ prefix: "silent" }),
      () => store.count("silent"),
      () => store.commit([{ key: key("commit"), version: null }], [{ op: "set", key: key("commit"), value: 1 }]),
      () => store.forTenant("tn_silent").set(key("own"), 1),
      () => store.forTenant("tn_silent").get(key("own")),
    ];
    const start = performance.now();
    for (const call of meanwhile) expect(await codeOf(call)).toMatch(/^no error/);
    expect(performance.now() - start).toBeLessThan(TIMEOUT_MS);
    await sleep(500);
    const behind = codeOf(store.set(key("behind"), 2));
    expect(await stuck).toBe("commit_unknown");
    expect(await behind).toMatch(/^no error/);
    const values = await store.mget([key("stuck"), key("behind"), key("commit"), key("own")]);
    expect(values.map((entry) => entry?.value)).toEqual([undefined, 2, 1, 1]);
    await close();
  },
);

test.each(DRIVERS)(
  "K31: %s: a read on a connection that does not respond is store_unavailable at its deadline, and is not repeated",
  async (driver) => {
    const { store, proxy, close } = await OPEN[driver](4);
    await store.get("warm:up");
    for (const read of [() => store.get("silent:read"), () => store.count("silent")]) {
      void proxy.silenceNextRequest();
      const start = performance.now();
      const error: unknown = await read().catch((reason: unknown) => reason);
      expect(error).toMatchObject({ code: "store_unavailable", message: `The database did not respond within ${TIMEOUT_MS} ms.` });
      expect(performance.now() - start).toBeLessThan(TIMEOUT_MS * 2);
      expect(await codeOf(read)).toMatch(/^no error/);
    }
    await close();
  },
);

test.each(DRIVERS)(
  "H10: %s: a charge on a connection that does not respond ends at its deadline and is not repeated, and others continue meanwhile",
  async (driver) => {
    const { store, proxy, close } = await OPEN[driver](4);
    const take = (name: string) => store.take({ key: `ratelimit:${driver}-${name}`, capacity: 10, windowSeconds: 10_000_000, cost: 1 });
    await take("warm");
    const silenced = proxy.silenceNextRequest();
    const start = performance.now();
    const stuck = codeOf(take("stuck"));
    await silenced;
    expect(await take("beside")).toMatchObject({ granted: true, tokens: 9 });
    expect(performance.now() - start).toBeLessThan(TIMEOUT_MS);
    expect(await stuck).toBe("store_unavailable");
    expect(performance.now() - start).toBeLessThan(TIMEOUT_MS * 2);
    expect(await take("stuck")).toMatchObject({ granted: true, tokens: 9 });
    await close();
  },
);

test("K31: postgres: in a pool of one, a connection that does not respond is replaced as soon as its call ends", async () => {
  const { store, proxy, close } = await OPEN.postgres(1);
  await store.get("warm:up");
  void proxy.silenceNextRequest();
  const write = { op: "set", key: "silent:only", value: 1 } as const;
  const stuck = codeOf(store.commit([], [write]));
  await sleep(300);
  const behind = codeOf(store.commit([{ key: write.key, version: null }], [write]));
  expect(await codeOf(store.ping())).toMatch(/^no error/);
  expect(await stuck).toBe("commit_unknown");
  expect(await behind).toMatch(/^no error/);
  await close();
});

test("K31: postgres: if the server does not respond to a new connection, each call ends by its deadline", async () => {
  const { store, proxy, close } = await OPEN.postgres(1);
  void proxy.silenceNextRequest();
  const write = { op: "set", key: "silent:opening", value: 1 } as const;
  expect(await codeOf(store.commit([], [write]))).toBe("store_unavailable");
  expect(await codeOf(store.commit([{ key: write.key, version: null }], [write]))).toMatch(/^no error/);
  await close();
});

/** The parameters of the startup packet, which are pairs of text after a length and a version. */
async function startupParameters(prepare: boolean): Promise<Record<string, string>> {
  let received: (packet: Buffer) => void = () => undefined;
  const first = new Promise<Buffer>((resolve) => (received = resolve));
  const server = createServer((socket) => {
    socket.on("error", () => undefined);
    socket.once("data", (packet) => {
      received(packet);
      socket.destroy();
    });
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const { port } = server.address() as AddressInfo;
  const driver = postgresDriver({ connectionString: `postgres://who@127.0.0.1:${port}/where`, timeoutMs: TIMEOUT_MS, prepare });
  await driver.call("kv_ping", {}).catch(() => undefined);
  const texts = (await first).subarray(8).toString().split("\0");
  await driver.close();
  await new Promise((resolve) => server.close(resolve));
  const names = texts.flatMap((name, i) => (i % 2 === 0 && name ? [[name, texts[i + 1] ?? ""]] : []));
  return Object.fromEntries(names) as Record<string, string>;
}

test("K31: postgres: a direct connection sets statement_timeout at startup, and one behind a pooler sends no parameter", async () => {
  const plain = { user: "who", database: "where", client_encoding: "UTF8" };
  expect(await startupParameters(true)).toEqual({ ...plain, statement_timeout: String(TIMEOUT_MS) });
  expect(await startupParameters(false)).toEqual(plain);
});
