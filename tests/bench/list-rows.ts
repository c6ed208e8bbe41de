import { tenant } from "../../shared/entities/tenant.ts";
import type { Store } from "../../shared/kv/store.ts";
import type { Habit } from "./habit.ts";
import { interleave, ratio } from "./measure.ts";
import type { Contender, Load, Measured } from "./measure.ts";
import { rate } from "./report.ts";
import type { Row } from "./report.ts";

type Record_ = Readonly<Record<string, unknown>>;
export interface Stores {
  /** 100,000 tenants, 1,000,000 entries. */
  readonly large: Store;
  /** 1,000 tenants, 10,000 entries. */
  readonly small: Store;
  /** 1,000,000 tenants. */
  readonly million: Store;
}

/** Lists, pages, counts and deletes: what the habit does by loading a prefix. */
export async function listRows({ large, small, million }: Stores, habit: Habit, report: (row: Row) => void): Promise<void> {
  const against = async (
    operation: string,
    target: number,
    run: () => Promise<unknown>,
    old: () => Promise<unknown>,
    operations = { store: 200, habit: 2 },
  ) => {
    const of = named(await interleave([{ name: "store", run }, { name: "habit", run: old }], { callers: 1, operations, rounds: 5 }));
    report({
      operation,
      callers: 1,
      store: rate(of("store")),
      other: `habit ${rate(of("habit"))}`,
      ratio: ratio(of("store"), of("habit")),
      target,
    });
  };
  const flat = async (operation: string, few: () => Promise<unknown>, many: () => Promise<unknown>) => {
    const of = named(
      await interleave([{ name: "few", run: few }, { name: "many", run: many }], { callers: 1, operations: 300, rounds: 7 }),
    );
    report({
      operation,
      callers: 1,
      store: rate(of("many")),
      other: rate(of("few")),
      ratio: ratio(of("few"), of("many")),
      target: 1.3,
      atMost: true,
    });
  };

  await against(
    "list of 100 under a prefix at 1,000,000 entries",
    100,
    () => large.list({ prefix: "usage:tn_0050000", limit: 100 }),
    () => habit.getByPrefix("usage:tn_0050000", 100),
  );
  await flat(
    "list of 100: 1,000,000 entries against 10,000",
    () => small.list({ prefix: "tenant", limit: 100 }),
    () => large.list({ prefix: "tenant", limit: 100 }),
  );

  const newest = { entity: tenant, orderBy: [{ field: "createdAt", direction: "desc" }], limit: 20 } as const;
  const cursorAt = async (store: Store, depth: number) => (await store.query({ ...newest, limit: 1, offset: depth })).cursor ?? "";
  const [deep, shallow] = [await cursorAt(large, 90_000), await cursorAt(large, 20)];
  await against(
    "page of 20 at depth 90,000 of 100,000",
    1_000,
    () => large.query({ ...newest, cursor: deep }),
    async () => (await habit.getByPrefix("tenant:")).sort(by("createdAt")).slice(90_000, 90_020),
  );
  await flat(
    "page of 20: depth 90,000 against depth 20",
    () => large.query({ ...newest, cursor: shallow }),
    () => large.query({ ...newest, cursor: deep }),
  );

  const filtered = {
    entity: tenant,
    where: [{ field: "status", in: ["active"] }, { field: "plan", in: ["Pro"] }],
    orderBy: [{ field: "mrr", direction: "desc" }],
    limit: 20,
  } as const;
  await against(
    "filtered and sorted page of 20 at 100,000 tenants",
    1_500,
    () => large.query(filtered),
    async () =>
      (await habit.getByPrefix("tenant:")).filter((t) => t["status"] === "active" && t["plan"] === "Pro").sort(by("mrr")).slice(0, 20),
  );
  await flat("filtered and sorted page: 1,000,000 tenants against 100,000", () => large.query(filtered), () => million.query(filtered));

  await against(
    "counts by status and plan, and MRR, at 100,000 tenants",
    3_000,
    () => large.aggregate({ entity: tenant, groupBy: ["status", "plan"], sum: "mrr" }),
    async () => summarize(await habit.getByPrefix("tenant:")),
  );
  await deletes(large, habit, report);
}

function named(measured: readonly Measured[]) {
  return (name: string) => measured.find((m) => m.name === name);
}

function by(field: string) {
  return (a: Record_, b: Record_) => a[field] === b[field] ? 0 : String(a[field]) < String(b[field]) ? 1 : -1;
}

function summarize(tenants: readonly Record_[]): Map<string, number> {
  const counts = new Map<string, number>();
  for (const t of tenants) {
    const group = `${t["status"]} ${t["plan"]}`;
    counts.set(group, (counts.get(group) ?? 0) + 1);
    counts.set("mrr", (counts.get("mrr") ?? 0) + Number(t["mrr"]));
  }
  return counts;
}

const KINDS = Array.from({ length: 50 }, (_, kind) => `kind${kind}`);

async function deletes(store: Store, habit: Habit, report: (row: Row) => void): Promise<void> {
  const once: Load = { callers: 1, operations: 1, rounds: 5 };
  const prefix = "bulk:d";
  const rows = (key: (i: number) => string, count: number) =>
    Array.from({ length: count }, (_, i) => [key(i), { i, text: "x".repeat(100) }] as const);
  const fill = async (pairs: (readonly [string, { i: number; text: string }])[], owner?: string) => {
    for (let at = 0; at < pairs.length; at += 1_000) {
      await store.mset(pairs.slice(at, at + 1_000), owner ? { owner } : {});
      await habit.msetInOneStatement(pairs.slice(at, at + 1_000));
    }
  };
  const prefixed = await interleave([
    {
      name: "store",
      prepare: () => fill(rows((i) => `${prefix}:${i}`, 10_000)),
      run: () => store.commit([], [{ op: "deletePrefix", prefix }]),
    },
    { name: "habit", run: () => habit.deletePrefix(`${prefix}:`) },
  ], once);
  const of = named(prefixed);
  report({
    operation: "delete a prefix of 10,000",
    callers: 1,
    store: rate(of("store")),
    other: `habit ${rate(of("habit"))}`,
    ratio: ratio(of("store"), of("habit")),
    target: 10,
  });

  let round = 0;
  const tenantId = () => `tn_bench${round}`;
  const cascade: Contender[] = [
    {
      name: "store",
      prepare: () => {
        round++;
        return fill(rows((i) => `${KINDS[i % 50]}:${tenantId()}:${i}`, 5_000), tenantId());
      },
      run: () => store.commit([], [{ op: "deleteOwner", owner: tenantId() }]),
    },
    {
      name: "habit",
      run: async () => {
        for (const kind of KINDS) await habit.deletePrefix(`${kind}:${tenantId()}:`);
      },
    },
  ];
  const gone = named(await interleave(cascade, once));
  report({
    operation: "cascade of a tenant with 5,000 rows of 50 kinds",
    callers: 1,
    store: rate(gone("store")),
    other: `habit ${rate(gone("habit"))}`,
    ratio: ratio(gone("store"), gone("habit")),
    target: 150,
  });
}
