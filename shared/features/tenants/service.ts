import { cascadePlan } from "../../core/cascade.ts";
import { Collection, type Stored } from "../../core/collection.ts";
import { EntityService } from "../../core/entity-service.ts";
import type { CreateInput, UpdateInput } from "../../core/fields.ts";
import { assertNotOver, withoutEnded } from "../../core/maintenance.ts";
import { type Filters, listPage, type Page, type Pagination, selectionOf, type Sort } from "../../core/paging.ts";
import type { UnitOfWork } from "../../core/unit-of-work.ts";
import { errors } from "../../kernel/errors.ts";
import type { JsonObject } from "../../kernel/json.ts";
import { assertMatch, type ChangeOptions } from "../../kernel/version.ts";
import { isSegment } from "../../kv/key.ts";
import { plan as planEntity } from "../plans/entity.ts";
import { loadPlan, planCheck } from "../plans/subscribers.ts";
import { movementChanges } from "../revenue/changes.ts";
import { REVENUE_STATUSES } from "../revenue/rules.ts";
import { currentSettings } from "../settings/current.ts";
import { assertSignUps, placeOnPlan } from "../settings/enforcement.ts";
import { decideChange, type TenantMove } from "./change.ts";
import { domainClaim, subdomainClaim } from "./claims.ts";
import { shortTenantId, type Tenant, tenant, TENANT_STATUSES, type TenantStatus } from "./entity.ts";
import { assertMetadata } from "./metadata.ts";
import { assertAllowed, refuseClaim } from "./names.ts";
import { overviewOf, type TenantOverview } from "./overview.ts";
import { countCascading, removalOf } from "./removal.ts";
import { assertNoLegalHold, forbiddenMetadata, type StatusMove } from "./rules.ts";
import { initialFields, setupChanges } from "./setup.ts";
import { signUpNow } from "./sign-ups.ts";

export type StoredTenant = Stored<typeof tenant>;
export type TenantCreate = CreateInput<typeof tenant>;
export type TenantUpdate = UpdateInput<typeof tenant>;

/** The number of records that a deletion removed, or would remove, by kind. */
export interface RemovalReport {
  readonly tenantId: string;
  readonly dryRun: boolean;
  readonly removed: Readonly<Record<string, number>>;
  /** Kinds of records that are retained. */
  readonly kept: string[];
}

export interface TenantStats {
  readonly total: number;
  readonly byStatus: Record<TenantStatus, number>;
  readonly byPlan: Record<string, number>;
  /** The monthly revenue of active and trial tenants, in the major unit, exact to 2 decimals. */
  readonly totalMrr: number;
  readonly currency: string;
}

export class TenantService extends EntityService<typeof tenant> {
  constructor(work: UnitOfWork) {
    super(work, tenant);
  }

  /** Like `EntityService.list`. The filter `plan` takes ids and full keys. */
  override async list(filters: Filters = {}, sort?: Sort, pagination?: Pagination): Promise<Page<StoredTenant>> {
    const { plan, ...others } = filters;
    const plans = plan === undefined ? {} : { plan: [plan].flat().map((id) => String(id).replace(/^plan:(?=.)/, "")) };
    return await listPage(this.records, { ...selectionOf(tenant, { ...others, ...plans }), sort, pagination });
  }

  /** The tenant with its plan, subscription, entitlements and this month's usage. Null if there is no such tenant. */
  async overview(tenantId: string): Promise<TenantOverview | null> {
    return await overviewOf(this.work, shortTenantId(tenantId));
  }

  /** The tenant with this id, else with this subdomain, else with this custom domain. Null if there is none. */
  async resolve(idOrSubdomainOrDomain: string): Promise<StoredTenant | null> {
    const name = shortTenantId(idOrSubdomainOrDomain);
    if (!isSegment(name)) return null;
    const lower = name.toLowerCase();
    const [byId, bySubdomain, byDomain] = await Promise.all([
      this.get(name),
      this.#claimant(subdomainClaim, lower),
      this.#claimant(domainClaim, lower),
    ]);
    const claimant = bySubdomain ?? byDomain;
    return byId ?? (claimant === null ? null : await this.get(claimant));
  }

  /** The tenant that claims a name. Ids are not considered, because one tenant's id may equal another's subdomain. */
  async byName(name: { readonly subdomain: string } | { readonly domain: string }): Promise<StoredTenant | null> {
    const claimant = "subdomain" in name
      ? await this.#claimant(subdomainClaim, name.subdomain)
      : await this.#claimant(domainClaim, name.domain);
    return claimant === null ? null : await this.get(claimant);
  }

  async #claimant(claim: typeof subdomainClaim | typeof domainClaim, name: string): Promise<string | null> {
    return (await new Collection(claim, this.work.store).get(name))?.tenantId ?? null;
  }

  /**
   * Creates the tenant with its claims, subscription, entitlements, usage records, audit entry and event in one commit. Throws
   * `validation_failed`, `already_exists`, `subdomain_taken`, `domain_taken`, `plan_inactive`, `plan_full`, `signups_disabled`, `trials_disabled`, `tenant_deleted`.
   */
  override async create(data: TenantCreate, options: ChangeOptions = {}): Promise<StoredTenant> {
    const input = this.records.checkCreate(data);
    assertAllowed(input, this.work.platform);
    assertMetadata(input["metadata"] as Tenant["metadata"], "/metadata");
    return await this.records.create(
      "tenant.created",
      async () => {
        const [plan, settings] = await Promise.all([loadPlan(this.work, String(input["plan"]), "/plan"), currentSettings(this.work)]);
        assertSignUps(settings);
        const nowMs = this.work.context.clock.now();
        const record = this.records.newRecord({ ...input, ...initialFields(input, plan, settings, nowMs) });
        assertNotOver(undefined, record.maintenance, this.work.now());
        const place = record.status === "cancelled" ? [] : await placeOnPlan(this.work, settings, plan.id);
        const { changes, eventData } = setupChanges(record, plan, this.work);
        const moved = await movementChanges(this.work, null, record);
        return {
          record,
          changes: [...changes, ...moved],
          mutations: [signUpNow(nowMs)],
          checks: [planCheck(plan), ...place],
          refuse: refuseClaim(record),
          eventData,
        };
      },
      options,
      input as JsonObject,
    );
  }

  /** Applies a JSON merge patch. Null if there is no such tenant. A plan change also changes `mrr`, subscription and limits. */
  override async update(tenantId: string, updates: TenantUpdate, options: ChangeOptions = {}): Promise<StoredTenant | null> {
    const patch = this.records.checkUpdate(updates);
    if (this.work.context.tenantId !== null) {
      const forbidden = forbiddenMetadata(patch["metadata"]);
      if (forbidden.length > 0) throw errors.forbiddenFields(forbidden);
    }
    assertAllowed(patch, this.work.platform);
    // The state machine decides on the status, and on the reason that goes with it.
    const { status, suspensionReason: reason, ...fields } = patch as Partial<Tenant>;
    return await this.#change(tenantId, "tenant.updated", { to: status, reason }, options, fields);
  }

  /** Throws `validation_failed` without a reason. Suspending a suspended tenant replaces the reason. */
  async suspend(tenantId: string, reason: string, options: ChangeOptions = {}): Promise<StoredTenant | null> {
    return await this.#change(tenantId, "tenant.suspended", { to: "suspended", reason }, options);
  }

  /** Restores the status before the suspension, trial or active. Throws `invalid_transition`. */
  async unsuspend(tenantId: string, options: ChangeOptions = {}): Promise<StoredTenant | null> {
    return await this.#change(tenantId, "tenant.unsuspended", { unsuspension: true }, options);
  }

  async cancel(tenantId: string, options: ChangeOptions = {}): Promise<StoredTenant | null> {
    return await this.#change(tenantId, "tenant.cancelled", { to: "cancelled" }, options);
  }

  /** Makes a cancelled tenant active. Throws `invalid_transition` for a pending, trial or suspended one. */
  async reactivate(tenantId: string, options: ChangeOptions = {}): Promise<StoredTenant | null> {
    return await this.#change(tenantId, "tenant.reactivated", { to: "active", reactivation: true }, options);
  }

  async #change(
    tenantId: string,
    action: string,
    move: StatusMove,
    options: ChangeOptions,
    fields: Partial<Tenant> = {},
  ): Promise<StoredTenant | null> {
    return await this.records.change(tenantId, options, action, async (before) => {
      const merged = fields.maintenance ? withoutEnded(before, this.work.context.clock.now()) : before;
      const patched: TenantMove["patched"] = this.records.patched(merged, fields);
      if (fields.metadata) assertMetadata(patched.metadata, "/metadata");
      assertNotOver(before.maintenance, patched.maintenance, this.work.now());
      return await decideChange(this.work, before, { ...move, patched, explicitMrr: fields.mrr !== undefined });
    }, { ...fields, ...move } as JsonObject);
  }

  /** Returns whether the tenant existed. Throws `legal_hold`. */
  override async delete(tenantId: string, options: ChangeOptions = {}): Promise<boolean> {
    return await this.remove(tenantId, options) !== null;
  }

  /** Deletes the tenant and its records in one transaction; `dryRun` only counts them. Null if there is no tenant. Throws `legal_hold`. */
  async remove(tenantId: string, options: ChangeOptions & { readonly dryRun?: boolean } = {}): Promise<RemovalReport | null> {
    const { dryRun = false, idempotencyKey } = options;
    const registry = await this.work.platform.registry();
    const kept = cascadePlan(registry).filter(({ rule }) => rule === "retain").map(({ entity }) => entity);
    const call = idempotencyKey === undefined
      ? undefined
      : { operation: "tenant.deleted", key: idempotencyKey, request: { tenantId, dryRun } };
    const { result, deleted } = await this.work.transact<{ readonly report: RemovalReport | null }>(async () => {
      const before = await this.get(tenantId);
      if (!before) return { done: { report: null }, isFailure: true };
      assertMatch(before.version, options);
      assertNoLegalHold(before);
      if (dryRun) {
        const report = { tenantId: before.id, dryRun, removed: await countCascading(this.work, before.id), kept };
        return { done: { report }, resultOf: before.id };
      }
      return {
        commit: { ...removalOf(before), result: { report: { tenantId: before.id, dryRun, removed: {}, kept } } },
        // Counts alone, which outlive the tenant: a repeat says what was removed.
        resultOf: null,
      };
    }, call);
    return result.report && (dryRun ? result.report : { ...result.report, removed: deleted });
  }

  async countByStatus(): Promise<Record<TenantStatus, number>> {
    const rows = await this.work.store.aggregate({ entity: tenant, groupBy: ["status"] });
    const counts = new Map(rows.map(({ group, count }) => [group[0], count]));
    return Object.fromEntries(TENANT_STATUSES.map((status) => [status, counts.get(status) ?? 0])) as Record<TenantStatus, number>;
  }

  /** By plan id. Contains plans without tenants, and plans that no longer exist but that a tenant names. */
  async countByPlan(): Promise<Record<string, number>> {
    const [rows, plans] = await Promise.all([
      this.work.store.aggregate({ entity: tenant, groupBy: ["plan"] }),
      new Collection(planEntity, this.work.store).list({ limit: 100 }),
    ]);
    const none = plans.records.map(({ id }) => [id, 0] as const);
    return Object.fromEntries([...none, ...rows.map(({ group, count }) => [String(group[0]), count] as const)]);
  }

  /** The sum of `mrr` of active and trial tenants, in the major unit. The database sums decimals, so it is exact. */
  async calculateTotalMRR(): Promise<number> {
    const where = [{ field: "status", in: REVENUE_STATUSES }];
    const [row] = await this.work.store.aggregate({ entity: tenant, groupBy: [], sum: "mrr", where });
    return Number(row?.sum ?? "0");
  }

  async stats(): Promise<TenantStats> {
    const [byStatus, byPlan, totalMrr] = await Promise.all([this.countByStatus(), this.countByPlan(), this.calculateTotalMRR()]);
    const total = Object.values(byStatus).reduce((sum, count) => sum + count, 0);
    return { total, byStatus, byPlan, totalMrr, currency: this.work.platform.currency };
  }
}
