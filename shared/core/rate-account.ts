import type { Taken } from "../kv/take.ts";
import type { RateLimit } from "./caller.ts";

/** What this process knows of one bucket. Times are milliseconds of a monotonic clock. */
export interface RateAccount {
  readonly limit: RateLimit;
  /** The tokens in the database at `atMs`; null before the first answer. */
  readonly tokens: number | null;
  readonly atMs: number;
  /** Tokens that are already taken, for calls until `leaseEndsMs`. */
  readonly leased: number;
  readonly leaseEndsMs: number;
  /** What denied calls cost that the database has not charged yet. */
  readonly owed: number;
  /** What was called for since `sinceMs`, and in the period before it. */
  readonly used: number;
  readonly usedBefore: number;
  readonly sinceMs: number;
}

export interface RateDecision {
  readonly allowed: boolean;
  readonly limit: RateLimit;
  /** Whole tokens that are left. */
  readonly remaining: number;
  /** Seconds until the bucket is full or, of a denied call, until it would be allowed. */
  readonly resetSeconds: number;
}

/** What to do with a call: answer it from what is known, or ask the database. */
export type RateStep = "lease" | "deny" | "ask";

/** Tokens that were taken in advance are used within this time; the recent use is counted over as long. */
export const LEASE_MS = 1_000;
/** A denial without asking the database relies on what it said at most so long ago. */
const MAX_AGE_MS = 10_000;
const MAX_WANTED = 1_000;

export function openAccount(limit: RateLimit, nowMs: number): RateAccount {
  return { limit, tokens: null, atMs: nowMs, leased: 0, leaseEndsMs: nowMs, owed: 0, used: 0, usedBefore: 0, sinceMs: nowMs };
}

/** The cost that a call is charged: one that no full bucket could pay is charged the whole bucket. */
export function costUnder({ limit }: RateLimit, cost: number): number {
  return Math.min(cost, limit);
}

/** Counts a call. */
export function counted(account: RateAccount, cost: number, nowMs: number): RateAccount {
  const elapsedMs = nowMs - account.sinceMs;
  if (elapsedMs >= 0 && elapsedMs < LEASE_MS) return { ...account, used: account.used + cost };
  return { ...account, used: cost, usedBefore: elapsedMs >= 0 && elapsedMs < 2 * LEASE_MS ? account.used : 0, sinceMs: nowMs };
}

/**
 * Other processes only take tokens, so a bucket has at most what this process last saw and what was refilled since: a call that
 * costs more is denied without asking.
 */
export function stepOf(account: RateAccount, cost: number, nowMs: number): RateStep {
  const ageMs = nowMs - account.atMs;
  // A clock that was set back says nothing of the age.
  if (ageMs < 0) return "ask";
  if (account.leased >= cost && nowMs < account.leaseEndsMs) return "lease";
  const isKnown = account.tokens !== null && ageMs < MAX_AGE_MS;
  return isKnown && tokensAt(account, nowMs) < cost ? "deny" : "ask";
}

/** The tokens to take for later calls: as many as were used in a second. A caller that makes single calls gets none. */
export function wantedBy({ used, usedBefore }: RateAccount): number {
  const recent = Math.max(used, usedBefore);
  return recent < 2 ? 0 : Math.min(recent, MAX_WANTED);
}

export function leaseUsed(account: RateAccount, cost: number): RateAccount {
  return { ...account, leased: account.leased - cost };
}

/** The cost of a denied call is charged with the next call that asks the database. */
export function denied(account: RateAccount, cost: number): RateAccount {
  return { ...account, owed: Math.min(account.owed + cost, account.limit.limit) };
}

/** After an answer of the database. What is left of an earlier lease ends with it. */
export function answered(account: RateAccount, { tokens, more }: Taken, nowMs: number): RateAccount {
  const leased = (nowMs < account.leaseEndsMs ? account.leased : 0) + more;
  return { ...account, tokens, atMs: nowMs, leased, leaseEndsMs: more > 0 ? nowMs + LEASE_MS : account.leaseEndsMs };
}

export function decisionOf(account: RateAccount, allowed: boolean, cost: number, nowMs: number): RateDecision {
  const { limit } = account;
  const tokens = tokensAt(account, nowMs);
  // The bucket can fill up while some of its tokens are leased.
  const left = Math.min(limit.limit, tokens + (nowMs < account.leaseEndsMs ? account.leased : 0));
  const missing = allowed ? limit.limit - left : cost - tokens;
  const resetSeconds = Math.ceil(missing * limit.windowSeconds / limit.limit);
  return { allowed, limit, remaining: Math.max(0, Math.floor(left)), resetSeconds: Math.max(allowed ? 0 : 1, resetSeconds) };
}

/** At most what the bucket holds now. The least is the same as in the database. */
function tokensAt({ limit, tokens, atMs, owed }: RateAccount, nowMs: number): number {
  const refilled = (nowMs - atMs) * limit.limit / limit.windowSeconds / 1_000;
  return Math.max(1 - limit.limit, Math.min(limit.limit, (tokens ?? limit.limit) + refilled) - owed);
}
