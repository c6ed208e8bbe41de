import { outboxEvent } from "../../core/outbox-event.ts";
import { Records } from "../../core/records.ts";
import type { Sample } from "../../core/route.ts";
import type { Change, UnitOfWork } from "../../core/unit-of-work.ts";
import { delivery, webhook } from "./entity.ts";
import { newDelivery } from "./matching.ts";

/** Makes the delivery of the samples. Others follow from events, and have ids that differ from call to call. */
class SampleDeliveries {
  constructor(private readonly work: UnitOfWork) {}

  async make(webhookId: string): Promise<void> {
    const { work } = this;
    const { tenantId } = await new Records(webhook, work).get(webhookId) ?? {};
    const { tenantId: _, ...event } = outboxEvent.schema.parse({ ...outboxEvent.example, seq: 1, recordVersion: "1" });
    const made = { ...newDelivery({ id: webhookId, tenantId }, { ...event, seq: 1 }, work.now()), status: "failed" as const };
    await work.transact(async () => {
      const changes: Change[] = [{ entity: delivery, before: null, after: { ...made, nextRetryAt: null } }];
      if (!await work.store.get(`outbox:${event.id}`)) changes.push({ entity: outboxEvent, before: null, after: event });
      const note = { action: "delivery.made", resource: delivery.name, resourceId: made.id, tenantId };
      return { commit: { changes, audit: [note], result: {} }, resultOf: null };
    });
  }
}

/** For routes of one delivery. */
export const ofDelivery: Sample<unknown, never> = {
  params: { deliveryId: delivery.example.id },
  prepare: async (_, { webhookId = "" }, use) => await use(SampleDeliveries).make(webhookId),
};
