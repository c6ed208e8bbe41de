import { isoTime } from "../../kernel/clock.ts";
import type { CallOutcome } from "../connector-events/entity.ts";
import type { Circuit } from "./entity.ts";

/** Failed calls after which a circuit opens. */
export const OPENS_AFTER = 5;
/** How long an open circuit refuses calls, and how long a probe may take before another call is let through. */
export const PROBE_AFTER_MS = 60_000;
/** Calls with refused credentials, one after the other, after which the credentials count as broken. */
export const MAX_REFUSALS = 3;

export const CLOSED: Circuit = { state: "closed", failures: 0, refusals: 0 };

/** The outcomes that show that the provider does not work. One that refuses a call with a reason works. */
export function isFailure(outcome: CallOutcome, statusCode?: number): boolean {
  if (outcome === "unexpected") return statusCode === undefined || statusCode >= 500;
  return outcome === "unreachable" || outcome === "timeout" || outcome === "tls_failed";
}

/** `allowed`, `probe` for the one call that an open circuit lets through, or the instant of the next probe. */
export function admission({ state, nextProbeAt = "" }: Circuit, now: string): "allowed" | "probe" | { readonly retryAt: string } {
  if (state === "closed") return "allowed";
  return nextProbeAt <= now ? "probe" : { retryAt: nextProbeAt };
}

/** While its probe runs. If the probe never ends, another one follows. */
export function probing(circuit: Circuit, now: string): Circuit {
  return { ...circuit, state: "half_open", nextProbeAt: later(now) };
}

/** The circuit after a call. A call that began before the circuit opened does not move its next probe. */
export function afterCall(circuit: Circuit, outcome: CallOutcome, statusCode: number | undefined, now: string): Circuit {
  const refusals = outcome === "invalid_credentials" ? circuit.refusals + 1 : isAccepted(outcome) ? 0 : circuit.refusals;
  if (!isFailure(outcome, statusCode)) return { ...CLOSED, refusals };
  const failures = circuit.failures + 1;
  if (circuit.state === "open") return { ...circuit, failures, refusals };
  if (circuit.state === "closed" && failures < OPENS_AFTER) return { state: "closed", failures, refusals };
  return { state: "open", failures, refusals, openedAt: circuit.openedAt ?? now, nextProbeAt: later(now) };
}

/** Whether a call says that the credentials were accepted. */
function isAccepted(outcome: CallOutcome): boolean {
  return outcome === "ok" || outcome === "forbidden" || outcome === "not_found";
}

/** What changed for callers: a probe, which succeeds or fails, is part of the open circuit. */
export function transition(before: Circuit, after: Circuit): "circuit_opened" | "circuit_closed" | null {
  const [was, is] = [before.state !== "closed", after.state !== "closed"];
  if (was === is) return null;
  return is ? "circuit_opened" : "circuit_closed";
}

function later(now: string): string {
  return isoTime(Date.parse(now) + PROBE_AFTER_MS);
}
