import { createContainer } from "../../shared/container.ts";
import { lastDays } from "../../shared/features/dashboard/rules.ts";
import { MOVEMENT_KINDS } from "../../shared/features/revenue/entity.ts";
import { monthAt } from "../../shared/features/revenue/rules.ts";
import { isoTime, systemClock } from "../../shared/kernel/clock.ts";
import { systemContext } from "../../shared/kernel/context.ts";
import { silentLogger } from "../../shared/kernel/logger.ts";
import type { Store } from "../../shared/kv/store.ts";
import { byName, interleave, ratio } from "./measure.ts";
import { rate } from "./report.ts";
import type { Row } from "./report.ts";

const TENANTS = 100_000;
const YEARS = 3;
const DAYS = 120;
const SIGN_UPS_A_DAY = 20;
/** Tenants whose revenue changed since the last fold. */
const CHANGED = 50;

/** All numbers of the dashboard against a read of one tenant. `store` is over 100,000 tenants, a fifth of them near a limit. */
export async function dashboardRows(store: Store, report: (row: Row) => void): Promise<void> {
  const thisMonth = new Date(systemClock.now()).getUTCFullYear() * 12 + new Date(systemClock.now()).getUTCMonth();
  const months = Array.from({ length: 12 * YEARS }, (_, i) => monthAt(thisMonth - i));
  const movements = months.flatMap((month) =>
    MOVEMENT_KINDS.flatMap((kind) =>
      Array.from({ length: 16 }, (_, i) => {
        const key = `movement:tn_${String(i * 6_007).padStart(7, "0")}:${month}-01T00:00:00.000Z:${kind}`;
        return [key, {
          id: key,
          tenantId: key.split(":")[1] ?? "",
          timestamp: `${month}-01T00:00:00.000Z`,
          month,
          kind,
          amount: 10,
        }] as const;
      })
    )
  );
  for (let at = 0; at < movements.length; at += 500) await store.mset(movements.slice(at, at + 500));
  const today = isoTime(systemClock.now()).slice(0, 10);
  const signUps = lastDays(DAYS, systemClock.now()).flatMap((day) =>
    Array.from({ length: SIGN_UPS_A_DAY }, (_, i) => [`signup:${day}:${i}`, { day }] as const)
  );
  for (let at = 0; at < signUps.length; at += 500) await store.mset(signUps.slice(at, at + 500));
  // The job `cleanup` folds every hour. What is written since is in the shards.
  await store.foldRollups();
  for (let i = 0; i < CHANGED; i++) await store.increment(`tenant:tn_${String(i * 1_999).padStart(7, "0")}`, [{ path: ["mrr"], by: 1 }]);
  await store.mset(movements.slice(0, CHANGED).map(([key, value]) => [`${key}2`, { ...value, id: `${key}2` }]));
  await store.mset(Array.from({ length: SIGN_UPS_A_DAY }, (_, i) => [`signup:${today}:again${i}`, { day: today }]));
  const container = await createContainer({ store, clock: systemClock, logger: silentLogger });
  const { DashboardService } = container.services(systemContext(systemClock));
  const shown = await DashboardService.get();
  if (shown.tenants.tenants !== TENANTS || shown.nearLimits.highest.length !== 10 || shown.signUps.tenants === 0) {
    throw new Error(`the dashboard shows ${JSON.stringify(shown).slice(0, 300)}`);
  }
  const contenders = [
    { name: "dashboard", run: () => DashboardService.get() },
    { name: "get", run: (i: number) => store.get(`tenant:tn_${String((i * 7_919) % TENANTS).padStart(7, "0")}`) },
  ];

  const of = byName(await interleave(contenders, { callers: 1, operations: { dashboard: 200, get: 1_000 }, rounds: 9 }));
  report({
    operation: "dashboard at 100,000 tenants, with 30 days and 12 months, in gets",
    callers: 1,
    store: rate(of("dashboard")),
    against: "get of one tenant",
    other: rate(of("get")),
    ratio: ratio(of("get"), of("dashboard")),
    target: 5,
    atMost: true,
  });
}
