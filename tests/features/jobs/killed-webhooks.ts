import { expect } from "vitest";
import type { Services } from "../../../shared/container.ts";
import type { JsonObject } from "../../../shared/kernel/json.ts";
import { startReceiver } from "../../support/receiver.ts";
import type { TestContext } from "../../support/test-context.ts";
import { deliveryIn } from "../webhooks/delivery-support.ts";
import type { Killed } from "./killed.test.ts";

const TENANTS = 8;
const CHANGES = 12;

/** Events that are numbered and sent to a receiver of each tenant, and replays of what a tenant missed, while the processes are killed. */
export async function webhooks(context: TestContext & Services): Promise<Killed> {
  const receiver = await startReceiver();
  receiver.script({ status: 200, delayMs: 15 });
  const { deliver, deliveriesOf, endpoint } = deliveryIn(context);
  const tenants = await Promise.all(Array.from({ length: TENANTS }, () => context.tenant()));
  const endpoints = await Promise.all(
    tenants.map(({ id }) => endpoint(receiver.url, { tenantId: id, events: ["tenant.updated"], maxConcurrency: 2 })),
  );
  const change = async ({ id }: { readonly id: string }) => {
    for (let n = 1; n <= CHANGES; n++) await context.TenantService.update(id, { name: `Hotel ${n}` });
  };
  const late = await context.tenant();
  await change(late);
  await deliver();
  const replaying = await endpoint(receiver.url, { tenantId: late.id, events: ["tenant.updated"] });
  endpoints.push(replaying);
  for (let n = 0; n < 3; n++) await context.WebhookService.replaySince(replaying.id, { since: context.clock.iso(-1), kind: "missing" });
  await Promise.all(tenants.map(change));
  return {
    check: async () => {
      while (((await deliver()).remaining ?? 0) > 0);
      await receiver.close();
      const changes = new Map<string, string>();
      for (const { headers, text } of receiver.received) {
        const { subject, version } = JSON.parse(text) as Readonly<Record<string, string>>;
        const id = headers["webhook-id"] ?? "";
        // However often it arrives, a change has one id.
        expect(changes.get(`${subject} ${version}`) ?? id).toBe(id);
        changes.set(`${subject} ${version}`, id);
      }
      expect(changes.size).toBe((TENANTS + 1) * CHANGES);
      const replays = (await context.WebhookService.replays(replaying.id))?.data ?? [];
      expect(replays.map(({ status }) => status)).toEqual(Array(3).fill("completed"));
      expect(replays.reduce((sum, { replayed }) => sum + replayed, 0)).toBe(CHANGES);
      for (const { id } of endpoints) {
        const deliveries = await deliveriesOf(id);
        expect(deliveries.map(({ status, attempts }) => [status, attempts.length])).toEqual(Array(CHANGES).fill(["success", 1]));
      }
      // Every event that waited has a number of its own, the last of which is the head's.
      const events = (await context.dump("outbox")).map(({ value }) => value as JsonObject);
      expect(events.filter((event) => "queuedAt" in event)).toEqual([]);
      const seqs = events.flatMap(({ seq }) => typeof seq === "number" ? [seq] : []);
      expect(new Set(seqs).size).toBe(seqs.length);
      expect(await context.dump("eventhead")).toMatchObject([{ value: { seq: Math.max(...seqs) } }]);
    },
  };
}
