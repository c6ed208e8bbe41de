import { tenant } from "../../shared/features/tenants/entity.ts";
import type { JsonObject } from "../../shared/kernel/json.ts";
import type { Store } from "../../shared/kv/store.ts";
import type { Habit } from "./habit.ts";
import { withClient } from "../support/client.ts";
import { byName, interleave, ratio } from "./measure.ts";
import type { Contender, Load } from "./measure.ts";
import { rate } from "./report.ts";
import type { Row } from "./report.ts";

type Record_ = Readonly<Record<string, unknown>>;
export interface Stores {
  /** 100,000 tenants, 1,000,000 entries. */
  readonly large: Store;
  /** 1,000 tenants, 10,000 entries and 10,000 rows of the family `domain`, ten a tenant. */
  readonly small: Store;
  /** 1,000,000 tenants, 1,000,000 rows of the family `domain`, ten each of 100,000 tenants. */
  readonly million: Store;
}

export interface Habits {
  /** The rows of `large`. */
  readonly large: Habit;
  /** The `domain` rows of `million`. */
  readonly million: Habit;
}

/** Lists, pages, counts and deletions, which the habit does by loading a prefix. */
export async function listRows(
  { large, small, million }: Stores,
  habits: Habits,
  superUrl: string,
  report: (row: Row) => void,
): Promise<void> {
  const habit = habits.large;
  const against = async (
    operation: string,
    target: number | null,
    run: () => Promise<unknown>,
    old: () => Promise<unknown>,
    { name = "habit", operations = { store: 200, habit: 2 } } = {},
  ) => {
    const of = byName(await interleave([{ name: "store", run }, { name: "habit", run: old }], { callers: 1, operations, rounds: 5 }));
    report({
      operation,
      callers: 1,
      store: rate(of("store")),
      against: name,
      other: rate(of("habit")),
      ratio: ratio(of("store"), of("habit")),
      target,
    });
  };
  const flat = async (operation: string, against: string, few: () => Promise<unknown>, many: () => Promise<unknown>) => {
    const of = byName(
      await interleave([{ name: "few", run: few }, { name: "many", run: many }], { callers: 1, operations: 300, rounds: 7 }),
    );
    report({
      operation,
      callers: 1,
      store: rate(of("many")),
      against,
      other: rate(of("few")),
      ratio: ratio(of("few"), of("many")),
      target: 1.3,
      atMost: true,
    });
  };

  await against(
    "list of 100 under a prefix at 1,000,000 entries",
    100,
    () => large.list({ prefix: "idem:listed", limit: 100 }),
    () => habit.getByPrefix("idem:listed:", 100),
  );
  await flat(
    "list of 100 of 1,000,000 entries",
    "of 10,000 entries",
    () => small.list({ prefix: "tenant", limit: 100 }),
    () => large.list({ prefix: "tenant", limit: 100 }),
  );

  const own = "tn_0000500";
  const ownTen = "tenant-bound list of 10 among 1,000,000 rows of the family";
  const ten = async (store: Store) => {
    const { entries } = await store.forTenant(own).list({ prefix: "domain", limit: 10 });
    if (entries.length !== 10) throw new Error(`${entries.length} of 10 rows listed`);
  };
  await against(
    ownTen,
    1_000,
    () => ten(million),
    async () => (await habits.million.getByPrefix("domain:")).filter((d) => d["tenantId"] === own).slice(0, 10),
    { name: "habit: a scan, filtered in the program", operations: { store: 200, habit: 1 } },
  );
  await against(
    ownTen,
    null,
    () => ten(million),
    () =>
      habits.million.pool.query("select key, value from kv_store where key like 'domain:%' and value->>'tenantId' = $1 limit 10", [own]),
    { name: "a scan, filtered in SQL" },
  );
  await flat(ownTen, "among 10,000 rows", () => ten(small), () => ten(million));

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
    "page of 20 at depth 90,000",
    "at depth 20",
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
  await flat(
    "filtered and sorted page of 20 at 1,000,000 tenants",
    "at 100,000",
    () => large.query(filtered),
    () => million.query(filtered),
  );

  await against(
    "counts by status and plan, and MRR, at 100,000 tenants",
    3_000,
    () => large.aggregate({ entity: tenant, groupBy: ["status", "plan"], sum: "mrr" }),
    async () => summarize(await habit.getByPrefix("tenant:")),
  );
  await recount(large, superUrl);
  await deletes(large, habit, report);
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

/** Compares the rollup with a recount in one snapshot repeatedly while tenants change, and then with the store's result. */
async function recount(store: Store, superUrl: string): Promise<void> {
  await withClient(superUrl, async (client) => {
    let writing = true;
    const compare = async () => {
      while (writing) {
        const { rows } = await client.query(DIFFERENCES);
        if (rows.length > 0) throw new Error(`the rollup differs from a recount: ${JSON.stringify(rows)}`);
      }
    };
    const writes = Promise.all(Array.from({ length: 8 }, (_, caller) => changeTenants(store, caller))).finally(() => writing = false);
    await Promise.all([writes, compare()]);
    const groups = await store.aggregate({ entity: tenant, groupBy: ["status", "plan"], sum: "mrr" });
    const { rows } = await client.query<{ bucket: string; n: string; total: string }>(RECOUNT);
    const told = groups.map(({ group, count, sum }) => `${group.join(" ")} ${count} ${Number(sum)}`).sort();
    const counted = rows.map(({ bucket, n, total }) => `${(JSON.parse(bucket) as string[]).join(" ")} ${n} ${Number(total)}`).sort();
    if (told.join() !== counted.join()) throw new Error(`counts differ from a recount:\n${told.join("\n")}\n${counted.join("\n")}`);
  });
}

async function changeTenants(store: Store, caller: number): Promise<void> {
  for (let i = 0; i < 100; i++) {
    const key = `tenant:tn_${String(caller * 1_000 + i).padStart(7, "0")}`;
    const value = (await store.get(key))?.value as Record_;
    await store.set(key, { ...value, status: i % 2 === 0 ? "suspended" : "active", mrr: i / 100 } as JsonObject);
  }
}

const RECOUNT = `
  select jsonb_build_array(value->'status', value->'plan')::text as bucket, count(*) as n, sum((value->>'mrr')::numeric) as total
  from kv.entries where key >= 'tenant:' and key < 'tenant;' group by 1`;

const DIFFERENCES = `
  select bucket, e.n, e.total, r.n as rollup_n, r.total as rollup_total from (${RECOUNT}) e
  full join (select bucket, sum(count) as n, sum(total) as total from kv.rollup_shards where rollup = 'tenant' group by 1 having sum(count) <> 0) r
    using (bucket)
  where (e.n, e.total) is distinct from (r.n, r.total)`;

const KINDS = Array.from({ length: 50 }, (_, kind) => `kind${kind}`);

async function deletes(store: Store, habit: Habit, report: (row: Row) => void): Promise<void> {
  const once: Load = { callers: 1, operations: 1, rounds: 5 };
  const prefix = "idem:bulk";
  const rows = (key: (i: number) => string, count: number) =>
    Array.from({ length: count }, (_, i) => [key(i), { i, text: "x".repeat(100) }] as const);
  const fill = async (pairs: (readonly [string, { i: number; text: string }])[], owner?: string) => {
    for (let at = 0; at < pairs.length; at += 1_000) {
      await store.mset(pairs.slice(at, at + 1_000), owner ? { tenantId: owner } : {});
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
  const of = byName(prefixed);
  report({
    operation: "delete a prefix of 10,000",
    callers: 1,
    store: rate(of("store")),
    against: "habit",
    other: rate(of("habit")),
    ratio: ratio(of("store"), of("habit")),
    target: 8,
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
      run: () => store.commit([], [{ op: "deleteOwner", tenantId: tenantId() }]),
    },
    {
      name: "habit",
      run: async () => {
        for (const kind of KINDS) await habit.deletePrefix(`${kind}:${tenantId()}:`);
      },
    },
  ];
  const gone = byName(await interleave(cascade, once));
  report({
    operation: "cascade of a tenant with 5,000 rows of 50 kinds",
    callers: 1,
    store: rate(gone("store")),
    against: "habit",
    other: rate(gone("habit")),
    ratio: ratio(gone("store"), gone("habit")),
    target: 150,
  });
}
