import { isoTime } from "../../kernel/clock.ts";
import type { Delivery } from "./entity.ts";

/** Seconds before each attempt of a delivery, from the failure of the attempt before it. */
export const ATTEMPT_DELAYS = [0, 5, 300, 1_800, 7_200, 18_000, 36_000, 50_400, 72_000, 86_400] as const;
export const MAX_ATTEMPTS = ATTEMPT_DELAYS.length;
/** Each delay is longer or shorter by up to this part, so that deliveries that failed together are not repeated together. */
const JITTER = 0.1;
/** The longest time that a receiver's `Retry-After` can ask for. */
export const MAX_RETRY_AFTER_MS = 24 * 3_600_000;

/**
 * What an attempt came to. `gone`: status 410, the receiver wants no more events. `busy`: 429 or 503, it can take none at present.
 * `rejected`: any other status that is not 2xx. `unreachable`: there was no response.
 */
export type Outcome = "success" | "gone" | "busy" | "rejected" | "unreachable";

/** One attempt, as it ended. */
export interface Attempted {
  readonly outcome: Outcome;
  /** When it began, ISO. */
  readonly at: string;
  readonly durationMs: number;
  readonly statusCode?: number;
  /** Why it failed, for the owner of the webhook. */
  readonly error?: string;
  /** How the response's body begins. */
  readonly responseBody?: string;
  /** What `Retry-After` asks for, from the end of the attempt. */
  readonly retryAfterMs?: number;
}

export function outcomeOf(status: number): Outcome {
  if (status >= 200 && status < 300) return "success";
  if (status === 410) return "gone";
  return status === 429 || status === 503 ? "busy" : "rejected";
}

/** Milliseconds until the next attempt after so many failed ones; null after the last. `random` is from 0 to 1. */
export function retryDelayMs(failed: number, random: number): number | null {
  const seconds = ATTEMPT_DELAYS[failed];
  return seconds === undefined ? null : Math.round(seconds * 1_000 * (1 - JITTER + 2 * JITTER * random));
}

/** Milliseconds that `Retry-After` (RFC 9110 §10.2.3: seconds or an HTTP date) asks for, at most 24 hours; undefined if it is invalid. */
export function retryAfterMs(header: string | undefined, nowMs: number): number | undefined {
  if (header === undefined) return undefined;
  const text = header.trim();
  const ms = /^\d{1,15}$/.test(text) ? Number(text) * 1_000 : / GMT$/.test(text) ? Date.parse(text) - nowMs : NaN;
  return Number.isNaN(ms) ? undefined : Math.min(MAX_RETRY_AFTER_MS, Math.max(0, ms));
}

/** The members of a delivery that an attempt changes. */
export type DeliveryResult =
  & Pick<Delivery, "status" | "attemptCount" | "round" | "nextRetryAt">
  & Partial<Pick<Delivery, "deliveredAt" | "responseBody">>;

/** The delivery after an attempt: sent, or failed after the last attempt, or due again, not before the receiver asks for it. */
export function afterAttempt(
  { attemptCount, round }: Pick<Delivery, "attemptCount" | "round">,
  { outcome, responseBody, retryAfterMs: wanted = 0 }: Attempted,
  random: number,
  nowMs: number,
): DeliveryResult {
  const counted = { attemptCount: attemptCount + 1, round: round + 1, ...(responseBody === undefined ? {} : { responseBody }) };
  if (outcome === "success") return { ...counted, status: "success", nextRetryAt: null, deliveredAt: isoTime(nowMs) };
  const delayMs = outcome === "gone" ? null : retryDelayMs(counted.round, random);
  if (delayMs === null) return { ...counted, status: "failed", nextRetryAt: null };
  return { ...counted, status: "pending", nextRetryAt: isoTime(nowMs + Math.max(delayMs, wanted)) };
}
