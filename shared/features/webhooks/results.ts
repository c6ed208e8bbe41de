import { Collection, type Stored } from "../../core/collection.ts";
import type { UnitOfWork } from "../../core/unit-of-work.ts";
import { randomFraction } from "../../kernel/backoff.ts";
import { isInnkeepError } from "../../kernel/errors.ts";
import type { JsonObject } from "../../kernel/json.ts";
import { Batcher } from "../../kv/batcher.ts";
import type { Mutation } from "../../kv/store.ts";
import { delivery, MAX_ATTEMPTS_KEPT, type Webhook } from "./entity.ts";
import { afterAttempt, type Attempted, type DeliveryResult } from "./schedule.ts";

/** Below 200, above which a commit locks a whole family. */
const MAX_TOGETHER = 100;
const WRITE_TIMEOUT_MS = 30_000;

type StoredDelivery = Stored<typeof delivery>;
type Result = Extract<Mutation, { op: "append" }>;

/** Writes the results of attempts. Those that end while a commit is in flight share the next one. */
export class Results {
  readonly #deliveries: Collection<typeof delivery>;
  readonly #batcher: Batcher<Result, boolean>;

  constructor(private readonly work: UnitOfWork) {
    this.#deliveries = new Collection(delivery, work.store);
    this.#batcher = new Batcher({
      lanes: 2,
      maxCalls: MAX_TOGETHER,
      timeoutMs: WRITE_TIMEOUT_MS,
      // The store ends its calls itself, so this is a call that still waits for the one before it.
      expired: () => new Error("The results of deliveries could not be written in time."),
      send: async (results) => {
        const { values } = await work.transact(() => ({ commit: { mutations: results, audit: "none", result: {} }, resultOf: null }));
        return results.map(({ key }) => ({ ok: true, value: values[key] !== null }));
      },
    });
  }

  /** Writes what an attempt came to. Returns false for a delivery that was deleted meanwhile, which stays deleted. */
  async record(webhook: Webhook, before: StoredDelivery, attempted: Attempted): Promise<boolean> {
    const result = afterAttempt(before, attempted, randomFraction(), this.work.context.clock.now());
    const line = lineOf(attempted, result.attemptCount);
    if (isExhausted(before, result, attempted)) return await this.#exhaust(webhook, before, result, line);
    return await this.#batcher.run({
      op: "append",
      key: this.#deliveries.keyOfRecord(before),
      path: ["attempts"],
      items: [line],
      cap: MAX_ATTEMPTS_KEPT,
      merge: { ...result as JsonObject, updatedAt: this.work.now() },
    });
  }

  /** A delivery whose event is no longer kept cannot be sent. */
  async drop(before: StoredDelivery): Promise<boolean> {
    const now = this.work.now();
    const error = "The event was deleted by retention before it could be sent.";
    return await this.#batcher.run({
      op: "append",
      key: this.#deliveries.keyOfRecord(before),
      path: ["attempts"],
      items: [{ at: now, attempt: before.attemptCount + 1, error, durationMs: 0 }],
      cap: MAX_ATTEMPTS_KEPT,
      merge: { status: "failed", attemptCount: before.attemptCount + 1, nextRetryAt: null, updatedAt: now },
    });
  }

  /** The last attempt: its failure and the event about it are one commit. */
  async #exhaust(
    { tenantId }: Webhook,
    { webhookId, timestamp, nonce }: StoredDelivery,
    result: DeliveryResult,
    line: JsonObject,
  ): Promise<boolean> {
    const key = this.#deliveries.key({ webhookId, timestamp, nonce });
    const resultOf = tenantId ?? null;
    try {
      const { result: { exists } } = await this.work.transact<{ readonly exists: boolean }>(async () => {
        const [before] = await this.#deliveries.getMany([key]);
        if (!before) return { done: { exists: false }, resultOf };
        const attempts = [...before.attempts, line].slice(-MAX_ATTEMPTS_KEPT) as StoredDelivery["attempts"];
        const after = { ...before, ...result, attempts, updatedAt: this.work.now() };
        const { id: deliveryId, eventId, event } = before;
        const data = { webhookId, deliveryId, eventId, event, ...line, attempts: result.attemptCount, ...(tenantId ? { tenantId } : {}) };
        const note = { type: "webhook.delivery_exhausted", subject: webhookId, tenantId, data };
        const changes = [{ entity: delivery, before, after }];
        return { commit: { changes, events: [note], audit: "none", result: { exists: true } }, resultOf };
      });
      return exists;
    } catch (error) {
      // The tenant was deleted, and the delivery with it.
      if (!isInnkeepError(error, "not_found")) throw error;
      return false;
    }
  }
}

/** Whether an event reports the failure. Events about webhooks are not reported: two dead endpoints would report each other for good. */
function isExhausted({ event }: StoredDelivery, { status }: DeliveryResult, { outcome }: Attempted): boolean {
  return status === "failed" && outcome !== "gone" && !event.startsWith("webhook.");
}

function lineOf({ at, durationMs, statusCode, error }: Attempted, attempt: number): JsonObject {
  return {
    at,
    attempt,
    ...(statusCode === undefined ? {} : { statusCode }),
    ...(error === undefined ? {} : { error: error.slice(0, 500) }),
    durationMs,
  };
}
