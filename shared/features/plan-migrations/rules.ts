import { isoTime } from "../../kernel/clock.ts";
import { errors, type FieldError, InnkeepError } from "../../kernel/errors.ts";
import type { Condition } from "../../kv/store.ts";
import type { Plan, PlanTerms, PlanVersion } from "../plans/entity.ts";
import { changeWithKeptPrice, changeWithNextPeriod, type PlanChange, planChange } from "../subscriptions/proration.ts";
import type { Subscription } from "../subscriptions/entity.ts";
import type { Tenant } from "../tenants/entity.ts";
import { isUnderLegalHold } from "../tenants/rules.ts";
import type { MigrationStatus, PlanMigration, PlanMove } from "./entity.ts";

/** Which subscribers a migration moves, where to, and how. */
export type Scheme = Pick<PlanMigration, "planId" | "fromVersions" | "toPlanId" | "toVersion" | "cohort" | "mode">;

/** Throws `validation_failed` for versions that do not exist or are the target, and for an empty range of time. */
export function assertScheme({ planId, fromVersions, toPlanId, toVersion, cohort }: Scheme, source: Plan, target: Plan): void {
  const isSamePlan = planId === toPlanId;
  const unknown = fromVersions?.findIndex((n) => n > source.planVersion || (isSamePlan && n === toVersion)) ?? -1;
  const { createdFrom = "", createdTo } = cohort;
  const faults: (FieldError | false)[] = [
    toVersion > target.planVersion && fault("/toVersion", `must be a version of plan ${toPlanId}, from 1 to ${target.planVersion}`),
    unknown >= 0 && fault(`/fromVersions/${unknown}`, `must be another version of plan ${planId}, from 1 to ${source.planVersion}`),
    isSamePlan && toVersion === 1 && fromVersions === undefined &&
    fault("/fromVersions", "is required, because there is no version below version 1"),
    createdTo !== undefined && createdTo <= createdFrom && fault("/cohort/createdTo", "must be after createdFrom"),
  ];
  const found = faults.filter((each) => each !== false);
  if (found.length > 0) throw errors.validation(found);
}

function fault(path: string, message: string): FieldError {
  return { path, message, code: "invalid" };
}

/** The conditions on subscriptions, which an index serves. */
export function selectionOf({ planId, fromVersions, toPlanId, toVersion, cohort }: Scheme): Condition[] {
  const version = fromVersions
    ? [{ field: "planVersion", in: fromVersions }]
    : planId === toPlanId
    ? [{ field: "planVersion", to: toVersion }]
    : [];
  return [{ field: "planId", in: [planId] }, ...version, ...(cohort.status ? [{ field: "status", in: cohort.status }] : [])];
}

/** Whether the migration moves subscribers of this version. */
function isSource({ planId, fromVersions, toPlanId, toVersion }: Scheme, subscription: Subscription): boolean {
  const { planVersion: n } = subscription;
  return subscription.planId === planId && (fromVersions?.includes(n) ?? (planId !== toPlanId || n < toVersion));
}

export function isInCohort(scheme: Scheme, subscription: Subscription, { id, region, createdAt }: Tenant): boolean {
  const { status, region: regions, createdFrom = "", createdTo, tenantIds } = scheme.cohort;
  return isSource(scheme, subscription) &&
    (status === undefined || status.includes(subscription.status)) &&
    (regions === undefined || (region !== undefined && regions.includes(region))) &&
    createdAt >= createdFrom && (createdTo === undefined || createdAt < createdTo) &&
    (tenantIds === undefined || tenantIds.includes(id));
}

/** Why a subscriber is left where it is; null if it is moved. */
export function skipReason(scheme: Scheme, tenant: Tenant, subscription: Subscription): string | null {
  const { planId, planVersion, status } = subscription;
  if (planId === scheme.toPlanId && planVersion === scheme.toVersion) return "already_there";
  if (!isSource(scheme, subscription)) return "other_plan";
  if (status === "cancelled" || tenant.status === "cancelled") return "cancelled";
  return isUnderLegalHold(tenant) ? "legal_hold" : null;
}

/** A plan with the terms of one of its versions. */
export function planAt<P extends Plan>({ trialDays: _, ...plan }: P, version: PlanVersion): P {
  const { price, currency, interval, intervalCount, limits, features, trialDays, n } = version;
  const terms = { price, currency, interval, intervalCount, limits, features, ...(trialDays === undefined ? {} : { trialDays }) };
  return { ...plan, ...terms, planVersion: n } as unknown as P;
}

/** The subscription after its move. */
export function moved(mode: Scheme["mode"], subscription: Subscription, from: PlanTerms, to: Plan, now: string): PlanChange {
  if (mode === "next_period") return changeWithNextPeriod(subscription, from, to, now);
  return mode === "prorate" ? planChange(subscription, from, to, now) : changeWithKeptPrice(subscription, from, to, now);
}

const NEXT: Readonly<Record<MigrationStatus, readonly MigrationStatus[]>> = {
  draft: ["running", "cancelled"],
  running: ["paused", "cancelled"],
  paused: ["running", "cancelled"],
  completed: ["running"],
  cancelled: [],
};

function assertNext(from: MigrationStatus, to: MigrationStatus, allowed = NEXT[from]): void {
  if (!allowed.includes(to)) throw errors.transition(from, to, [...allowed], "A plan migration");
}

/** Started, or resumed after a pause. Only a retry starts a completed one again. Throws `invalid_transition`. */
export function started(migration: PlanMigration, now: string): PlanMigration {
  if (migration.status === "running") return migration;
  assertNext(migration.status, "running", migration.status === "completed" ? [] : NEXT[migration.status]);
  return { ...migration, status: "running", startedAt: migration.startedAt ?? now };
}

/** Paused or cancelled: no subscriber is moved any more. Throws `invalid_transition`. */
export function stopped(migration: PlanMigration, to: "paused" | "cancelled"): PlanMigration {
  if (migration.status === to) return migration;
  assertNext(migration.status, to);
  return { ...migration, status: to };
}

/** Running again, with those that were skipped or failed. Throws `invalid_transition`. */
export function retried(migration: PlanMigration): PlanMigration {
  const { status, phase } = migration;
  const { completedAt: _, ...rest } = migration;
  if (status === "draft") {
    const message = "You can retry only a migration that was started. Start this one.";
    throw new InnkeepError("invalid_transition", message, [], { from: status, to: "running", allowed: [...NEXT[status]] });
  }
  if (status !== "running") assertNext(status, "running");
  // Until all are listed, none has been tried.
  return { ...rest, status: "running", phase: phase === "list" ? "list" : "retry" } as PlanMigration;
}

export function completed(migration: PlanMigration, now: string): PlanMigration {
  return { ...migration, status: "completed", waveLeft: 0, completedAt: now };
}

/** When the job has something to do for a running migration: at once, or with the next wave. */
export function dueAt({ startAt = "", startedAt = "", phase, waveLeft, nextWaveAt = "" }: PlanMigration): string {
  const wave = phase === "move" && waveLeft === 0 ? nextWaveAt : "";
  return [startAt, startedAt, wave].toSorted().at(-1) ?? "";
}

/** With a new wave, if the last one is over. */
export function inWave(migration: PlanMigration, nowMs: number): PlanMigration {
  if (migration.waveLeft > 0) return migration;
  return { ...migration, waveLeft: migration.waveSize, nextWaveAt: isoTime(nowMs + migration.waveMinutes * 60_000) };
}

/** The counts after `n` moves went from one status to another; null for those that were not listed before. */
export function counted(migration: PlanMigration, from: PlanMove["status"] | null, to: PlanMove["status"], n = 1): PlanMigration {
  const less = from === null ? {} : { [from]: Math.max(0, migration[from] - n) };
  const waveLeft = from === "waiting" ? { waveLeft: Math.max(0, migration.waveLeft - n) } : {};
  return { ...migration, ...less, [to]: migration[to] + n, ...waveLeft };
}

/** Adds to the counts by name. */
export function tallied(counts: Readonly<Record<string, number>>, names: readonly string[]): Record<string, number> {
  return names.reduce<Record<string, number>>((sum, name) => ({ ...sum, [name]: (sum[name] ?? 0) + 1 }), { ...counts });
}
