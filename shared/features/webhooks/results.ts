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
type Append = Extract<Mutation, { op: "append" }>;
interface Result {
  readonly mutation: Append;
  /** The version of the delivery that the attempt was made for. */
  readonly version: string;
}

/** Why a delivery is not sent. */
const DROPPED = {
  deleted: "The event was deleted by retention before it could be sent.",
  withheld: "The URL of the webhook was set by a caller that must not read events of this type.",
} as const;

/** Conflicts of one commit: each is a delivery that was deleted, or attempted by another process too. */
const DECISIONS = 20;

/**
 * Writes the results of attempts. Those that end while a commit is in flight share the next one. A process that was stopped for longer
 * than its lease may end an attempt after another process has made the next one: that result is only listed.
 */
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
        const found = await this.#write(results);
        return found.map((value) => ({ ok: true, value }));
      },
    });
  }

  /** Returns which of the deliveries exist. They are read only after a conflict. */
  async #write(results: readonly Result[]): Promise<readonly boolean[]> {
    let versions: readonly (string | null)[] = results.map(({ version }) => version);
    let isRepeated = false;
    await this.work.transact<object>(async () => {
      if (isRepeated) {
        const entries = await this.work.store.mget(results.map(({ mutation }) => mutation.key));
        versions = entries.map((entry) => entry?.version ?? null);
      }
      isRepeated = true;
      return { commit: { ...resultsAt(results, versions), audit: "none", attempts: DECISIONS, result: {} }, resultOf: null };
    });
    return versions.map((version) => version !== null);
  }

  /** Writes what an attempt came to. Returns false for a delivery that was deleted meanwhile, which stays deleted. */
  async record(webhook: Webhook, before: StoredDelivery, attempted: Attempted): Promise<boolean> {
    const result = afterAttempt(before, attempted, randomFraction(), this.work.context.clock.now());
    const line = lineOf(attempted, result.attemptCount);
    if (isExhausted(before, result, attempted)) return await this.#exhaust(webhook, before, result, line);
    return await this.#append(before, line, result as JsonObject);
  }

  /** Ends a delivery that cannot be sent. */
  async drop(before: StoredDelivery, reason: keyof typeof DROPPED): Promise<boolean> {
    const now = this.work.now();
    const error = DROPPED[reason];
    const attempt = before.attemptCount + 1;
    return await this.#append(before, { at: now, attempt, error, durationMs: 0 }, {
      status: "failed",
      attemptCount: attempt,
      nextRetryAt: null,
    });
  }

  async #append(before: StoredDelivery, line: JsonObject, merge: JsonObject): Promise<boolean> {
    const key = this.#deliveries.keyOfRecord(before);
    const attempts = { path: ["attempts"], items: [line], cap: MAX_ATTEMPTS_KEPT };
    const mutation: Append = { op: "append", key, ...attempts, merge: { ...merge, updatedAt: this.work.now() } };
    return await this.#batcher.run({ mutation, version: before.version });
  }

  /** The last attempt: its failure and the event about it are one commit. */
  async #exhaust(
    { tenantId }: Webhook,
    sent: StoredDelivery,
    result: DeliveryResult,
    line: JsonObject,
  ): Promise<boolean> {
    const { webhookId } = sent;
    const key = this.#deliveries.keyOfRecord(sent);
    const resultOf = tenantId ?? null;
    try {
      const { result: { before: found } } = await this.work.transact<{ readonly before: StoredDelivery | null }>(async () => {
        const [before = null] = await this.#deliveries.getMany([key]);
        if (before?.version !== sent.version) return { done: { before }, resultOf };
        const attempts = [...before.attempts, line].slice(-MAX_ATTEMPTS_KEPT) as StoredDelivery["attempts"];
        const after = { ...before, ...result, attempts, updatedAt: this.work.now() };
        const { id: deliveryId, eventId, event } = before;
        const data = { webhookId, deliveryId, eventId, event, ...line, attempts: result.attemptCount, ...(tenantId ? { tenantId } : {}) };
        const note = { type: "webhook.delivery_exhausted", subject: webhookId, tenantId, data };
        const changes = [{ entity: delivery, before, after }];
        return { commit: { changes, events: [note], audit: "none", result: { before } }, resultOf };
      });
      return found !== null && (found.version === sent.version || await this.#append(sent, line, {}));
    } catch (error) {
      // The tenant was deleted, and the delivery with it.
      if (!isInnkeepError(error, "not_found")) throw error;
      return false;
    }
  }
}

/** A delivery with another version has had another attempt since: the line is added to its attempts, and its state stays. */
function resultsAt(results: readonly Result[], versions: readonly (string | null)[]) {
  const isOwn = ({ version }: Result, i: number) => versions[i] === version;
  return {
    checks: results.filter(isOwn).map(({ mutation: { key }, version }) => ({ key, version })),
    mutations: results.flatMap((result, i): Mutation[] => {
      const { merge: _, ...line } = result.mutation;
      return versions[i] === null ? [] : [isOwn(result, i) ? result.mutation : line];
    }),
  };
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
