import { createContainer } from "../../shared/container.ts";
import { systemClock } from "../../shared/kernel/clock.ts";
import { systemContext } from "../../shared/kernel/context.ts";
import { silentLogger } from "../../shared/kernel/logger.ts";
import type { Store } from "../../shared/kv/store.ts";
import type { Cluster } from "../support/cluster.ts";
import { createDatabase } from "./dataset.ts";
import { Habit } from "./habit.ts";
import { byName, interleave, ratio } from "./measure.ts";
import { rate, type Row } from "./report.ts";

const CALLERS = 64;
const OPERATIONS = { consume: 6_400, habit: 1_280 } as const;
const ROUNDS = 7;
const KEY = "usage:tn_1:bookings";

/** One tenant's `consume` by many callers, against get, compare and set. Both are far below their limit. */
export async function consumeRows(cluster: Cluster, open: (url: string) => Store, report: (row: Row) => void): Promise<void> {
  const database = await createDatabase(cluster, "bench_consume");
  const container = await createContainer({ store: open(database.appUrl), clock: systemClock, logger: silentLogger });
  const { MetricService, PlanService, TenantService, UsageService } = container.services(systemContext(systemClock, "bench", "bench"));
  await MetricService.seedDefaults();
  await PlanService.seedDefaults();
  const { id } = await TenantService.create({
    name: "Hotel",
    subdomain: "hotel",
    plan: "Enterprise",
    owner: "owner@hotel.example",
    ownerName: "Ada Auer",
  });
  const limit = 10_000_000;
  await UsageService.increment(id, "bookings", 1, limit);
  const habit = new Habit(database.superUrl);
  try {
    await habit.pool.query("create table if not exists kv_store (key text primary key, value jsonb not null)");
    await habit.set(KEY, { current: 1, limit });
    const contenders = [
      { name: "consume", run: () => UsageService.consume(id, "bookings", 1) },
      {
        name: "habit",
        run: async () => {
          const record = await habit.get(KEY) ?? {};
          const current = Number(record["current"]);
          if (current + 1 <= Number(record["limit"])) await habit.set(KEY, { ...record, current: current + 1 });
        },
      },
    ];
    const of = byName(await interleave(contenders, { callers: CALLERS, operations: OPERATIONS, rounds: ROUNDS }));
    const calls = (name: keyof typeof OPERATIONS) => 1 + OPERATIONS[name] * (ROUNDS + 1);
    const counted = (await UsageService.get(id, "bookings"))?.current ?? 0;
    if (counted !== calls("consume")) throw new Error(`consume counted ${counted} of ${calls("consume")}`);
    const kept = Number((await habit.get(KEY))?.["current"]);
    report({
      operation: "consume of one tenant's metric",
      callers: CALLERS,
      store: rate(of("consume")),
      against: "get, compare, set",
      other: rate(of("habit")),
      ratio: ratio(of("consume"), of("habit")),
      target: 10,
      note: `consume counted ${counted} of ${calls("consume")}; get, compare, set kept ${kept} of ${calls("habit")}`,
    });
  } finally {
    await habit.pool.end();
  }
}
