import { expect } from "vitest";
import type { Services } from "../../../shared/container.ts";
import type { JsonObject } from "../../../shared/kernel/json.ts";
import type { TestContext } from "../../support/test-context.ts";
import type { Killed } from "./killed.test.ts";

const WEBHOOKS = 12;
const SPREAD_MS = 5_000;
const DAY_MS = 24 * 3_600_000;
const SECRET_DAYS = 365;

/** Webhooks for whose secrets something is due while the processes are killed: a reminder, their end, the end of an overlap. */
export async function webhookSecrets(context: TestContext & Services): Promise<Killed> {
  const { clock } = context;
  const { id: tenantId } = await context.tenant();
  const expected: (readonly [id: string, action: string])[] = [];
  for (let i = 0; i < WEBHOOKS; i++) {
    const dueInMs = Math.ceil((i + 1) * SPREAD_MS / WEBHOOKS);
    const daysLeft = [14, 7, 1, 0][i % 4] ?? 0;
    // A clock of its own: the work for the other jobs is made at the same time.
    const madeMs = clock.now() + dueInMs - (SECRET_DAYS - daysLeft) * DAY_MS;
    const { WebhookService } = context.as({ clock: { now: () => madeMs } });
    const { id } = await WebhookService.create({ tenantId, url: "https://hooks.example.com/in", events: ["tenant.deleted"] });
    expected.push([id, daysLeft > 0 ? "webhook.secret_expiring" : "webhook.secret_expired"]);
    if (i % 2 > 0) continue;
    const { id: rotated } = await context.WebhookService.create({ url: "https://hooks.example.com/in", events: ["admin.deleted"] });
    await context.WebhookService.rotateSecret(rotated, { overlapSeconds: Math.ceil(dueInMs / 1_000) });
    expected.push([rotated, "webhook.secret_retired"]);
  }
  return {
    check: async () => {
      while ((await context.as().JobService.run("webhook-secrets")).processed > 0);
      const events = (await context.dump("outbox")).map(({ value }) => value as JsonObject);
      const written = [...await context.auditOf(tenantId), ...await context.auditOf(null)];
      for (const [id, action] of expected) {
        const own = ({ type, action: named, subject, resourceId }: JsonObject) =>
          (subject ?? resourceId) === id && (type ?? named) === action;
        expect([events, written].map((notes) => notes.filter(own).length), `${action} of ${id}`).toEqual([1, 1]);
        expect(await context.WebhookService.get(id)).not.toHaveProperty("previousSecretExpiresAt");
      }
    },
  };
}
