import { createBackend, type Services } from "../../../shared/container.ts";
import type { UnitOfWork } from "../../../shared/core/unit-of-work.ts";
import { type Delivery, delivery, type Webhook, webhook } from "../../../shared/features/webhooks/entity.ts";
import { newSecret, seal } from "../../../shared/features/webhooks/secret.ts";
import { type JobReport, JobService } from "../../../shared/features/jobs/service.ts";
import { systemContext } from "../../../shared/kernel/context.ts";
import { loadIds, newId } from "../../../shared/kernel/ids.ts";
import type { JsonObject } from "../../../shared/kernel/json.ts";
import { silentLogger } from "../../../shared/kernel/logger.ts";
import { Collection } from "../../../shared/core/collection.ts";
import type { Store } from "../../../shared/kv/store.ts";
import { localOutbound } from "../../support/outbound.ts";
import { KEYS, openTestContext, type TestContext } from "../../support/test-context.ts";

/** The job `webhooks` of a program that may call receivers on this machine. */
export interface Delivering {
  /** Runs the job once. */
  deliver(store?: Store): Promise<JobReport>;
  /** Writes a webhook with the secret that is returned. */
  endpoint(url: string, more?: Partial<Webhook>): Promise<{ readonly id: string; readonly secret: string }>;
  webhookOf(id: string): Promise<Webhook>;
  /** In the order of the events. */
  deliveriesOf(webhookId: string): Promise<Delivery[]>;
  /** The types of the events about the webhook, the oldest first. */
  eventsAbout(id: string): Promise<JsonObject[]>;
}

export type DeliveryContext = Awaited<ReturnType<typeof openDelivery>>;

export async function openDelivery(): Promise<TestContext & Services & Delivering> {
  const context = await openTestContext();
  return { ...context, ...deliveryIn(context) };
}

export function deliveryIn(context: TestContext): Delivering {
  const { store, clock } = context;
  const outbound = localOutbound();
  const workOver = (over: Store): UnitOfWork =>
    createBackend({ store: over, clock, logger: silentLogger, ...KEYS, outbound }).bind(systemContext(clock, "req_test", "jobs"));
  const work = workOver(store);
  const webhooks = new Collection(webhook, store);
  return {
    deliver: async (over = store) => {
      const report = await new JobService(over === store ? work : workOver(over)).run("webhooks");
      if (report.errors.length > 0) throw new Error(`the job failed: ${JSON.stringify(report.errors)}`);
      return report;
    },
    endpoint: async (url, more = {}) => {
      await loadIds();
      const id = more.id ?? newId("webhook", clock.now());
      const secret = newSecret();
      const record = webhook.schema.parse({
        id,
        url,
        events: ["*"],
        sealedSecret: await seal(work, id, { current: secret }),
        secretLast4: secret.slice(-4),
        secretRotatedAt: clock.iso(),
        secretExpiresAt: clock.iso(365 * 86_400_000),
        nextCheckAt: clock.iso(300 * 86_400_000),
        status: "active",
        createdAt: clock.iso(),
        ...more,
      });
      await store.commit([], [webhooks.set(record)]);
      return { id, secret };
    },
    webhookOf: async (id) => await webhooks.get(id) as Webhook,
    deliveriesOf: async (id) => (await store.getByPrefix(`delivery:${id}:`)).map((value) => delivery.schema.parse(value)),
    eventsAbout: async (id) =>
      (await context.dump("outbox")).map(({ value }) => value as JsonObject).filter(({ subject, type }) =>
        subject === id && String(type).startsWith("webhook.")
      ),
  };
}
