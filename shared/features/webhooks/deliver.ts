import type { JobRun } from "../../core/job.ts";
import { Collection } from "../../core/collection.ts";
import { outboxEvent } from "../../core/outbox-event.ts";
import { isoTime } from "../../kernel/clock.ts";
import type { Entry } from "../../kv/store.ts";
import { ATTEMPT_TIMEOUT_MS } from "./attempt.ts";
import { dispatch, type Dispatched } from "./dispatch.ts";
import { Endpoint, type Shared } from "./endpoint.ts";
import { webhook } from "./entity.ts";
import { replayStep } from "./replays.ts";
import { Results } from "./results.ts";
import type { Attempted } from "./schedule.ts";
import { Slots } from "./slots.ts";

/** How long a run goes on while there is work. */
const RUN_MS = 20_000;
/** While a request of the run is in flight, the other endpoints are served until then. An Edge Function is ended after 150 s. */
const LAST_START_MS = 45_000;
/** How often new events are looked for while requests are in flight. */
const POLL_MS = 250;
/** Requests of a run. With about 1 ms of CPU each, this keeps a call under the 2 s of an Edge Function. */
const MAX_REQUESTS = 1_000;
/** Endpoints at the same time, and those of them that have failed since their last success. */
const MAX_ENDPOINTS = 300;
const MAX_FAILING = 100;
/** Pages of replays, of up to 180 deliveries each. */
const MAX_REPLAY_PAGES = 50;
const PAGE = 200;
const MAX_PAGES = 10;

export interface Delivered {
  readonly events: number;
  readonly requests: number;
  readonly succeeded: number;
}

/**
 * One run of the job: numbers new events and sends what is due, until nothing is due and nothing is in flight, or its time is over.
 * Endpoints do not wait for each other, and new events are taken while slow receivers are waited for.
 */
export class DeliveryRun {
  readonly #active = new Map<string, { readonly endpoint: Endpoint; readonly isFailing: boolean }>();
  /** Endpoints that this run leaves alone: they failed for a reason of ours, such as a secret that cannot be decrypted. */
  readonly #left = new Set<string>();
  readonly #shared: Shared;
  readonly #startedMs: number;
  readonly #done = { events: 0, requests: 0, succeeded: 0 };
  #fault: { readonly error: unknown } | null = null;
  #replayed = 0;
  #changed = false;
  #wake: () => void = () => {};

  constructor(private readonly run: JobRun) {
    const { work } = run;
    this.#startedMs = work.context.clock.now();
    this.#shared = {
      work,
      slots: new Slots(),
      results: new Results(work),
      begins: (isFailing) => this.#begins(isFailing),
      ended: (attempted) => this.#ended(attempted),
    };
  }

  async deliver(): Promise<Delivered> {
    for (;;) {
      const { events, more } = await this.#orFault(() => this.#dispatch(), { events: 0, more: false });
      const replays = await this.#orFault(() => this.#replay(), 0);
      const started = await this.#orFault(() => this.#startDue(), 0);
      if (this.#active.size === 0 && (this.#fault || events + started + replays === 0)) break;
      if (!more && replays === 0) await this.#change();
    }
    if (this.#fault) throw this.#fault.error;
    return this.#done;
  }

  /** After an error of the database nothing more is begun, and the error is thrown when the requests in flight have ended. */
  async #orFault<T>(run: () => Promise<T>, otherwise: T): Promise<T> {
    if (this.#fault) return otherwise;
    try {
      return await run();
    } catch (error) {
      this.#fault = { error };
      return otherwise;
    }
  }

  async #dispatch(): Promise<Pick<Dispatched, "events" | "more">> {
    if (!this.#isTime(this.#lastMs())) return { events: 0, more: false };
    const { events, webhooks, more, invalid } = await dispatch(this.#shared.work);
    this.#done.events += events;
    for (const key of webhooks) this.#active.get(key)?.endpoint.wake();
    const outbox = new Collection(outboxEvent, this.#shared.work.store);
    // The read throws what is wrong with the event, which then becomes a dead letter.
    await this.run.each(invalid.map((id) => ({ id, tenantId: null })), ({ id }) => outbox.get(id));
    return { events, more };
  }

  /** Works off one page of a replay. Returns how many: 1, or 0 if none is due. */
  async #replay(): Promise<number> {
    if (this.#replayed >= MAX_REPLAY_PAGES || !this.#isTime(RUN_MS)) return 0;
    if (!await replayStep(this.#shared.work)) return 0;
    this.#replayed++;
    return 1;
  }

  /** Begins with the endpoints that are due, the earliest first. Returns how many. */
  async #startDue(): Promise<number> {
    const { store } = this.#shared.work;
    const where = [{ field: "dueAt", to: isoTime(this.#nowMs() + 1) }];
    let started = 0;
    let after: string | null = null;
    for (let page = 0; page < MAX_PAGES && this.#mayStart(false); page++) {
      const query = { entity: webhook, where, orderBy: [{ field: "dueAt", direction: "asc" as const }], limit: PAGE };
      const { entries, cursor } = await store.query(after === null ? query : { ...query, cursor: after });
      started += entries.filter((entry) => this.#start(entry)).length;
      if (cursor === null) break;
      after = cursor;
    }
    return started;
  }

  #start({ key, tenantId, value }: Entry): boolean {
    const isFailing = Number((value as { readonly failureCount?: unknown }).failureCount ?? 0) > 0;
    if (this.#active.has(key) || this.#left.has(key) || !this.#mayStart(isFailing)) return false;
    const endpoint = new Endpoint(this.#shared, key);
    this.#active.set(key, { endpoint, isFailing });
    this.run.each([{ id: key, tenantId }], () => endpoint.run())
      .then((handled) => handled === 0 && this.#left.add(key), (error: unknown) => this.#fault ??= { error })
      .finally(() => {
        this.#active.delete(key);
        this.#changed = true;
        this.#wake();
      });
    return true;
  }

  #mayStart(isFailing: boolean): boolean {
    const failing = isFailing ? [...this.#active.values()].filter((each) => each.isFailing).length : 0;
    return this.#active.size < MAX_ENDPOINTS && failing < MAX_FAILING && this.#mayBegin(isFailing);
  }

  /** An endpoint that has failed is not tried late in the run, which would wait for its response. */
  #mayBegin(isFailing: boolean): boolean {
    if (this.#fault !== null || this.#done.requests >= MAX_REQUESTS) return false;
    return this.#isTime(isFailing ? RUN_MS - ATTEMPT_TIMEOUT_MS : this.#lastMs());
  }

  #begins(isFailing: boolean): boolean {
    if (!this.#mayBegin(isFailing)) return false;
    this.#done.requests++;
    return true;
  }

  #ended({ outcome }: Attempted): void {
    if (outcome === "success") this.#done.succeeded++;
  }

  #lastMs(): number {
    return this.#active.size > 0 ? LAST_START_MS : RUN_MS;
  }

  #isTime(untilMs: number): boolean {
    return this.#nowMs() - this.#startedMs < untilMs;
  }

  #nowMs(): number {
    return this.#shared.work.context.clock.now();
  }

  /** Waits until an endpoint has ended, or it is time to look for new events. */
  async #change(): Promise<void> {
    if (!this.#changed) {
      await new Promise<void>((resolve) => {
        const timer = setTimeout(resolve, POLL_MS);
        this.#wake = () => {
          clearTimeout(timer);
          resolve();
        };
      });
    }
    this.#changed = false;
  }
}
