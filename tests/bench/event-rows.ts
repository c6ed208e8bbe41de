import { createBackend, createContainer } from "../../shared/container.ts";
import { eventsBody } from "../../shared/features/usage-events/cloud-event.ts";
import { UsageEventService } from "../../shared/features/usage-events/service.ts";
import { systemClock } from "../../shared/kernel/clock.ts";
import { systemContext } from "../../shared/kernel/context.ts";
import { silentLogger } from "../../shared/kernel/logger.ts";
import type { Store } from "../../shared/kv/store.ts";
import type { Cluster } from "../support/cluster.ts";
import { createDatabase } from "./dataset.ts";
import { median } from "./measure.ts";
import { ms, type Row } from "./report.ts";

const EVENTS = 1_000;
const ROUNDS = 5;

/** Usage events in one call, against a call for each. Every round has new events of one tenant. */
export async function eventRows(cluster: Cluster, open: (url: string) => Store, report: (row: Row) => void): Promise<void> {
  const database = await createDatabase(cluster, "bench_events");
  const options = { store: open(database.appUrl), clock: systemClock, logger: silentLogger };
  const context = systemContext(systemClock, "bench", "jobs");
  const { MetricService, PlanService, TenantService } = (await createContainer(options)).services(context);
  await MetricService.seedDefaults();
  await PlanService.seedDefaults();
  const { id } = await TenantService.create({
    name: "Hotel",
    subdomain: "hotel",
    plan: "Enterprise",
    owner: "owner@hotel.example",
    ownerName: "Ada Auer",
  });
  const backend = createBackend(options);
  const service = new UsageEventService(backend.bind(context));
  const event = (name: string) => ({ specversion: "1.0", id: name, source: "/bench", type: "api_calls", subject: id });
  const batch: number[] = [];
  const each: number[] = [];
  for (let round = 0; round < ROUNDS; round++) {
    batch.push(await timed(async () => void await service.ingest(eventsBody.parse(names(`b${round}`).map(event)))));
    each.push(
      await timed(async () => {
        for (const name of names(`e${round}`)) await service.ingest(eventsBody.parse(event(name)));
      }),
    );
  }
  report({
    operation: "1,000 usage events of one tenant in one call",
    callers: 1,
    store: ms(median(batch)),
    against: "one call each",
    other: ms(median(each)),
    ratio: median(each.map((one, i) => one / (batch[i] ?? one))),
    target: 20,
    note: "each event is stored, deduplicated and counted; commits of 180 events, so that no commit locks the usage of other tenants",
  });
}

function names(prefix: string): string[] {
  return Array.from({ length: EVENTS }, (_, n) => `${prefix}-${n}`);
}

async function timed(run: () => Promise<void>): Promise<number> {
  const started = performance.now();
  await run();
  return performance.now() - started;
}
