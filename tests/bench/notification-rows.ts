import { createContainer } from "../../shared/container.ts";
import { systemClock } from "../../shared/kernel/clock.ts";
import { systemContext } from "../../shared/kernel/context.ts";
import { silentLogger } from "../../shared/kernel/logger.ts";
import type { Store } from "../../shared/kv/store.ts";
import type { Cluster } from "../support/cluster.ts";
import { createDataset } from "./dataset.ts";
import { byName, interleave, ratio } from "./measure.ts";
import { rate, type Row } from "./report.ts";

const OF_TENANT = 200;
const OF_PLATFORM = 50;
const READ = 20;
const TENANT = "tn_0000007";

/** The unread count of a tenant's user, as a browser polls it, against a read of the tenant by the same user. */
export async function notificationRows(cluster: Cluster, open: (url: string) => Store, report: (row: Row) => void): Promise<void> {
  const { appUrl } = await createDataset(cluster, "bench_notifications", { tenants: 1_000 });
  const store = open(appUrl);
  const container = await createContainer({ store, clock: systemClock, logger: silentLogger });
  const platform = container.services(systemContext(systemClock)).NotificationService;
  const caller = { actor: { type: "user" as const, id: "ada" }, tenantId: TENANT, requestId: "bench", clock: systemClock };
  const own = container.services(caller);
  const made: string[] = [];
  for (let i = 0; i < OF_TENANT + OF_PLATFORM; i++) {
    made.push((await platform.create({ title: `Notice ${i}`, message: "Read this." }, i < OF_TENANT ? TENANT : undefined)).id);
  }
  for (const id of made.slice(0, READ)) await own.NotificationService.markAsRead(id);
  const counted = await own.NotificationService.unreadCount();
  if (counted !== made.length - READ) throw new Error(`${counted} unread notifications`);
  const bound = store.forTenant(TENANT);
  for (const callers of [1, 16]) {
    const contenders = [
      { name: "count", run: () => own.NotificationService.unreadCount() },
      { name: "get", run: () => bound.get(`tenant:${TENANT}`) },
    ];
    const of = byName(await interleave(contenders, { callers, operations: 1_000, rounds: 9 }));
    report({
      operation: `unread count of a user, ${made.length} notifications, in gets`,
      callers,
      store: rate(of("count")),
      against: "get of the tenant by the same user",
      other: rate(of("get")),
      ratio: ratio(of("get"), of("count")),
      // Reads of one key at the same time are one read, so more callers compare it with almost nothing.
      target: callers === 1 ? 1.5 : null,
      atMost: true,
    });
  }
}
