import { Collection, type Stored } from "../../core/collection.ts";
import { outboxEvent } from "../../core/outbox-event.ts";
import type { UnitOfWork } from "../../core/unit-of-work.ts";
import { isoTime } from "../../kernel/clock.ts";
import { isNumbered } from "../events/view.ts";
import { attempt, messageOf } from "./attempt.ts";
import { delivery, webhook } from "./entity.ts";
import { isActive, isHeld, isStopped, NO_ATTEMPTS, type Tally, withAttempt } from "./health.ts";
import { isWithheld } from "./matching.ts";
import type { Results } from "./results.ts";
import type { Attempted } from "./schedule.ts";
import { isUnreadable, type Signing, signingOf } from "./secret.ts";
import { failWaiting, hold, settle } from "./settle.ts";
import type { Slots } from "./slots.ts";

/** Deliveries read at once. A webhook that is deleted or changed meanwhile is noticed with the next read. */
const READ = 32;
/** When an endpoint is tried again whose secret could not be decrypted. */
const UNREADABLE_MS = 60_000;

type StoredWebhook = Stored<typeof webhook>;
type StoredDelivery = Stored<typeof delivery>;

/** What the endpoints of one run share. */
export interface Shared {
  readonly work: UnitOfWork;
  readonly slots: Slots;
  readonly results: Results;
  /** Whether a request may begin now. If so, it counts towards the limit of the run. */
  readonly begins: (key: string, isFailing: boolean) => boolean;
  readonly ended: (key: string, attempted: Attempted) => void;
  /** Resolves when the endpoints that a run leaves with requests in flight are held: see `hold`. */
  readonly held: () => Promise<unknown>;
}

/**
 * Sends what is due for one webhook, in the order of the due times, until nothing is due or the endpoint is stopped. It begins with
 * one request and allows one more after each success, up to `maxConcurrency`: an endpoint that hangs holds a single one.
 */
export class Endpoint {
  #tally: Tally = NO_ATTEMPTS;
  #queue: StoredDelivery[] = [];
  readonly #inFlight = new Map<string, Promise<void>>();
  #lanes = 1;
  #requests = 0;
  #nextStart = 0;
  #signing: Signing | null = null;
  #current: StoredWebhook | null = null;
  /** The first error of a request or of its result. */
  #fault: { readonly error: unknown } | null = null;
  #wake: () => void = () => {};

  constructor(private readonly shared: Shared, private readonly key: string) {}

  /** Requests whose results are not written yet. */
  get requests(): number {
    return this.#requests;
  }

  /** Looks for new deliveries before a request has ended. */
  wake(): void {
    this.#wake();
  }

  /** Throws what the database refused, and `decryption_failed` or `root_key_unavailable` for the secret. */
  async run(): Promise<void> {
    try {
      while (await this.#next());
    } finally {
      await Promise.all(this.#inFlight.values());
    }
    if (this.#fault) throw this.#fault.error;
    await this.shared.held();
    await settle(this.shared.work, this.key, this.#tally);
  }

  /** One step. False if nothing is left to wait for. */
  async #next(): Promise<boolean> {
    const woken = new Promise<void>((resolve) => this.#wake = resolve);
    if (this.#isHalted()) this.#queue = [];
    else if (this.#queue.length === 0) await this.#read();
    const current = this.#current;
    if (current && this.#queue.length > 0 && this.#inFlight.size < Math.min(this.#lanes, current.maxConcurrency)) {
      await this.#pace(current);
      const next = this.#queue.shift();
      if (next) this.#start(current, next);
      return true;
    }
    if (this.#inFlight.size === 0) return false;
    await Promise.race([...this.#inFlight.values(), woken]);
    return true;
  }

  #isHalted(): boolean {
    return this.#fault !== null || isStopped(this.#tally);
  }

  /** The webhook as it is now, and its next deliveries. */
  async #read(): Promise<void> {
    const { work } = this.shared;
    const now = work.now();
    // A result that is written while the deliveries are read ends its request, but the read may still see the delivery as due.
    const inFlight = new Set(this.#inFlight.keys());
    const [current] = await new Collection(webhook, work.store).getMany([this.key]);
    const isFirst = this.#current === null;
    this.#current = current ?? null;
    this.#queue = [];
    // Not due any more: another run of this process has ended since it was found.
    if (!current || isFirst && (current.dueAt === null || current.dueAt > now)) return;
    if (!isActive(current)) return await failWaiting(work, current);
    if (isHeld(current, now)) return;
    this.#signing = await this.#signingOf(current);
    const { records } = await new Collection(delivery, work.store).list({
      where: [{ field: "webhookId", in: [current.id] }, { field: "nextRetryAt", to: isoTime(Date.parse(now) + 1) }],
      orderBy: [{ field: "nextRetryAt", direction: "asc" }],
      limit: inFlight.size + Math.min(READ, current.maxPerSecond ?? READ),
    });
    this.#queue = records.filter(({ id }) => !inFlight.has(id)).sort(byDueTime);
  }

  /** Throws `decryption_failed` or `root_key_unavailable`. The webhook then goes behind the others that are due. */
  async #signingOf(current: StoredWebhook): Promise<Signing> {
    const { work } = this.shared;
    try {
      return await signingOf(work, current);
    } catch (error) {
      if (isUnreadable(error)) await hold(work, [this.key], isoTime(work.context.clock.now() + UNREADABLE_MS));
      throw error;
    }
  }

  /** Waits until the next request is allowed by `maxPerSecond`, also after the last request of an earlier run. */
  async #pace({ maxPerSecond, lastDeliveryAt }: StoredWebhook): Promise<void> {
    if (maxPerSecond === undefined) return;
    const intervalMs = 1_000 / maxPerSecond;
    const sinceLastMs = this.shared.work.context.clock.now() - Date.parse(lastDeliveryAt ?? isoTime(0));
    // Never longer than the interval: a clock that was ahead may have written an instant in the future.
    const waitMs = this.#nextStart === 0 ? Math.min(intervalMs, intervalMs - sinceLastMs) : this.#nextStart - performance.now();
    if (waitMs > 0) await new Promise((resolve) => setTimeout(resolve, waitMs));
    this.#nextStart = Math.max(this.#nextStart, performance.now()) + intervalMs;
  }

  #start(current: StoredWebhook, next: StoredDelivery): void {
    const done = this.#send(current, next)
      .catch((error: unknown) => void (this.#fault ??= { error }))
      .finally(() => this.#inFlight.delete(next.id));
    this.#inFlight.set(next.id, done);
  }

  async #send(current: StoredWebhook, next: StoredDelivery): Promise<void> {
    const { slots, begins } = this.shared;
    const isFailing = current.failureCount > 0;
    const claimant = { tenantId: current.tenantId ?? null, isFailing, isFirst: this.#inFlight.size === 0 };
    await slots.run(claimant, async () => {
      // While it waited for a slot, another request may have stopped the endpoint.
      if (this.#isHalted() || !begins(this.key, isFailing)) return void (this.#lanes = 0);
      this.#requests++;
      await this.#request(current, next).finally(() => this.#requests--);
    });
  }

  async #request(current: StoredWebhook, next: StoredDelivery): Promise<void> {
    const { work, results, ended } = this.shared;
    if (isWithheld(current, next.event)) return void await results.drop(next, "withheld");
    const event = await new Collection(outboxEvent, work.store).get(next.eventId);
    if (!event || !isNumbered(event) || !this.#signing) return void await results.drop(next, "deleted");
    const attempted = await attempt(work, current, this.#signing, messageOf(current, event));
    ended(this.key, attempted);
    this.#tally = withAttempt(this.#tally, attempted, work.context.clock.now());
    if (attempted.outcome === "success") this.#lanes++;
    // Deleted meanwhile, and the webhook probably too: the next read shows it.
    if (!await results.record(current, next, attempted)) this.#queue = [];
  }
}

/** Deliveries that are due at the same instant are sent in the order of their events. */
function byDueTime(a: StoredDelivery, b: StoredDelivery): number {
  return Date.parse(a.nextRetryAt ?? "") - Date.parse(b.nextRetryAt ?? "") || a.seq - b.seq;
}
