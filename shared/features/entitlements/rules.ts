import { changedFields } from "../../core/merge-patch.ts";
import type { Subscription } from "../subscriptions/entity.ts";
import type { Tenant } from "../tenants/entity.ts";
import type { Entitlements, Grant, GrantItem, Source } from "./entity.ts";

/** What decides on entitlements, apart from the clock. */
export type Basis = Pick<Entitlements, "tenantId" | "active" | "planId" | "planVersion" | "planFeatures" | "planLimits" | "grants">;

interface Decided {
  readonly key: string;
  readonly source: Source;
  /** The grants that decide. Absent if the plan does. */
  readonly grantIds?: string[];
  /** When the first of them expires, and the entitlement changes. */
  readonly expiresAt?: string;
}

export type FeatureItem = Decided;
export interface LimitItem extends Decided {
  /** Null means unlimited. */
  readonly limit: number | null;
}

/** The entitlements at one instant, as events show them. */
export interface Resolved {
  readonly revision: number;
  readonly active: boolean;
  /** The features that the tenant has, by key. */
  readonly features: FeatureItem[];
  /** The limits that the plan or a grant names, by key. Another metric is unlimited. */
  readonly limits: LimitItem[];
}

/** The largest sum of limits. */
const MAX_LIMIT = 1e15;

/** A grant no longer counts at its instant. */
export function isExpired({ expiresAt }: Pick<GrantItem, "expiresAt">, now: string): boolean {
  return expiresAt !== undefined && expiresAt <= now;
}

function unexpired(grants: readonly GrantItem[], now: string): GrantItem[] {
  return grants.filter((grant) => !isExpired(grant, now));
}

/** Each grant that has expired since the record was written is a revision of its own, so that one revision has one content. */
export function revisionAt({ revision, grants }: Pick<Entitlements, "revision" | "grants">, now: string): number {
  return revision + grants.length - unexpired(grants, now).length;
}

/** The entitlements at an instant, without the grants that have expired. */
export function resolved(record: Basis & Pick<Entitlements, "revision">, now: string): Resolved {
  const live = unexpired(record.grants, now);
  const keysOf = (kind: GrantItem["kind"], ofPlan: readonly string[]) =>
    [
      ...new Set([...ofPlan, ...live.filter((grant) => grant.kind === kind).map(({ key }) => key)]),
    ].toSorted();
  const of = (kind: GrantItem["kind"], key: string) => live.filter((grant) => grant.kind === kind && grant.key === key);
  const features = keysOf("feature", record.planFeatures).map((key) =>
    featureOf(key, record.planFeatures.includes(key), of("feature", key))
  );
  return {
    revision: revisionAt(record, now),
    active: record.active,
    features: features.filter(({ allowed }) => allowed).map(({ allowed: _, ...item }) => item),
    limits: keysOf("limit", Object.keys(record.planLimits)).map((key) => limitOf(key, planLimit(record, key), of("limit", key))),
  };
}

/** Whether one feature is allowed, and what decides. `grants` are its grants that have not expired. */
export function featureOf(key: string, inPlan: boolean, grants: readonly GrantItem[]): FeatureItem & { readonly allowed: boolean } {
  const override = newest(grants.filter(({ source }) => source === "override"));
  if (override) return { key, allowed: override.value === true, ...decidedBy([override]) };
  const longest = lasting(grants);
  return inPlan || !longest ? { key, allowed: inPlan, source: "plan" } : { key, allowed: true, ...decidedBy([longest]) };
}

/** One limit, and what decides. `grants` are its grants that have not expired. */
export function limitOf(key: string, ofPlan: number | null, grants: readonly GrantItem[]): LimitItem {
  const override = newest(grants.filter(({ source }) => source === "override"));
  if (override) return { key, limit: amountOf(override), ...decidedBy([override]) };
  if (ofPlan === null || grants.length === 0) return { key, limit: ofPlan, source: "plan" };
  const unlimited = lasting(grants.filter((grant) => amountOf(grant) === null));
  if (unlimited) return { key, limit: null, ...decidedBy([unlimited]) };
  const sum = grants.reduce((limit, grant) => limit + (amountOf(grant) ?? 0), ofPlan);
  return { key, limit: Math.min(sum, MAX_LIMIT), ...decidedBy(grants) };
}

export type One = Decided & Pick<Resolved, "active" | "revision"> & {
  readonly kind: GrantItem["kind"];
  readonly allowed?: boolean;
  readonly limit?: number | null;
  /** Whether the plan or a grant names the limit. */
  readonly isNamed?: boolean;
};

/** One feature or limit at an instant. Without a kind: the limit if there is one, else the feature. Nothing is allowed while inactive. */
export function one(record: Entitlements, key: string, kind: GrantItem["kind"] | undefined, now: string): One {
  const { active } = record;
  const grants = unexpired(record.grants, now).filter((grant) => grant.key === key);
  const [ofFeature, ofLimit] = [grants.filter((grant) => grant.kind === "feature"), grants.filter((grant) => grant.kind === "limit")];
  const isNamed = Object.hasOwn(record.planLimits, key) || ofLimit.length > 0;
  const shared = { active, revision: revisionAt(record, now) };
  if (kind === "limit" || (kind === undefined && isNamed)) {
    return { kind: "limit", ...limitOf(key, planLimit(record, key), ofLimit), ...shared, isNamed };
  }
  const feature = featureOf(key, record.planFeatures.includes(key), ofFeature);
  return { kind: "feature", ...feature, allowed: feature.allowed && active, ...shared };
}

/** The plan's limit of a metric. One that the plan does not name is unlimited. */
export function planLimit({ planLimits }: Pick<Entitlements, "planLimits">, key: string): number | null {
  return Object.hasOwn(planLimits, key) ? planLimits[key] ?? null : null;
}

/** The limits by metric. A metric without one is unlimited. */
export function limitsOf({ limits }: Resolved): Record<string, number | null> {
  return Object.fromEntries(limits.map(({ key, limit }) => [key, limit]));
}

/** What of a grant decides. */
export function itemOf({ id, kind, key, value, source, expiresAt, createdAt }: Grant): GrantItem {
  return { id, kind, key, value, source, ...(expiresAt === undefined ? {} : { expiresAt }), createdAt };
}

/** Whether the entitlements hold: while the tenant is on trial or active, and its subscription is not cancelled. */
export function isActive({ status }: Pick<Tenant, "status">, subscription: Pick<Subscription, "status"> | null): boolean {
  return (status === "trial" || status === "active") && subscription?.status !== "cancelled";
}

/** The next revision of the record. Null if nothing changed and no grant has expired. `before` is null for the first revision. */
export function revised(before: Entitlements | null, basis: Basis, now: string): Entitlements | null {
  const grants = unexpired(basis.grants, now).toSorted((a, b) => order(a.id, b.id));
  const { nextExpiryAt: _, ...after } = { ...before, ...basis, grants, updatedAt: now } as Entitlements;
  if (!before) return { ...after, revision: 1, ...nextExpiry(grants) } as Entitlements;
  const revision = revisionAt(before, now);
  const { nextExpiryAt: _before, ...valid } = { ...before, grants: unexpired(before.grants, now) };
  const changed = changedFields({ ...valid, revision }, { ...after, revision });
  const differs = Object.keys({ ...changed.before, ...changed.after }).length > 0;
  if (!differs && revision === before.revision) return null;
  return { ...after, revision: differs ? revision + 1 : revision, ...nextExpiry(grants) } as Entitlements;
}

/** The metrics whose limit differs. */
export function changedLimits(before: Resolved, after: Resolved): string[] {
  const [from, to] = [new Map(Object.entries(limitsOf(before))), new Map(Object.entries(limitsOf(after)))];
  return [...new Set([...from.keys(), ...to.keys()])].filter((key) => (from.get(key) ?? null) !== (to.get(key) ?? null));
}

function amountOf({ value }: GrantItem): number | null {
  return typeof value === "number" ? value : null;
}

function nextExpiry(grants: readonly GrantItem[]): { readonly nextExpiryAt?: string } {
  const first = earliest(grants);
  return first === undefined ? {} : { nextExpiryAt: first };
}

function earliest(grants: readonly GrantItem[]): string | undefined {
  return grants.map(({ expiresAt }) => expiresAt).filter((at) => at !== undefined).toSorted()[0];
}

/** Of several overrides, the one that was created last. */
function newest(grants: readonly GrantItem[]): GrantItem | undefined {
  return grants.toSorted((a, b) => order(b.createdAt, a.createdAt) || order(b.id, a.id))[0];
}

/** Of several grants with one effect, the one that lasts longest. */
function lasting(grants: readonly GrantItem[]): GrantItem | undefined {
  const end = ({ expiresAt }: GrantItem) => expiresAt ?? "~";
  return grants.toSorted((a, b) => order(end(b), end(a)) || order(a.id, b.id))[0];
}

function order(a: string, b: string): number {
  return a < b ? -1 : a > b ? 1 : 0;
}

/** A sum of grants and trials is a grant. */
function decidedBy(grants: readonly GrantItem[]): Pick<Required<Decided>, "source" | "grantIds"> & Pick<Decided, "expiresAt"> {
  const [first] = grants;
  const expiresAt = earliest(grants);
  const source = grants.every((grant) => grant.source === first?.source) ? first?.source ?? "grant" : "grant";
  return { source, grantIds: grants.map(({ id }) => id), ...(expiresAt === undefined ? {} : { expiresAt }) };
}
