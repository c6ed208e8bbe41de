import type { UnitOfWork } from "../../core/unit-of-work.ts";
import { errors } from "../../kernel/errors.ts";
import { newRequestId } from "../../kernel/ids.ts";
import { exampleEvent, isTenantScoped } from "../events/event-type.ts";
import { attempt } from "./attempt.ts";
import type { Webhook } from "./entity.ts";
import { isSubscribed } from "./matching.ts";
import type { Attempted } from "./schedule.ts";
import { signingOf } from "./secret.ts";

/** What a test came to. */
export type TestResult = Omit<Attempted, "retryAfterMs"> & {
  /** The `webhook-id`, which begins with `test_`. */
  readonly id: string;
  readonly type: string;
};

/**
 * Sends the example of a type once and waits for the response. It is no event of the feed and has no delivery. Default: the first type
 * that the webhook gets. Throws `validation_failed` for an unknown type, and for a type of the platform alone to a tenant's webhook.
 */
export async function sendTest(work: UnitOfWork, webhook: Webhook, type?: string): Promise<TestResult> {
  // The catalogue loads all entities.
  const { eventTypes } = await import("../events/catalogue.ts");
  const possible = eventTypes.filter((each) => webhook.tenantId === undefined || isTenantScoped(each));
  const chosen = type === undefined
    ? possible.find((each) => isSubscribed(webhook, each.type)) ?? possible[0]
    : possible.find((each) => each.type === type);
  if (!chosen) {
    const message = webhook.tenantId === undefined
      ? "must be a type of GET /v1/event-types"
      : "must be a type of GET /v1/event-types that is tenantScoped, because the webhook belongs to a tenant";
    throw errors.validation([{ path: "/type", message, code: "unknown_event_type" }]);
  }
  const example = exampleEvent(chosen);
  const id = `test_${newRequestId().slice("req_".length)}`;
  const payload = {
    ...example,
    id,
    timestamp: work.now(),
    ...(webhook.tenantId === undefined ? {} : { tenantId: webhook.tenantId }),
    ...(webhook.payload === "thin" ? { data: {} } : {}),
  };
  const { retryAfterMs: __, ...result } = await attempt(work, webhook, await signingOf(work, webhook), { id, payload });
  return { id, type: chosen.type, ...result };
}
