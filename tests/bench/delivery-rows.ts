import process from "node:process";
import { createBackend } from "../../shared/container.ts";
import { knownRootKeys } from "../../shared/core/root-keys.ts";
import { JobService } from "../../shared/features/jobs/service.ts";
import { webhook } from "../../shared/features/webhooks/entity.ts";
import { newDelivery } from "../../shared/features/webhooks/matching.ts";
import { newSecret, seal } from "../../shared/features/webhooks/secret.ts";
import { isoTime, systemClock } from "../../shared/kernel/clock.ts";
import { systemContext } from "../../shared/kernel/context.ts";
import type { JsonObject } from "../../shared/kernel/json.ts";
import { silentLogger } from "../../shared/kernel/logger.ts";
import type { Mutation, Store } from "../../shared/kv/store.ts";
import type { Cluster } from "../support/cluster.ts";
import { localOutbound } from "../support/outbound.ts";
import { startReceiver } from "../support/receiver.ts";
import { ROOT_KEY } from "../support/root-key.ts";
import { createDatabase } from "./dataset.ts";
import { median } from "./measure.ts";
import { ms, type Row } from "./report.ts";

const ALIVE = 90;
const DEAD = 10;
/** Of each endpoint in a round. All must be sent by one call of the job, whose budget is 1,000: 1 each request, 1.5 each endpoint. */
const EVENTS = 6;
const ROUNDS = 3;

/** Deliveries to 90 endpoints of as many tenants, alone and beside 10 endpoints that hang, each of another tenant. */
export async function deliveryRows(cluster: Cluster, open: (url: string) => Store, report: (row: Row) => void): Promise<void> {
  const database = await createDatabase(cluster, "bench_deliveries");
  const store = open(database.appUrl);
  const options = { store, clock: systemClock, logger: silentLogger, rootKeys: knownRootKeys(ROOT_KEY), outbound: localOutbound() };
  const work = createBackend(options).bind(systemContext(systemClock, "bench", "jobs"));
  const jobs = new JobService(work);
  const rates: Record<"alone" | "beside", number[]> = { alone: [], beside: [] };
  let cpuMs = 0;
  for (let round = -1; round < ROUNDS; round++) {
    for (const name of ["alone", "beside"] as const) {
      const [alive, dead] = [await startReceiver(), await startReceiver()];
      dead.script("hang");
      await store.commit([], ["webhook", "delivery", "outbox"].map((prefix): Mutation => ({ op: "deletePrefix", prefix })));
      for (let n = 0; n < ALIVE; n++) await endpoint(work, `tn_alive_${n}`, alive.url);
      for (let n = 0; n < (name === "beside" ? DEAD : 0); n++) await endpoint(work, `tn_dead_${n}`, dead.url);
      const before = process.cpuUsage();
      const started = performance.now();
      const run = jobs.run("webhooks");
      await alive.waitFor(ALIVE * EVENTS);
      const perSecond = ALIVE * EVENTS / ((performance.now() - started) / 1_000);
      const { user, system } = process.cpuUsage(before);
      if (name === "beside" && dead.received.length !== DEAD) throw new Error(`${dead.received.length} requests hang`);
      await dead.close();
      const { errors } = await run;
      await alive.close();
      if (errors.length > 0) throw new Error(`the job failed: ${JSON.stringify(errors)}`);
      if (round < 0) continue;
      rates[name].push(perSecond);
      cpuMs = Math.max(cpuMs, (user + system) / 1_000 / (ALIVE * EVENTS));
    }
  }
  const number = (values: readonly number[]) => `${Math.round(median(values)).toLocaleString("en-US")}/s`;
  report({
    operation: `deliveries to ${ALIVE} endpoints, ${DEAD} more hang`,
    callers: 1,
    store: number(rates.beside),
    against: "the same 90 endpoints alone",
    other: number(rates.alone),
    ratio: median(rates.beside.map((rate, i) => rate / (rates.alone[i] ?? rate))),
    target: 0.9,
    note: `over HTTP without TLS; ${ms(cpuMs)} of CPU time a delivery at most, that of the receivers in the same process included`,
  });
}

/** A tenant's webhook, and deliveries that are due. */
async function endpoint(work: Parameters<typeof seal>[0], tenantId: string, url: string): Promise<void> {
  const id = `webhook_${tenantId}`;
  const secret = newSecret();
  const now = isoTime(systemClock.now());
  const record = webhook.schema.parse({
    ...webhook.example,
    id,
    tenantId,
    url,
    events: ["tenant.*"],
    headerNames: [],
    dueAt: now,
    sealedSecret: await seal(work, id, { current: secret }),
  });
  const ids = Array.from({ length: EVENTS }, (_, i) => `evt_${Date.parse(now)}_${tenantId.replaceAll("_", "")}n${i}`);
  const event = {
    type: "tenant.updated",
    tenantId,
    subject: tenantId,
    data: { tenant: { id: tenantId } },
    createdAt: now,
    seq: 1,
    recordVersion: "1",
  };
  await work.store.commit([], [
    { op: "set", key: `webhook:${id}`, value: record as JsonObject, tenantId },
    ...ids.flatMap((eventId): Mutation[] => {
      const delivery = newDelivery({ id, tenantId }, { id: eventId, type: event.type, seq: 1 }, now);
      return [
        { op: "set", key: `outbox:${eventId}`, value: { ...event, id: eventId }, tenantId },
        { op: "set", key: `delivery:${id}:${delivery.timestamp}:${delivery.nonce}`, value: delivery as JsonObject, tenantId },
      ];
    }),
  ]);
}
