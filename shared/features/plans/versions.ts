import { changedFields } from "../../core/merge-patch.ts";
import { Records } from "../../core/records.ts";
import type { Change, UnitOfWork } from "../../core/unit-of-work.ts";
import { InnkeepError } from "../../kernel/errors.ts";
import { keyOf } from "../../kv/define.ts";
import { type Plan, type PlanTerms, type PlanVersion, planVersion, TERMS } from "./entity.ts";

const ADVICE = "A platform admin must create the plan again.";

/** Which version of which plan a subscriber has, and the price if it kept another one. */
export interface Sold {
  readonly planId: string;
  readonly planVersion: number;
  readonly keptPrice?: Pick<PlanTerms, "price" | "currency" | "interval" | "intervalCount"> | undefined;
}

/** A new or changed plan. If its terms differ, it has its next version, which is created in the same commit. */
export function versioned(
  work: UnitOfWork,
  before: Plan | null,
  after: Plan,
): { readonly record: Plan; readonly changes: readonly Change[] } {
  const terms = termsOf(after);
  if (before && isSame(termsOf(before), terms)) return { record: after, changes: [] };
  const n = (before?.planVersion ?? 0) + 1;
  const version = { id: versionKey({ planId: after.id, planVersion: n }), planId: after.id, n, ...terms, createdAt: work.now() };
  return { record: { ...after, planVersion: n }, changes: [{ entity: planVersion, before: null, after: version }] };
}

/** The terms of a subscriber. Throws `not_found` if the version does not exist, which only an import can cause. */
export async function soldTerms(work: UnitOfWork, sold: Sold): Promise<PlanVersion> {
  const terms = await findTerms(work, sold);
  if (!terms) throw new InnkeepError("not_found", `Version ${sold.planVersion} of plan ${sold.planId} was not found. ${ADVICE}`);
  return terms;
}

/** The terms of a subscriber. Null if the version does not exist. */
export async function findTerms(work: UnitOfWork, sold: Sold): Promise<PlanVersion | null> {
  const version = await new Records(planVersion, work).get(versionKey(sold));
  return version && { ...version, ...sold.keptPrice };
}

export function versionKey({ planId, planVersion: n }: Sold): string {
  return keyOf(planVersion, { planId, n: String(n) });
}

function termsOf(record: PlanTerms): Record<string, unknown> {
  return Object.fromEntries(TERMS.filter((name) => record[name] !== undefined).map((name) => [name, record[name]]));
}

function isSame(before: Record<string, unknown>, after: Record<string, unknown>): boolean {
  const changed = changedFields(before, after);
  return Object.keys(changed.before).length + Object.keys(changed.after).length === 0;
}
