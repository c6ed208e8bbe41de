import type { Stored } from "../../core/collection.ts";
import { TenantReadService } from "../../core/entity-service.ts";
import type { CreateInput, UpdateInput } from "../../core/fields.ts";
import type { UnitOfWork } from "../../core/unit-of-work.ts";
import type { JsonObject } from "../../kernel/json.ts";
import type { ChangeOptions } from "../../kernel/version.ts";
import { metricOf } from "../metrics/catalogue.ts";
import { LIMITS_WITHOUT_METRIC } from "../plans/entity.ts";
import { metricChecks } from "../plans/limits.ts";
import { shortTenantId } from "../tenants/entity.ts";
import { type EntitlementChange, grantChanges } from "./changes.ts";
import { type Grant, grant, type GrantKind } from "./entity.ts";
import { assertPlatform, checkedGrant, edited } from "./grants.ts";
import { entitlementsOf } from "./reads.ts";
import { one } from "./rules.ts";
import { type EntitlementsView, type EntitlementView, versionAt, viewAt } from "./view.ts";

export type StoredGrant = Stored<typeof grant>;
export type GrantCreate = CreateInput<typeof grant>;
export type GrantUpdate = UpdateInput<typeof grant>;

/** A tenant's grants. Each change also changes the tenant's entitlements and the limits of its usage, in the same commit. */
export class GrantService extends TenantReadService<typeof grant> {
  constructor(work: UnitOfWork) {
    super(work, grant);
  }

  /** Throws `validation_failed`, `already_exists`, `forbidden`, and `not_found` if the tenant does not exist. */
  async create(tenantId: string, data: GrantCreate, options: ChangeOptions = {}): Promise<StoredGrant> {
    assertPlatform(this.work);
    const input = { ...this.records.checkCreate(data), tenantId: shortTenantId(tenantId) };
    const decide = async () => {
      const record = checkedGrant(this.records.newRecord(input), null, this.work.now());
      const [checks, effects] = await Promise.all([this.#metricChecks(record), this.#effects(record, record)]);
      return { record, checks, ...effects };
    };
    return await this.records.create("grant.created", decide, options, input as JsonObject);
  }

  /** Applies a JSON merge patch. Null if there is no such grant. Throws `validation_failed`, `forbidden`. */
  async update(tenantId: string, id: string, updates: GrantUpdate, options: ChangeOptions = {}): Promise<StoredGrant | null> {
    assertPlatform(this.work);
    return await this.records.patch(this.keyOf(tenantId, id), updates, options, async (after, before) => {
      const record = checkedGrant(after, before, this.work.now());
      return { record, ...await this.#effects(before, record) };
    });
  }

  /** Returns whether the grant existed. */
  async delete(tenantId: string, id: string, options: ChangeOptions = {}): Promise<boolean> {
    assertPlatform(this.work);
    const remove = (before: StoredGrant) => this.#effects(before, null);
    return await this.records.remove(this.keyOf(tenantId, id), options, "grant.deleted", remove) !== null;
  }

  async #effects({ tenantId, id }: Grant, after: Grant | null): Promise<EntitlementChange> {
    return await grantChanges(this.work, tenantId, (grants) => edited(grants, id, after, this.work.now()));
  }

  async #metricChecks({ kind, key }: Grant) {
    return kind === "limit" ? await metricChecks(this.work, [key], () => "/key") : [];
  }
}

/** A tenant's features and limits at the present instant. */
export class EntitlementService {
  constructor(private readonly work: UnitOfWork) {}

  /** Null if there is no such tenant. */
  async get(tenantId: string): Promise<EntitlementsView | null> {
    const record = await entitlementsOf(this.work, shortTenantId(tenantId));
    return record && viewAt(record, this.work.now());
  }

  /**
   * One feature or limit. Without a kind, a key that is no limit is a feature. Null if there is no such tenant. Throws `not_found` for a
   * limit that neither is in the entitlements nor names a metric.
   */
  async check(tenantId: string, key: string, kind?: GrantKind): Promise<EntitlementView | null> {
    const record = await entitlementsOf(this.work, shortTenantId(tenantId));
    if (!record) return null;
    const now = this.work.now();
    const { isNamed = true, ...shown } = one(record, key, kind, now);
    if (!isNamed && !LIMITS_WITHOUT_METRIC.has(key)) await metricOf(this.work, key);
    return { ...shown, version: versionAt(record, now) };
  }
}
