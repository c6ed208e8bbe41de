import type { Stored } from "../../core/collection.ts";
import { EntityService } from "../../core/entity-service.ts";
import type { CreateInput, UpdateInput } from "../../core/fields.ts";
import { priceFault } from "../../core/money.ts";
import { listPage, type Page, type Pagination, selectionOf, type Sort } from "../../core/paging.ts";
import type { Interval } from "../../core/periods.ts";
import { Records } from "../../core/records.ts";
import type { UnitOfWork } from "../../core/unit-of-work.ts";
import { segment } from "../../core/values.ts";
import { errors, InnkeepError, isInnkeepError } from "../../kernel/errors.ts";
import { type JsonObject, pointerToken } from "../../kernel/json.ts";
import type { ChangeOptions } from "../../kernel/version.ts";
import { familyOf, keyOf } from "../../kv/define.ts";
import type { Check } from "../../kv/store.ts";
import { subscription as subscriptionEntity } from "../subscriptions/entity.ts";
import { tenant as tenantEntity } from "../tenants/entity.ts";
import { DEFAULT_PLANS } from "./default-plans.ts";
import { LIMITS_WITHOUT_METRIC, type Plan, plan, planVersion } from "./entity.ts";
import { metricChecks } from "./limits.ts";
import type { StoredPlan } from "./subscribers.ts";
import { versioned } from "./versions.ts";

export type { StoredPlan };
export type StoredPlanVersion = Stored<typeof planVersion>;
export type PlanCreate = CreateInput<typeof plan>;
export type PlanUpdate = UpdateInput<typeof plan>;

const NAME_IS_NO_ID = "is required, because this name is not a valid id; an id has 1-128 characters of A-Z a-z 0-9 . _ ~ @ + -";

export class PlanService extends EntityService<typeof plan> {
  constructor(work: UnitOfWork) {
    super(work, plan);
  }

  /** Without an id, the plan's name becomes its id. Throws `validation_failed`, `already_exists`. */
  override async create(data: PlanCreate, options: ChangeOptions = {}): Promise<StoredPlan> {
    const input = this.records.checkCreate(data);
    this.#assertCurrency(data.currency);
    const { id = data.name, displayName = data.name } = input;
    if (!segment.safeParse(id).success) throw errors.validation([{ path: "/id", message: NAME_IS_NO_ID, code: "required" }]);
    const decide = async () => ({
      ...versioned(this.work, null, checkedTerms(this.records.newRecord({ ...input, id, displayName, planVersion: 1 }))),
      checks: await this.#metricChecks(Object.keys(data.limits), Object.keys(data.overage ?? {})),
    });
    return await this.records.create("plan.created", decide, options, input as JsonObject);
  }

  override async update(planId: string, updates: PlanUpdate, options: ChangeOptions = {}): Promise<StoredPlan | null> {
    this.#assertCurrency(updates.currency);
    // A patch removes the members that it sets to null.
    const [named, priced] = [updates.limits, updates.overage].map((members) => (
      Object.entries(members ?? {}).filter(([, member]) => member !== null).map(([name]) => name)
    ));
    const decide = async (record: Plan, before: Plan) => ({
      ...versioned(this.work, before, checkedTerms(record)),
      checks: await this.#metricChecks(named ?? [], priced ?? []),
    });
    return await this.records.patch(planId, updates, options, decide);
  }

  /** Changes the plan by merge patch, or creates it if it does not exist. */
  async upsert(data: PlanCreate): Promise<StoredPlan> {
    const { id = data.name, ...fields } = data;
    return await this.update(id, fields) ?? await this.create(data);
  }

  /** Deletes the plan with its versions, and returns whether it existed. Throws `plan_in_use`. */
  override async delete(planId: string, options: ChangeOptions = {}): Promise<boolean> {
    return await this.deleteUnused(planId, options, usersOf, (plan) => this.#assertUnused(plan), ({ id }) => [
      { op: "deletePrefix", prefix: `${familyOf(planVersion)}:${id}` },
    ]);
  }

  async #metricChecks(limited: readonly string[], priced: readonly string[]): Promise<Check[]> {
    // A plan limit without a metric has no usage to bill.
    const unmetered = priced.find((name) => LIMITS_WITHOUT_METRIC.has(name));
    if (unmetered !== undefined) {
      throw errors.validation([{
        path: pathOfPrice(unmetered),
        message: "must be a metric; this limit is not metered",
        code: "unknown_metric",
      }]);
    }
    const checks = await Promise.all([metricChecks(this.work, limited), metricChecks(this.work, priced, pathOfPrice)]);
    return [...new Map(checks.flat().map((check) => [check.key, check])).values()];
  }

  async #assertUnused(plan: Plan): Promise<void> {
    const { id } = plan;
    const [tenants = 0, subscriptions = 0] = await Promise.all(usersOf(plan).map((users) => this.work.store.count(users)));
    if (tenants + subscriptions === 0) return;
    const message = `Plan ${id} is in use (tenants: ${tenants}, subscriptions: ${subscriptions}). Deactivate it instead.`;
    throw new InnkeepError("plan_in_use", message, [], { tenants, subscriptions });
  }

  /** Every price is in the platform's currency, because sums never mix currencies. */
  #assertCurrency(currency: unknown): void {
    const { currency: own } = this.work.platform;
    if (typeof currency !== "string" || currency === own) return;
    throw errors.validation([{ path: "/currency", message: `must be the platform's currency, ${own}`, code: "other_currency" }]);
  }

  /** Creates those of the four default plans that are missing, and returns their ids. Safe to call concurrently. */
  async seedDefaults(): Promise<string[]> {
    const made: string[] = [];
    for (const shipped of DEFAULT_PLANS) {
      if (await this.get(shipped.id)) continue;
      try {
        await this.create({ ...shipped, currency: this.work.platform.currency });
        made.push(shipped.id);
      } catch (error) {
        if (!isInnkeepError(error, "already_exists")) throw error;
      }
    }
    return made;
  }
}

function pathOfPrice(name: string): string {
  return `/overage/${pointerToken(name)}`;
}

/** Selects the tenants and the subscriptions that have the plan. */
function usersOf({ id }: Plan) {
  return [
    { entity: tenantEntity, where: [{ field: "plan", in: [id] }] },
    { entity: subscriptionEntity, where: [{ field: "planId", in: [id] }] },
  ];
}

const MOST_INTERVALS: Readonly<Record<Interval, number>> = { daily: 365, weekly: 156, monthly: 36, yearly: 3 };

/** The record. Throws `validation_failed` for an interval above 3 years, and if the monthly revenue does not fit a tenant's `mrr`. */
function checkedTerms(record: Plan): Plan {
  const { interval, intervalCount } = record;
  const most = MOST_INTERVALS[interval];
  const fault = intervalCount > most
    ? { path: "/intervalCount", message: `must be at most ${most} if the interval is ${interval}`, code: "too_big" }
    : priceFault(record);
  if (fault) throw errors.validation([fault]);
  return record;
}

/** The versions of a plan. They are never changed. */
export class PlanVersionService {
  readonly #versions: Records<typeof planVersion>;

  constructor(private readonly work: UnitOfWork) {
    this.#versions = new Records(planVersion, work);
  }

  /** The newest version first. Throws `not_found` if the plan does not exist. */
  async list(planId: string, sort?: Sort, pagination?: Pagination): Promise<Page<StoredPlanVersion>> {
    const [found, page] = await Promise.all([
      this.work.read(keyOf(plan, { id: planId })),
      listPage(this.#versions, { ...selectionOf(planVersion, { planId }), sort, pagination }),
    ]);
    if (!found) throw errors.notFound("plan", planId);
    return page;
  }

  /** Null if the plan has no such version. */
  async get(planId: string, n: string): Promise<StoredPlanVersion | null> {
    return await this.#versions.get(this.#versions.key({ planId, n }));
  }
}
