import { domainClaim, subdomainClaim } from "./claims.ts";
import { plan as planEntity } from "../plans/entity.ts";
import { registry } from "../index.ts";
import { shortTenantId, tenant as tenantEntity, TENANT_STATUSES } from "./entity.ts";
import type { TenantStatus } from "./entity.ts";
import { tenantCreate, tenantUpdate } from "./input.ts";
import type { TenantCreate, TenantUpdate } from "./input.ts";
import { cascadePlan } from "../../core/cascade.ts";
import { errors, InnkeepError } from "../../kernel/errors.ts";
import type { JsonObject, JsonValue } from "../../kernel/json.ts";
import { assertMatch } from "../../kernel/version.ts";
import type { ChangeOptions } from "../../kernel/version.ts";
import { Collection, parseInput } from "../../core/collection.ts";
import type { Stored } from "../../core/collection.ts";
import { isSegment } from "../../kv/key.ts";
import type { Store } from "../../kv/store.ts";
import type { HostRules } from "./host-names.ts";
import { listPage, selectionOf } from "../../core/paging.ts";
import type { Filters, Page, Pagination, Sort } from "../../core/paging.ts";
import { loadPlan, planCheck } from "../plans/subscribers.ts";
import { decideChange } from "./change.ts";
import type { TenantMove } from "./change.ts";
import { assertNames, newTenant, refuseClaim, setupChanges } from "./setup.ts";
import type { UnitOfWork } from "../../core/unit-of-work.ts";

export type StoredTenant = Stored<typeof tenantEntity>;

/** What a deletion removed (or would), by kind of record. */
export interface RemovalReport {
  readonly tenantId: string;
  readonly dryRun: boolean;
  readonly removed: Readonly<Record<string, number>>;
  /** Kinds that outlive the tenant. */
  readonly kept: readonly string[];
}

export interface TenantStats {
  readonly total: number;
  readonly byStatus: Readonly<Record<TenantStatus, number>>;
  readonly byPlan: Readonly<Record<string, number>>;
  /** Active and trial tenants' monthly revenue, major unit, exact to 2 decimals. */
  readonly totalMrr: number;
  readonly currency: string;
}

/** What the platform says of all its tenants. */
export interface TenantRules {
  /** ISO 4217 code. */
  readonly currency: string;
  readonly hosts: HostRules;
}

const REVENUE_STATUSES: readonly TenantStatus[] = ["active", "trial"];

export class TenantService {
  readonly #tenants: Collection<typeof tenantEntity>;

  constructor(private readonly store: Store, private readonly unitOfWork: UnitOfWork, private readonly platform: TenantRules) {
    this.#tenants = new Collection(tenantEntity, store);
  }

  /** Filters by field, search and creation time; `sort` as `-mrr,name` or `{field, direction}`; newest first when left out. */
  async list(filters: Filters = {}, sort?: Sort, pagination?: Pagination): Promise<Page<StoredTenant>> {
    const { plan, ...others } = filters;
    const plans = plan === undefined ? {} : { plan: [plan].flat().map((id) => String(id).replace(/^plan:/, "")) };
    const selection = selectionOf(tenantEntity, { ...others, ...plans });
    return await listPage(this.#tenants, { ...selection, sort, pagination }, [{ field: "createdAt", direction: "desc" }]);
  }

  /** By short id or full key; null when there is none. */
  async get(tenantId: string): Promise<StoredTenant | null> {
    return await this.#tenants.get(tenantId);
  }

  /** The tenant behind an id, a subdomain or a custom domain. */
  async resolve(idOrSubdomainOrDomain: string): Promise<StoredTenant | null> {
    const name = shortTenantId(idOrSubdomainOrDomain);
    if (!isSegment(name)) return null;
    const lower = name.toLowerCase();
    const [byId, bySubdomain, byDomain] = await Promise.all([
      this.#tenants.get(name),
      new Collection(subdomainClaim, this.store).get(lower),
      new Collection(domainClaim, this.store).get(lower),
    ]);
    const claim = bySubdomain ?? byDomain;
    return byId ?? (claim && await this.#tenants.get(claim.tenantId));
  }

  /** Tenant, claims, subscription, usage records, audit entry and event in one commit. */
  async create(data: TenantCreate, options: { readonly idempotencyKey?: string } = {}): Promise<StoredTenant> {
    const input = parseInput(tenantCreate, data);
    assertNames(input, this.platform.hosts);
    const { clock } = this.unitOfWork.context;
    const idempotency = options.idempotencyKey === undefined
      ? undefined
      : { operation: "tenant.create", key: options.idempotencyKey, request: JSON.parse(JSON.stringify(data)) as JsonValue };
    const created = await this.unitOfWork.transact<StoredTenant>(async () => {
      const plan = await loadPlan(this.store, input.plan, "/plan");
      const record = newTenant(input, plan, clock);
      const changes = setupChanges(record, plan, clock);
      const [change] = changes;
      return {
        commit: {
          changes,
          checks: [planCheck(plan)],
          audit: [{
            action: "tenant.created",
            resource: "tenant",
            resourceId: record.id,
            tenantId: record.id,
            ...(change ? { of: change } : {}),
          }],
          events: [{ type: "tenant.created", subject: record.id, tenantId: record.id, data: { tenant: record as JsonObject } }],
          refuse: (conflict) =>
            refuseClaim(record)(conflict) ??
              (conflict === this.#tenants.key(record) ? new InnkeepError("already_exists", `tenant ${record.id} exists`) : undefined),
          answer: ({ versions }) => ({ ...record, version: versions[this.#tenants.key(record)] ?? "" }),
        },
      };
    }, idempotency);
    // A replayed answer carries no version: the record has moved on since.
    return created.version === "" ? await this.get(created.id) ?? created : created;
  }

  /** JSON merge patch; null when there is no such tenant. A plan change moves mrr, subscription and limits with it. */
  async update(tenantId: string, updates: TenantUpdate, options: ChangeOptions = {}): Promise<StoredTenant | null> {
    const patch = parseInput(tenantUpdate, updates);
    assertNames({ subdomain: patch.subdomain, customDomain: patch.customDomain ?? undefined }, this.platform.hosts);
    return await this.#change(tenantId, options, { action: "tenant.updated", patch });
  }

  /** Throws `validation_failed` without a reason. Suspending a suspended tenant changes nothing. */
  async suspend(tenantId: string, reason: string, options: ChangeOptions = {}): Promise<StoredTenant | null> {
    return await this.#change(tenantId, options, { action: "tenant.suspended", to: "suspended", reason });
  }

  /** Restores the state before the suspension, trial or active. */
  async unsuspend(tenantId: string, options: ChangeOptions = {}): Promise<StoredTenant | null> {
    return await this.#change(tenantId, options, { action: "tenant.unsuspended", unsuspension: true });
  }

  async cancel(tenantId: string, options: ChangeOptions = {}): Promise<StoredTenant | null> {
    return await this.#change(tenantId, options, { action: "tenant.cancelled", to: "cancelled" });
  }

  /** The one way back from `cancelled`. */
  async reactivate(tenantId: string, options: ChangeOptions = {}): Promise<StoredTenant | null> {
    return await this.#change(tenantId, options, { action: "tenant.reactivated", to: "active", reactivation: true });
  }

  async #change(tenantId: string, options: ChangeOptions, move: TenantMove): Promise<StoredTenant | null> {
    if (!await this.get(tenantId)) return null;
    return await this.unitOfWork.transact<StoredTenant>(async () => {
      const before = await this.get(tenantId);
      if (!before) throw errors.notFound("tenant", tenantId);
      assertMatch(before.version, options);
      return await decideChange(this.store, this.unitOfWork, before, move);
    });
  }

  /** Whether there was a tenant to delete. */
  async delete(tenantId: string): Promise<boolean> {
    return await this.remove(tenantId) !== null;
  }

  /** The cascade in one transaction, with a report by kind; `dryRun` only reports. Null when there is no such tenant. */
  async remove(tenantId: string, options: ChangeOptions & { readonly dryRun?: boolean } = {}): Promise<RemovalReport | null> {
    const { dryRun = false } = options;
    const found = await this.get(tenantId);
    if (!found) return null;
    const kept = cascadePlan(registry).filter(({ rule }) => rule === "kept").map(({ entity }) => entity);
    return await this.unitOfWork.transact<RemovalReport>(async () => {
      const before = await this.get(found.id);
      if (!before) throw errors.notFound("tenant", tenantId);
      assertMatch(before.version, options);
      if (before.metadata?.["legalHold"] === true) throw new InnkeepError("legal_hold", `tenant ${before.id} is under legal hold`);
      if (dryRun) return { done: { tenantId: before.id, dryRun, removed: await this.#countOwned(before.id), kept } };
      const note = {
        action: "tenant.deleted",
        resource: "tenant",
        resourceId: before.id,
        of: { entity: tenantEntity, before, after: null },
      };
      return {
        commit: {
          checks: [{ key: this.#tenants.key(before), version: before.version }],
          mutations: [{ op: "deleteOwner", tenantId: before.id }],
          audit: [{ ...note, tenantId: before.id }, note],
          events: [{ type: "tenant.deleted", subject: before.id, tenantId: before.id, data: { tenantId: before.id, name: before.name } }],
          answer: ({ deleted }) => ({ tenantId: before.id, dryRun, removed: deleted, kept }),
        },
      };
    });
  }

  async #countOwned(tenantId: string): Promise<Record<string, number>> {
    const going = registry.filter((entity) => cascadePlan([entity]).some(({ rule }) => rule === "goes" || rule === "depends"));
    const counts = await Promise.all(going.map(async (entity) => {
      return [entity.name, await this.store.count({ entity, scope: tenantId })] as const;
    }));
    return Object.fromEntries(counts.filter(([, count]) => count > 0));
  }

  async countByStatus(): Promise<Record<TenantStatus, number>> {
    const rows = await this.store.aggregate({ entity: tenantEntity, groupBy: ["status"] });
    const counts = new Map(rows.map(({ group, count }) => [group[0], count]));
    return Object.fromEntries(TENANT_STATUSES.map((status) => [status, counts.get(status) ?? 0])) as Record<TenantStatus, number>;
  }

  /** Every plan there is, and every other id a tenant still names. */
  async countByPlan(): Promise<Record<string, number>> {
    const [rows, plans] = await Promise.all([
      this.store.aggregate({ entity: tenantEntity, groupBy: ["plan"] }),
      new Collection(planEntity, this.store).list({ limit: 100 }),
    ]);
    const none = plans.records.map(({ id }) => [id, 0] as const);
    return Object.fromEntries([...none, ...rows.map(({ group, count }) => [String(group[0]), count] as const)]);
  }

  /** Sum of `mrr` over active and trial tenants, summed as decimals in the database. */
  async calculateTotalMRR(): Promise<number> {
    const [row] = await this.store.aggregate({
      entity: tenantEntity,
      groupBy: [],
      sum: "mrr",
      where: [{ field: "status", in: REVENUE_STATUSES }],
    });
    return Number(row?.sum ?? "0");
  }

  async stats(): Promise<TenantStats> {
    const [byStatus, byPlan, totalMrr] = await Promise.all([this.countByStatus(), this.countByPlan(), this.calculateTotalMRR()]);
    return {
      total: Object.values(byStatus).reduce((sum, count) => sum + count, 0),
      byStatus,
      byPlan,
      totalMrr,
      currency: this.platform.currency,
    };
  }
}
