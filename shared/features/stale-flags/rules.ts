import type { Flag, FlagRule } from "../flags/entity.ts";
import type { FlagEvaluation } from "./entity.ts";

export const STALE_REASONS = ["not_evaluated", "only_delivered", "always_on", "always_off", "overrides_expired"] as const;
export type StaleReason = (typeof STALE_REASONS)[number];

/** Why a flag is stale, and since when. */
export interface Finding {
  readonly reason: StaleReason;
  readonly since: string;
}

/** What the store says of one flag. */
export interface FlagFacts {
  readonly flag: Flag;
  /** Null for a flag that was imported without it. */
  readonly evaluation: FlagEvaluation | null;
  /** Whether a live override gives a tenant something else than the flag gives the others. */
  readonly isOverridden: boolean;
  /** The earliest expiry of an override that has expired. Null if none has. */
  readonly expiredSince: string | null;
}

/** The findings of one flag. `cutoff`: the instant before which something must have been so. */
export function findingsOf({ flag, evaluation, isOverridden, expiredSince }: FlagFacts, cutoff: string): Finding[] {
  const created = evaluation?.createdAt ?? flag.created;
  const { lastEvaluatedAt, lastDeliveredAt } = evaluation ?? {};
  const unused = latest(lastEvaluatedAt, lastDeliveredAt) ?? created;
  const unasked = lastEvaluatedAt ?? created;
  const unchanged = flag.updated;
  const constant = constantResult(flag);
  return [
    ...unused <= cutoff ? [{ reason: "not_evaluated", since: unused } as const] : [],
    ...unused > cutoff && unasked <= cutoff ? [{ reason: "only_delivered", since: unasked } as const] : [],
    ...constant !== null && unchanged <= cutoff && (flag.status === "disabled" || !isOverridden)
      ? [{ reason: `always_${constant}`, since: unchanged } as const]
      : [],
    ...expiredSince === null ? [] : [{ reason: "overrides_expired", since: expiredSince } as const],
  ];
}

/** Whether the flag alone, without overrides, gives every tenant the same. Null if it can differ. */
export function constantResult(flag: Flag): "on" | "off" | null {
  const { scope, enabledForTenants = [], disabledForTenants = [], enabledForPlans = [], rules = [] } = flag;
  if (flag.status === "disabled") return "off";
  const results = new Set<Outcome>();
  if (disabledForTenants.length > 0) results.add("off");
  if (enabledForTenants.length > 0) results.add("on");
  if (scope === "plan") results.add("off");
  const isOpen = flag.status === "enabled" && (scope !== "plan" || enabledForPlans.length > 0);
  for (const outcome of isOpen ? [...rules.map((rule) => ruleOutcome(flag, rule)), lastOutcome(flag)] : ["off" as const]) {
    results.add(outcome);
  }
  const [only, ...others] = results;
  const hasOneVariant = Object.values(flag.weights ?? {}).filter((weight) => weight > 0).length <= 1;
  return others.length > 0 || only === undefined || only === "mixed" || (only === "on" && !hasOneVariant) ? null : only;
}

type Outcome = "on" | "off" | "mixed";

function ruleOutcome({ onVariant }: Flag, { enabled = true, rolloutPercentage, variant }: FlagRule): Outcome {
  if (variant !== undefined && variant !== onVariant) return "mixed";
  return rolloutPercentage === undefined ? (enabled ? "on" : "off") : shareOutcome(rolloutPercentage);
}

function lastOutcome({ scope, rolloutPercentage }: Flag): Outcome {
  if (rolloutPercentage !== undefined) return shareOutcome(rolloutPercentage);
  return scope === "tenant" ? "off" : "on";
}

function shareOutcome(percentage: number): Outcome {
  return percentage >= 100 ? "on" : percentage <= 0 ? "off" : "mixed";
}

function latest(a: string | undefined, b: string | undefined): string | undefined {
  return a !== undefined && b !== undefined ? (a > b ? a : b) : a ?? b;
}
