import { DEFAULT_PLANS } from "./default-plans.ts";
import { planCreate, planUpdate } from "../inputs.ts";
import type { PlanCreate, PlanUpdate } from "../inputs.ts";
import { plan as planEntity } from "./entity.ts";
import type { Plan } from "./entity.ts";
import { subscription as subscriptionEntity } from "../subscriptions/entity.ts";
import { tenant as tenantEntity } from "../tenants/entity.ts";
import { errors, InnkeepError, isInnkeepError } from "../../kernel/errors.ts";
import { assertMatch } from "../../kernel/version.ts";
import type { ChangeOptions } from "../../kernel/version.ts";
import { Collection, parseInput } from "../../core/collection.ts";
import type { Store } from "../../kv/store.ts";
import { changedFields, mergePatch } from "../../core/merge-patch.ts";
import { listPage, selectionOf } from "../../core/paging.ts";
import type { Filters, Page, Pagination, Sort } from "../../core/paging.ts";
import type { StoredPlan } from "./subscribers.ts";
import { type Change, type Decision, type UnitOfWork, withoutVersion } from "../../core/unit-of-work.ts";

export class PlanService {
  readonly #plans: Collection<typeof planEntity>;

  constructor(private readonly store: Store, private readonly unitOfWork: UnitOfWork) {
    this.#plans = new Collection(planEntity, store);
  }

  async list(filters: Filters = {}, sort?: Sort, pagination?: Pagination): Promise<Page<StoredPlan>> {
    const selection = selectionOf(planEntity, filters);
    return await listPage(this.#plans, { ...selection, sort, pagination }, [{ field: "price", direction: "asc" }]);
  }

  /** By id (`Pro`) or full key (`plan:Pro`). */
  async get(planId: string): Promise<StoredPlan | null> {
    return await this.#plans.get(planId);
  }

  /** The id is the name where none is given. Throws `already_exists`. */
  async create(data: PlanCreate): Promise<StoredPlan> {
    const { id, displayName, ...input } = parseInput(planCreate, data);
    const now = this.unitOfWork.now();
    const record = parseInput(planEntity.schema, {
      ...input,
      id: id ?? input.name,
      displayName: displayName ?? input.name,
      createdAt: now,
      updatedAt: now,
    });
    return await this.unitOfWork.transact<StoredPlan>(() => Promise.resolve(this.#decide("plan.created", null, record)));
  }

  /** JSON merge patch; null when there is no such plan. */
  async update(planId: string, updates: PlanUpdate, options: ChangeOptions = {}): Promise<StoredPlan | null> {
    const patch = parseInput(planUpdate, updates);
    if (!await this.get(planId)) return null;
    return await this.unitOfWork.transact<StoredPlan>(async () => {
      const before = await this.get(planId);
      if (!before) throw errors.notFound("plan", planId);
      assertMatch(before.version, options);
      // A limit of null is unlimited, not absent: limits are replaced one by one, beside the merge patch.
      const { limits, ...rest } = patch;
      const after = parseInput(planEntity.schema, { ...mergePatch(before, rest), limits: { ...before.limits, ...limits } });
      const changed = changedFields(before, after);
      if (Object.keys({ ...changed.before, ...changed.after }).length === 0) return { done: before };
      return this.#decide("plan.updated", before, { ...after, updatedAt: this.unitOfWork.now() });
    });
  }

  /** Creates the plan, or replaces every field a caller may set. */
  async upsert(data: PlanCreate): Promise<StoredPlan> {
    const { id, ...fields } = parseInput(planCreate, data);
    return await this.update(id ?? fields.name, fields) ?? await this.create(data);
  }

  /**
   * Whether there was a plan to delete. Throws `plan_in_use`. Subscribers check the plan's version, so none comes
   * after the deletion; for one that came between the count and the deletion the plan is put back.
   */
  async delete(planId: string, options: ChangeOptions = {}): Promise<boolean> {
    const { plan } = await this.unitOfWork.transact<{ plan: StoredPlan | null }>(async () => {
      const before = await this.get(planId);
      if (!before) return { done: { plan: null } };
      assertMatch(before.version, options);
      await this.#assertUnused(before);
      const change: Change = { entity: planEntity, before, after: null };
      return {
        commit: {
          changes: [change],
          audit: [{ action: "plan.deleted", resource: "plan", resourceId: before.id, of: change }],
          events: [{ type: "plan.deleted", subject: before.id, data: { planId: before.id } }],
          answer: () => ({ plan: before }),
        },
      };
    });
    if (!plan) return false;
    try {
      await this.#assertUnused(plan);
    } catch (error) {
      await this.#putBack(plan);
      throw error;
    }
    return true;
  }

  /** Whoever made a plan of this id again meanwhile was faster, and the subscribers have theirs. */
  async #putBack({ version: _, ...plan }: StoredPlan): Promise<void> {
    await this.unitOfWork.transact<StoredPlan>(async () => {
      const present = await this.get(plan.id);
      if (present) return { done: present };
      const { commit: { refuse: _refuse, ...commit } } = this.#decide("plan.restored", null, plan as Plan);
      return { commit };
    });
  }

  async #assertUnused({ id }: Plan): Promise<void> {
    const [tenants, subscriptions] = await Promise.all([
      this.store.count({ entity: tenantEntity, where: [{ field: "plan", in: [id] }] }),
      this.store.count({ entity: subscriptionEntity, where: [{ field: "planId", in: [id] }] }),
    ]);
    if (tenants + subscriptions === 0) return;
    throw new InnkeepError("plan_in_use", `plan ${id} is used by ${tenants} tenants and ${subscriptions} subscriptions`, [], {
      tenants,
      subscriptions,
    });
  }

  /** Makes the four shipped plans where they are missing; answers the ids made. Racing calls share the work. */
  async seedDefaults(): Promise<string[]> {
    const made: string[] = [];
    for (const plan of DEFAULT_PLANS) {
      if (await this.get(plan.id)) continue;
      try {
        await this.create(plan);
        made.push(plan.id);
      } catch (error) {
        if (!isInnkeepError(error, "already_exists")) throw error;
      }
    }
    return made;
  }

  #decide(action: string, before: StoredPlan | null, after: Plan): Extract<Decision<StoredPlan>, { commit: unknown }> {
    const change: Change = { entity: planEntity, before, after };
    const key = this.#plans.key(after);
    return {
      commit: {
        changes: [change],
        audit: [{ action, resource: "plan", resourceId: after.id, of: change }],
        events: [{ type: action, subject: after.id, data: { plan: withoutVersion(after) } }],
        refuse: () => before ? undefined : new InnkeepError("already_exists", `plan ${after.id} exists`),
        answer: ({ versions }) => ({ ...after, version: versions[key] ?? "" }),
      },
    };
  }
}
