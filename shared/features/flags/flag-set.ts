import { Collection, type Stored } from "../../core/collection.ts";
import type { Platform } from "../../core/platform.ts";
import { Records } from "../../core/records.ts";
import type { UnitOfWork } from "../../core/unit-of-work.ts";
import type { JsonObject } from "../../kernel/json.ts";
import { keyOf } from "../../kv/define.ts";
import { isSegment } from "../../kv/key.ts";
import type { Entry, Mutation } from "../../kv/store.ts";
import { type Tenant, tenant as tenantEntity } from "../tenants/entity.ts";
import { flag, flagOverride, flagSet, MAX_FLAGS } from "./entity.ts";
import type { Subject } from "./evaluation.ts";

export type StoredFlag = Stored<typeof flag>;
export type StoredOverride = Stored<typeof flagOverride>;

/** All flags of the platform, at one revision. */
export interface FlagSet {
  /** By key. */
  readonly flags: readonly StoredFlag[];
  /** The flag with this key, else with this id. */
  find(keyOrId: string): StoredFlag | undefined;
}

export const SET_KEY = keyOf(flagSet, { id: "current" });

/** The part of every commit that changes a flag, with which other processes notice the change. */
export function revisionMutation(work: UnitOfWork): Mutation {
  const initial = { id: "current", revision: 0, updatedAt: work.now() };
  return {
    op: "increment",
    key: SET_KEY,
    add: [{ path: ["revision"], by: 1 }],
    initial: { value: initial },
    merge: { updatedAt: work.now() },
  };
}

interface Kept {
  readonly version: string;
  readonly loading: Promise<FlagSet>;
  /** Set when it is loaded. */
  set?: FlagSet;
}

/** One set for each backend. A process has one backend. */
const kept = new WeakMap<Platform, Kept>();

/**
 * The flags at the revision that was read, or newer. Every evaluation reads the revision, so a set that a commit has changed is
 * never used. Without a revision there is nothing to compare, and the flags are read.
 */
async function setAt(work: UnitOfWork, revision: Entry | null): Promise<FlagSet> {
  if (!revision) return await readSet(work);
  const known = kept.get(work.platform);
  if (known?.version === revision.version) return known.set ?? await known.loading;
  const entry: Kept = { version: revision.version, loading: readSet(work) };
  kept.set(work.platform, entry);
  try {
    return entry.set = await entry.loading;
  } catch (error) {
    if (kept.get(work.platform) === entry) kept.delete(work.platform);
    throw error;
  }
}

/** The flags at this instant. Waits once, unless a flag has changed since the last call. */
export async function currentSet(work: UnitOfWork): Promise<FlagSet> {
  return await setAt(work, await work.read(SET_KEY));
}

/** One statement reads all flags, so they are of one instant. */
async function readSet(work: UnitOfWork): Promise<FlagSet> {
  const flags = new Collection(flag, work.store);
  const { entries } = await work.store.query({
    entity: flag,
    scope: null,
    orderBy: [{ field: "key", direction: "asc" }],
    limit: MAX_FLAGS,
  });
  const found = entries.flatMap((entry) => {
    const record = flags.readIfValid(entry);
    // One damaged record must not stop the others. It evaluates as unknown.
    if (!record) work.platform.logger.error("flag_invalid", { key: entry.key });
    return record ?? [];
  });
  const [byKey, byId] = [new Map(found.map((one) => [one.key, one])), new Map(found.map((one) => [one.id, one]))];
  return { flags: found, find: (keyOrId) => byKey.get(keyOrId) ?? byId.get(keyOrId) };
}

/** The age of a cached tenant, as another process may have changed its plan. Less than the 2 seconds of a changed flag (F22). */
const MAX_TENANT_AGE_MS = 1_000;

/** A tenant, its overrides by flag id, and the flags, at one instant. */
export interface TenantFlags {
  readonly tenant: Tenant;
  readonly set: FlagSet;
  readonly overrides: ReadonlyMap<string, StoredOverride>;
  /** Of all flags. Null if no commit has counted one. */
  readonly version: string | null;
}

/** Everything that decides on a tenant's flags. Waits once, unless a flag has changed since the last call. Null without the tenant. */
export async function allFlags(work: UnitOfWork, tenantId: string): Promise<TenantFlags | null> {
  if (!isSegment(tenantId)) return null;
  const [revision, tenant, overrides] = await Promise.all([
    work.read(SET_KEY),
    new Records(tenantEntity, work).get(tenantId),
    overridesOf(work, tenantId),
  ]);
  return tenant && { tenant, overrides, set: await setAt(work, revision), version: revision?.version ?? null };
}

/**
 * What decides on one flag, by key or id. Waits once, unless a flag has changed since the last call. One statement reads the revision and
 * the override, so a flag that is deleted meanwhile is never evaluated without its override. For the platform's callers the tenant
 * may be a second old. Null without the tenant.
 */
export async function oneFlag(work: UnitOfWork, keyOrId: string, tenantId: string): Promise<TenantFlags | null> {
  if (!isSegment(tenantId)) return null;
  let id = kept.get(work.platform)?.set?.find(keyOrId)?.id;
  for (;;) {
    const [revision, tenant, override] = await Promise.all([work.read(SET_KEY), tenantOf(work, tenantId), overrideOf(work, tenantId, id)]);
    if (!tenant) return null;
    const set = await setAt(work, revision);
    const found = set.find(keyOrId);
    if (!found || found.id === id) {
      return { tenant, set, overrides: new Map(found && override ? [[found.id, override]] : []), version: revision?.version ?? null };
    }
    id = found.id;
  }
}

/** A request of a tenant's own caller has read the tenant already. */
async function tenantOf(work: UnitOfWork, tenantId: string): Promise<Tenant | null> {
  if (work.context.tenantId !== null) return await new Records(tenantEntity, work).get(tenantId);
  return await work.platform.records.cached(tenantEntity, keyOf(tenantEntity, { id: tenantId }), MAX_TENANT_AGE_MS);
}

async function overrideOf(work: UnitOfWork, tenantId: string, flagId: string | undefined): Promise<StoredOverride | null> {
  const entry = flagId === undefined ? null : await work.store.get(keyOf(flagOverride, { tenantId, flagId }));
  return entry && new Collection(flagOverride, work.store).read(entry);
}

async function overridesOf(work: UnitOfWork, tenantId: string): Promise<Map<string, StoredOverride>> {
  const overrides = new Collection(flagOverride, work.store);
  const found = new Map<string, StoredOverride>();
  for await (const entry of work.store.entries({ prefix: `flag:${tenantId}`, pageSize: MAX_FLAGS })) {
    const record = overrides.readIfValid(entry);
    if (record) found.set(record.flagId, record);
    else work.platform.logger.error("flag_invalid", { key: entry.key });
  }
  return found;
}

type TenantOfSubject = Pick<Tenant, "id" | "plan" | "region" | "status">;

/** The tenant's own attributes take precedence over the context, so that a caller cannot choose its plan. */
export function subjectOf({ id: tenantId, plan, region, status }: TenantOfSubject, context: JsonObject, now: string): Subject {
  const own = { tenantId, plan, region, status };
  return { tenantId, plan, attributes: { ...context, ...own }, now };
}
