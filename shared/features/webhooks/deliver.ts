import type { JobRun } from "../../core/job.ts";
import { Collection } from "../../core/collection.ts";
import { outboxEvent } from "../../core/outbox-event.ts";
import { isoTime } from "../../kernel/clock.ts";
import type { Entry } from "../../kv/store.ts";
import { ATTEMPT_TIMEOUT_MS } from "./attempt.ts";
import { dispatch, type Dispatched } from "./dispatch.ts";
import { Endpoint, type Shared } from "./endpoint.ts";
import { type Webhook, webhook } from "./entity.ts";
import { replayStep } from "./replays.ts";
import { Results } from "./results.ts";
import type { Attempted } from "./schedule.ts";
import { hold } from "./settle.ts";
import { Slots } from "./slots.ts";

/** How long a run goes on while there is work. */
const RUN_MS = 20_000;
/** While a request of the run is in flight, the other endpoints are served until then. An Edge Function is ended after 150 s. */
const LAST_START_MS = 45_000;
/** When nothing more may begin, the requests in flight have so long to end before the next run can begin beside them. */
const HANDOVER_MS = 500;
/** How long the requests of a run that has ended may take until their results are written. */
const HOLD_MS = ATTEMPT_TIMEOUT_MS + 5_000;
/** A request that takes longer is not begun when the run should end soon. */
const SLOW_MS = 2_000;
/** How often new events are looked for while requests are in flight. */
const POLL_MS = 250;
/** What a run may cost, about 1.5 ms of CPU each: more than the 2 s of an Edge Function would end it in the middle. */
const BUDGET = 1_000;
/** Of a request over TLS; of an endpoint, besides its requests; of an event; of a page of a replay; of looking for work. */
const COST = { request: 1, endpoint: 1.5, event: 0.2, page: 15, look: 2 } as const;
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
  /** Requests that were in flight when the run ended. */
  readonly inFlight: number;
  /** Resolves when their results have been written. Throws what the database refused. */
  readonly rest: Promise<void>;
}

/**
 * One run of the job: numbers new events and sends what is due, until nothing is due and nothing is in flight, or its time or CPU is
 * used up. Endpoints do not wait for each other, and new events are taken while slow receivers are waited for.
 */
export class DeliveryRun {
  readonly #active = new Map<string, { readonly endpoint: Endpoint; readonly isFailing: boolean; readonly ended: Promise<unknown> }>();
  /** Endpoints that this run leaves alone: they failed for a reason of ours, such as a secret that cannot be decrypted. */
  readonly #left = new Set<string>();
  /** Endpoints whose last response in this run took long. */
  readonly #slow = new Set<string>();
  /** All that were due by then are skipped. Thousands may be, which are not read again and again. */
  #skipped: string | null = null;
  readonly #shared: Shared;
  readonly #startedMs: number;
  readonly #done = { events: 0, requests: 0, succeeded: 0 };
  #fault: { readonly error: unknown } | null = null;
  #replayed = 0;
  #spent = 0;
  #changed = false;
  #held: Promise<unknown> = Promise.resolve();
  #wake: () => void = () => {};

  constructor(private readonly run: JobRun) {
    const { work } = run;
    this.#startedMs = work.context.clock.now();
    this.#shared = {
      work,
      slots: new Slots(),
      results: new Results(work),
      begins: (key, isFailing) => this.#begins(key, isFailing),
      ended: (key, attempted) => this.#ended(key, attempted),
      held: () => this.#held,
    };
  }

  async deliver(): Promise<Delivered> {
    for (;;) {
      this.#spent += COST.look;
      const { events, more } = await this.#orFault(() => this.#dispatch(), { events: 0, more: false });
      const replays = await this.#orFault(() => this.#replay(), 0);
      const started = await this.#orFault(() => this.#startDue(), 0);
      if (this.#active.size === 0 && (this.#fault || events + started + replays === 0)) break;
      if (!this.#fault && !this.#isWithin(LAST_START_MS)) return await this.#handOver();
      if (!more && replays === 0) await this.#change();
    }
    if (this.#fault) throw this.#fault.error;
    return { ...this.#done, inFlight: 0, rest: Promise.resolve() };
  }

  /**
   * Ends the run while requests are in flight: the next run serves the others, instead of waiting for receivers that hang. Until the
   * results of these requests are written, no other run sends to their endpoints.
   */
  async #handOver(): Promise<Delivered> {
    await this.#within(HANDOVER_MS, this.#all());
    const open = [...this.#active].filter(([, { endpoint }]) => endpoint.requests > 0);
    const until = isoTime(this.#nowMs() + HOLD_MS);
    this.#held = this.#orFault(() => hold(this.#shared.work, open.map(([key]) => key), until), undefined);
    await this.#held;
    const inFlight = open.reduce((sum, [, { endpoint }]) => sum + endpoint.requests, 0);
    const rest = this.#all().then(() => {
      if (this.#fault) throw this.#fault.error;
    });
    if (this.#fault) await rest;
    return { ...this.#done, inFlight, rest };
  }

  async #all(): Promise<void> {
    await Promise.all([...this.#active.values()].map(({ ended }) => ended));
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
    if (!this.#isWithin(this.#lastMs())) return { events: 0, more: false };
    const { events, webhooks, more, invalid } = await dispatch(this.#shared.work);
    this.#done.events += events;
    this.#spent += events * COST.event;
    for (const key of webhooks) this.#active.get(key)?.endpoint.wake();
    const outbox = new Collection(outboxEvent, this.#shared.work.store);
    // The read throws what is wrong with the event, which then becomes a dead letter.
    await this.run.each(invalid.map((id) => ({ id, tenantId: null })), ({ id }) => outbox.get(id));
    return { events, more };
  }

  /** Works off one page of a replay. Returns how many: 1, or 0 if none is due. */
  async #replay(): Promise<number> {
    if (this.#replayed >= MAX_REPLAY_PAGES || !this.#isWithin(RUN_MS)) return 0;
    if (!await replayStep(this.#shared.work)) return 0;
    this.#replayed++;
    this.#spent += COST.page;
    return 1;
  }

  /** Begins with the endpoints that are due, the earliest first. Returns how many. */
  async #startDue(): Promise<number> {
    const { store } = this.#shared.work;
    const from = this.#skipped === null ? {} : { from: this.#skipped };
    const where = [{ field: "dueAt", ...from, to: isoTime(this.#nowMs() + 1) }];
    let isFirst = true;
    let started = 0;
    let after: string | null = null;
    for (let page = 0; page < MAX_PAGES && this.#mayStart(false); page++) {
      const query = { entity: webhook, where, orderBy: [{ field: "dueAt", direction: "asc" as const }], limit: PAGE };
      const { entries, cursor } = await store.query(after === null ? query : { ...query, cursor: after });
      for (const entry of entries) {
        isFirst &&= this.#isSkipped(entry);
        if (isFirst) this.#skipped = valueOf(entry).dueAt ?? null;
        else if (this.#start(entry)) started++;
      }
      if (cursor === null) break;
      after = cursor;
    }
    return started;
  }

  /** Whether this run does not begin with the endpoint any more. */
  #isSkipped(entry: Entry): boolean {
    return this.#left.has(entry.key) || (isFailing(entry) && !this.#isTime(RUN_MS - ATTEMPT_TIMEOUT_MS));
  }

  #start(entry: Entry): boolean {
    const { key, tenantId } = entry;
    const failing = isFailing(entry);
    if (this.#active.has(key) || this.#left.has(key) || !this.#mayStart(failing)) return false;
    this.#spent += COST.endpoint;
    const endpoint = new Endpoint(this.#shared, key);
    const ended = this.run.each([{ id: key, tenantId }], () => endpoint.run())
      .then((handled) => handled === 0 && this.#left.add(key), (error: unknown) => this.#fault ??= { error })
      .finally(() => {
        this.#active.delete(key);
        this.#changed = true;
        this.#wake();
      });
    this.#active.set(key, { endpoint, isFailing: failing, ended });
    return true;
  }

  #mayStart(isFailing: boolean): boolean {
    const failing = isFailing ? [...this.#active.values()].filter((each) => each.isFailing).length : 0;
    return this.#active.size < MAX_ENDPOINTS && failing < MAX_FAILING && this.#mayBegin(isFailing);
  }

  /** An endpoint that has failed or was slow is not tried late in the run, which would wait for its response and serve nobody. */
  #mayBegin(isFailing: boolean, isSlow = false): boolean {
    if (this.#fault !== null) return false;
    if (isFailing) return this.#isWithin(RUN_MS - ATTEMPT_TIMEOUT_MS);
    return this.#isWithin(isSlow ? LAST_START_MS - ATTEMPT_TIMEOUT_MS : this.#lastMs());
  }

  #begins(key: string, isFailing: boolean): boolean {
    if (!this.#mayBegin(isFailing, this.#slow.has(key))) return false;
    this.#done.requests++;
    this.#spent += COST.request;
    return true;
  }

  #ended(key: string, { outcome, durationMs }: Attempted): void {
    if (outcome === "success") this.#done.succeeded++;
    if (durationMs >= SLOW_MS) this.#slow.add(key);
    else this.#slow.delete(key);
  }

  #lastMs(): number {
    return this.#active.size > 0 ? LAST_START_MS : RUN_MS;
  }

  #isWithin(untilMs: number): boolean {
    return this.#spent < BUDGET && this.#isTime(untilMs);
  }

  #isTime(untilMs: number): boolean {
    return this.#nowMs() - this.#startedMs < untilMs;
  }

  #nowMs(): number {
    return this.#shared.work.context.clock.now();
  }

  /** Waits until an endpoint has ended, or it is time to look for new events. */
  async #change(): Promise<void> {
    if (!this.#changed) await this.#within(POLL_MS, new Promise<void>((resolve) => this.#wake = resolve));
    this.#changed = false;
  }

  /** Waits, but no longer than `ms`. */
  async #within(ms: number, what: Promise<unknown>): Promise<void> {
    let timer: ReturnType<typeof setTimeout> | undefined;
    const over = new Promise<void>((resolve) => timer = setTimeout(resolve, ms));
    await Promise.race([what, over]).finally(() => clearTimeout(timer));
  }
}

function valueOf({ value }: Entry): Pick<Partial<Webhook>, "dueAt" | "failureCount"> {
  return value as Partial<Webhook>;
}

function isFailing(entry: Entry): boolean {
  return Number(valueOf(entry).failureCount ?? 0) > 0;
}
