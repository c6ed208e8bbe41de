import { InnkeepError, isInnkeepError } from "../kernel/errors.ts";
import type { Logger } from "../kernel/logger.ts";
import { sha256Hex } from "../kernel/sha256.ts";
import { keyOf } from "../kv/define.ts";
import type { Store } from "../kv/store.ts";
import type { RateLimit, RateLimits } from "./caller.ts";
import { answered, costUnder, counted, decisionOf, denied, leaseUsed, openAccount, stepOf, wantedBy } from "./rate-account.ts";
import type { RateAccount, RateDecision } from "./rate-account.ts";
import { rateLimitBucket } from "./rate-limit-bucket.ts";

export type { RateDecision };

/** Whom a call is charged to. A person has one bucket in each tenant. */
export type Payer =
  | { readonly kind: "user"; readonly subject: string; readonly tenantId: string | null }
  | { readonly kind: "key"; readonly id: string }
  | { readonly kind: "address"; readonly address: string };

export interface ChargeOptions {
  /** Tokens of the call. Default: 1. */
  readonly cost?: number;
  /** The payer's own limit. Default: the one it was last charged under, else that of its kind. */
  readonly limit?: RateLimit | undefined;
}

export interface RateLimiterOptions {
  /** The service-level store. */
  readonly store: Pick<Store, "take">;
  readonly logger: Logger;
  readonly limits: RateLimits;
  /** Milliseconds of a monotonic clock. Default: `performance.now()`. */
  readonly monotonicMs?: () => number;
}

interface Held {
  account: RateAccount;
  key?: string;
  /** Until then the database is not asked, because another session has locked the bucket. */
  pausedUntilMs?: number;
}

const MAX_PAYERS = 10_000;
/** After a failure the database is not asked for this time: for one bucket if it is locked, else for all. */
const PAUSE_MS = 1_000;
const WARN_EVERY_MS = 60_000;

/**
 * Token buckets in the store. Under load, a process takes several tokens at once, so that most calls need no database call; calls
 * that are denied without asking are charged later. While the store does not answer, or another session has locked the bucket, calls
 * are allowed: the API itself needs the same store, and limits must not end what still works.
 */
export class RateLimiter {
  /** By payer, the least recently charged first. */
  readonly #held = new Map<string, Held>();
  readonly #now: () => number;
  #pausedUntilMs = -Infinity;
  #warnedAtMs = -Infinity;

  constructor(private readonly options: RateLimiterOptions) {
    this.#now = options.monotonicMs ?? (() => performance.now());
  }

  /** Whether the payer's limit is known, so that a call can be charged before its credential is read. */
  knows(payer: Payer): boolean {
    return payer.kind !== "key" || this.#held.has(nameOf(payer));
  }

  /** Remembers the payer's own limit; without one, that of its kind. Returns whether it was charged under another one so far. */
  learn(payer: Payer, limit: RateLimit | undefined): boolean {
    const before = this.#held.get(nameOf(payer))?.account.limit;
    const now = limit ?? this.options.limits[payer.kind];
    this.#holdOf(payer, now);
    return before !== undefined && !isSame(before, now);
  }

  /** Charges a call. Null if the store does not answer. Never rejects. */
  async charge(payer: Payer, { cost: asked = 1, limit }: ChargeOptions = {}): Promise<RateDecision | null> {
    const held = this.#holdOf(payer, limit);
    const cost = costUnder(held.account.limit, asked);
    const nowMs = this.#now();
    held.account = counted(held.account, cost, nowMs);
    const step = stepOf(held.account, cost, nowMs);
    if (step === "ask") return await this.#ask(payer, held, cost);
    held.account = step === "lease" ? leaseUsed(held.account, cost) : denied(held.account, cost);
    return decisionOf(held.account, step === "lease", cost, nowMs);
  }

  async #ask(payer: Payer, held: Held, cost: number): Promise<RateDecision | null> {
    if (this.#now() < Math.max(this.#pausedUntilMs, held.pausedUntilMs ?? -Infinity)) return null;
    const { limit: { limit: capacity, windowSeconds }, owed } = held.account;
    const wanted = wantedBy(held.account);
    const asked = held.account = { ...held.account, owed: 0 };
    try {
      const key = held.key ??= keyOf(rateLimitBucket, { hash: await sha256Hex(nameOf(payer)) });
      const taken = await this.options.store.take({ key, capacity, windowSeconds, cost, owed, wanted });
      const nowMs = this.#now();
      // The answer says nothing of the bucket under a limit that was learned meanwhile.
      const isCurrent = isSame(held.account.limit, asked.limit);
      const account = answered(isCurrent ? held.account : asked, taken, nowMs);
      if (isCurrent) held.account = account;
      return decisionOf(account, taken.granted, cost, nowMs);
    } catch (error) {
      held.account = denied(held.account, owed);
      const untilMs = this.#now() + PAUSE_MS;
      if (isInnkeepError(error, "write_conflict")) held.pausedUntilMs = untilMs;
      else this.#pausedUntilMs = untilMs;
      this.#warn(error);
      return null;
    }
  }

  #holdOf(payer: Payer, given: RateLimit | undefined): Held {
    const name = nameOf(payer);
    const found = this.#held.get(name);
    const limit = given ?? found?.account.limit ?? this.options.limits[payer.kind];
    const held = found ?? { account: openAccount(limit, this.#now()) };
    if (!isSame(held.account.limit, limit)) held.account = openAccount(limit, this.#now());
    this.#held.delete(name);
    this.#held.set(name, held);
    const [oldest] = this.#held.keys();
    if (this.#held.size > MAX_PAYERS && oldest !== undefined) this.#held.delete(oldest);
    return held;
  }

  #warn(error: unknown): void {
    const nowMs = this.#now();
    if (nowMs - this.#warnedAtMs < WARN_EVERY_MS) return;
    this.#warnedAtMs = nowMs;
    this.options.logger.warn("rate_limits_unavailable", {
      code: error instanceof InnkeepError ? error.code : "internal",
      error: String(error),
    });
  }
}

/** Unambiguous, because no part before the last contains a space. */
function nameOf(payer: Payer): string {
  if (payer.kind === "key") return `key ${payer.id}`;
  return payer.kind === "address" ? `address ${payer.address}` : `user ${payer.tenantId ?? ""} ${payer.subject}`;
}

function isSame(a: RateLimit, b: RateLimit): boolean {
  return a.limit === b.limit && a.windowSeconds === b.windowSeconds;
}
