import pg from "pg";
import { afterAll, beforeAll, expect, test } from "vitest";
import { SQL_FUNCTIONS } from "../../shared/kv/driver.ts";
import type { SqlDriver } from "../../shared/kv/driver.ts";
import { createStore } from "../../shared/kv/sql-store.ts";
import type { Store } from "../../shared/kv/store.ts";
import { freshDatabase } from "../support/postgres.ts";
import type { TestDatabase } from "../support/postgres.ts";
import { testClock } from "../support/store.ts";

const ROWS = 1_000_000;
const TENANTS = 10_000;
const OWN = ROWS / TENANTS;
/** The number of rows of the largest tenant. */
const BIG = 20_000;
const PAGE = 10;
let database: TestDatabase;
let client: pg.Client;
let store: Store;
const notices: string[] = [];

/** 1,000,000 rows of one undeclared family, 100 per tenant and spread over it, and as many counters of ten other tenants. */
const LOAD = `
  set session_replication_role = replica;
  insert into kv.entries (key, value, version, owner, cascades, created_at, updated_at)
  select 'room:' || lpad(i::text, 7, '0'), '{"n": 1}', i, 'tn_' || i % ${TENANTS}, true, now(), now() from generate_series(0, ${
  ROWS - 1
}) i;
  insert into kv.entries (key, value, version, owner, cascades, created_at, updated_at)
  select 'room:big' || lpad(i::text, 7, '0'), '{"n": 1}', i, 'tn_big', true, now(), now() from generate_series(1, ${BIG}) i;
  insert into kv.owners (owner) select 'tn_' || i from generate_series(0, ${TENANTS - 1}) i;
  select setval('kv.versions', ${ROWS + 1});
  reset session_replication_role;`;

beforeAll(async () => {
  database = await freshDatabase();
  client = new pg.Client({ connectionString: database.superUrl });
  client.on("notice", ({ message }) => void notices.push(message ?? ""));
  await client.connect();
  await client.query(LOAD);
  await client.query("vacuum analyze kv.entries");
  await client.query(
    `load 'auto_explain'; set auto_explain.log_min_duration = 0; set auto_explain.log_nested_statements = on; set auto_explain.log_analyze = on;
    set auto_explain.log_timing = off; set auto_explain.log_format = json; set client_min_messages = log`,
  );
  const call: SqlDriver["call"] = async (name, args) => {
    const parameters = Object.entries(SQL_FUNCTIONS[name]);
    const text = `select public.${name}(${parameters.map(([, type], i) => `$${i + 1}::${type}`).join(", ")}) as value`;
    const values = parameters.map(([parameter, type]) => (type === "jsonb" ? JSON.stringify(args[parameter]) : args[parameter]));
    return (await client.query<{ value: unknown }>({ name, text, values })).rows[0]?.value;
  };
  store = createStore({ call, ping: () => call("kv_ping", {}), close: () => Promise.resolve() }, { clock: testClock() });
}, 240_000);

afterAll(async () => {
  await client.end();
  await database.drop();
});

interface PlanNode {
  readonly "Node Type": string;
  readonly "Relation Name"?: string;
  readonly "Index Name"?: string;
  readonly "Actual Rows": number;
  readonly "Actual Loops": number;
  readonly "Rows Removed by Filter"?: number;
  readonly "Rows Removed by Index Recheck"?: number;
  readonly Plans?: readonly PlanNode[];
}

const flatten = (node: PlanNode): PlanNode[] => [node, ...(node.Plans ?? []).flatMap(flatten)];

/** The rows of kv.entries that the statements of a call read, including those that filters removed, and the kinds of scans. */
async function reads(call: () => Promise<unknown>): Promise<{ readonly rows: number; readonly sequential: readonly string[] }> {
  notices.length = 0;
  await call();
  const scans = notices.filter((notice) => notice.includes("plan:")).map((notice) =>
    JSON.parse(notice.slice(notice.indexOf("{"))) as { Plan: PlanNode }
  ).flatMap(({ Plan }) => flatten(Plan)).filter((node) =>
    /Scan/.test(node["Node Type"]) && (node["Relation Name"] ?? node["Index Name"])?.startsWith("entries") && node["Actual Loops"] > 0
  );
  expect(scans.length).toBeGreaterThan(0);
  return {
    rows: scans.reduce(
      (sum, node) =>
        sum +
        (node["Actual Rows"] + (node["Rows Removed by Filter"] ?? 0) + (node["Rows Removed by Index Recheck"] ?? 0)) * node["Actual Loops"],
      0,
    ),
    // The only scan of an empty partition.
    sequential: scans.filter((node) => node["Node Type"] === "Seq Scan" && node["Actual Rows"] + (node["Rows Removed by Filter"] ?? 0) > 0)
      .map((node) => node["Relation Name"] ?? ""),
  };
}

const own = () => store.forTenant("tn_42");
const big = () => store.forTenant("tn_big");
const cursorOf = async (reverse: boolean) => (await own().list({ prefix: "room", limit: 50, reverse })).cursor ?? "";

const CALLS: readonly (readonly [string, number, () => Promise<unknown>])[] = [
  ["a list of 10", 2 * PAGE, () => own().list({ prefix: "room", limit: PAGE })],
  ["a list of 10 in reverse", 2 * PAGE, () => own().list({ prefix: "room", limit: PAGE, reverse: true })],
  ["a list of 10 keys", 2 * PAGE, () => own().list({ prefix: "room", limit: PAGE, keysOnly: true })],
  ["a list of 10 without a prefix", 2 * PAGE, () => own().list({ prefix: "", limit: PAGE })],
  ["a list of 10 from a key in the middle", 2 * PAGE, () => own().list({ prefix: "room", start: "room:0500000", limit: PAGE })],
  ["a list of 10 of a tenant with 20,000", 2 * PAGE, () => big().list({ prefix: "room", limit: PAGE })],
  ["a list of its last 10", 2 * PAGE, () => big().list({ prefix: "room", limit: PAGE, reverse: true })],
  ["a list of 10 without a prefix", 2 * PAGE, () => big().list({ prefix: "", limit: PAGE })],
  ["a list of a tenant without rows", 0, () => store.forTenant("tn_nobody").list({ prefix: "room", limit: PAGE })],
  ["a count", OWN + PAGE, () => own().count("room")],
  ["a count without a prefix", OWN + PAGE, () => own().count("")],
  ["a get", 2, () => own().get("room:0000042")],
  ["an mget of another tenant's rows", 20, () => own().mget(Array.from({ length: 10 }, (_, i) => `room:000000${i}`))],
  ["a prefix deletion of one of its rows", 2, () => own().commit([], [{ op: "deletePrefix", prefix: "room:0000042" }])],
];

test.each(CALLS)(
  "K17: among 1,000,000 rows of 10,000 tenants, %s reads at most %i rows, in a custom and in a generic plan",
  async (_, most, call) => {
    for (let run = 0; run < 7; run++) {
      const { rows, sequential } = await reads(call);
      expect(sequential).toEqual([]);
      expect(rows).toBeLessThanOrEqual(most);
    }
  },
);

test("K17: a page after a cursor reads no more rows than the first one, in both directions", async () => {
  for (const reverse of [false, true]) {
    const cursor = await cursorOf(reverse);
    const { rows, sequential } = await reads(() => own().list({ prefix: "room", limit: 50, reverse, cursor }));
    expect(sequential).toEqual([]);
    expect(rows).toBeLessThanOrEqual(2 * 50);
  }
});

test("K17: a tenant lists and counts only its own hundred rows", async () => {
  expect(await own().count("room")).toBe(OWN);
  const keys = (await own().list({ prefix: "room", limit: 500, keysOnly: true })).entries.map((entry) => entry.key);
  expect(keys).toEqual(Array.from({ length: OWN }, (_, i) => `room:${String(i * TENANTS + 42).padStart(7, "0")}`));
});

test("R01: the cascade of a tenant reads only its rows", async () => {
  for (const id of ["tn_77", "tn_78", "tn_79"]) {
    const { rows, sequential } = await reads(() => store.commit([], [{ op: "deleteOwner", tenantId: id }]));
    expect(sequential).toEqual([]);
    // Each row is found and deleted.
    expect(rows).toBeLessThanOrEqual(2 * OWN);
    expect(await store.forTenant(id).count("")).toBe(0);
  }
});
