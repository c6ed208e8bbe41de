import { subscription as subscriptionEntity } from "./entity.ts";
import type { Subscription } from "./entity.ts";
import { subscriptionUpsert } from "../inputs.ts";
import type { SubscriptionUpsert } from "../inputs.ts";
import { shortTenantId, tenant as tenantEntity } from "../tenants/entity.ts";
import { errors } from "../../kernel/errors.ts";
import type { JsonObject } from "../../kernel/json.ts";
import { newId } from "../../kernel/ids.ts";
import { assertMatch } from "../../kernel/version.ts";
import type { ChangeOptions } from "../../kernel/version.ts";
import { Collection, parseInput } from "../../core/collection.ts";
import type { Stored } from "../../core/collection.ts";
import { keyOf } from "../../kv/define.ts";
import type { Store } from "../../kv/store.ts";
import { changedFields, mergePatch } from "../../core/merge-patch.ts";
import { monthlyRevenue } from "../../core/money.ts";
import { addInterval, periodOf } from "../../core/periods.ts";
import { ended, resumed } from "./rules.ts";
import { findPlan, limitMutations, loadPlan, planCheck } from "../plans/subscribers.ts";
import type { StoredPlan } from "../plans/subscribers.ts";
import { type Change, type Decision, type UnitOfWork, withoutVersion } from "../../core/unit-of-work.ts";

export type StoredSubscription = Stored<typeof subscriptionEntity>;
export interface SubscriptionPut {
  readonly record: StoredSubscription;
  readonly created: boolean;
}

/** A tenant's one subscription. Its plan, the tenant's plan, mrr and usage limits always move together. */
export class SubscriptionService {
  readonly #subscriptions: Collection<typeof subscriptionEntity>;
  readonly #tenants: Collection<typeof tenantEntity>;

  constructor(private readonly store: Store, private readonly unitOfWork: UnitOfWork) {
    this.#subscriptions = new Collection(subscriptionEntity, store);
    this.#tenants = new Collection(tenantEntity, store);
  }

  async get(tenantId: string): Promise<StoredSubscription | null> {
    return await this.#subscriptions.get(shortTenantId(tenantId));
  }

  /** Creates or changes it, keeping `id` and `createdAt`. Throws `not_found` without the tenant. */
  async upsert(tenantId: string, data: SubscriptionUpsert, options: ChangeOptions = {}): Promise<StoredSubscription> {
    return (await this.put(tenantId, data, options)).record;
  }

  /** As `upsert`, and tells whether it was created. */
  async put(tenantId: string, data: SubscriptionUpsert, options: ChangeOptions = {}): Promise<SubscriptionPut> {
    const patch = parseInput(subscriptionUpsert, data);
    return await this.unitOfWork.transact<SubscriptionPut>(async () => {
      const [owner, before] = await Promise.all([this.#tenants.get(tenantId), this.get(tenantId)]);
      if (!owner) throw errors.notFound("tenant", tenantId);
      if (before) assertMatch(before.version, options);
      else if (options.ifMatch !== undefined) throw errors.preconditionFailed(null);
      const planId = patch.planId ?? before?.planId ?? owner.plan;
      const newPlan = planId === before?.planId && planId === owner.plan ? null : await loadPlan(this.store, planId, "/planId");
      const base = before ?? this.#fresh(owner.id, newPlan ?? await loadPlan(this.store, planId, "/planId"));
      const after = withTimes({ ...mergePatch(base, patch), planId } as Subscription, this.unitOfWork.now());
      assertPeriod(after);
      return this.#decide(owner, before, after, newPlan, before ? "subscription.updated" : "subscription.created");
    });
  }

  /** At period end (default) the status stays until then; `false` cancels at once. */
  async cancel(tenantId: string, cancelAtPeriodEnd = true, options: ChangeOptions = {}): Promise<StoredSubscription> {
    return await this.#step(
      tenantId,
      options,
      "subscription.cancelled",
      (before, now) => cancelAtPeriodEnd && before.status !== "cancelled" ? { ...before, cancelAtPeriodEnd: true } : ended(before, now),
    );
  }

  /** Takes a cancellation back; a subscription that has ended starts a new period now. */
  async reactivate(tenantId: string, options: ChangeOptions = {}): Promise<StoredSubscription> {
    return await this.#step(tenantId, options, "subscription.reactivated", (before, now, plan) => resumed(before, now, plan.interval));
  }

  async #step(
    tenantId: string,
    options: ChangeOptions,
    action: string,
    step: (before: StoredSubscription, now: string, plan: StoredPlan) => Subscription,
  ): Promise<StoredSubscription> {
    const { record } = await this.unitOfWork.transact<SubscriptionPut>(async () => {
      const [owner, before] = await Promise.all([this.#tenants.get(tenantId), this.get(tenantId)]);
      if (!owner || !before) throw errors.notFound("subscription", tenantId);
      assertMatch(before.version, options);
      // A deactivated plan takes nobody new; whoever has it can leave it and come back.
      const plan = await findPlan(this.store, before.planId, "/planId");
      return this.#decide(owner, before, step(before, this.unitOfWork.now(), plan), null, action);
    });
    return record;
  }

  #fresh(tenantId: string, plan: StoredPlan): Subscription {
    const now = this.unitOfWork.now();
    return {
      id: newId("sub", this.unitOfWork.context.clock.now()),
      tenantId,
      planId: plan.id,
      status: "active",
      currentPeriodStart: now,
      currentPeriodEnd: addInterval(now, plan.interval),
      cancelAtPeriodEnd: false,
      createdAt: now,
    };
  }

  #decide(
    owner: Stored<typeof tenantEntity>,
    before: StoredSubscription | null,
    decided: Subscription,
    newPlan: StoredPlan | null,
    action: string,
  ): Decision<SubscriptionPut> {
    const now = this.unitOfWork.now();
    const changed = changedFields(before ?? {}, decided);
    if (before && !newPlan && Object.keys({ ...changed.before, ...changed.after }).length === 0) {
      return { done: { record: before, created: false } };
    }
    const after = { ...decided, updatedAt: now };
    const change: Change = { entity: subscriptionEntity, before, after };
    const moved = newPlan && owner.plan !== newPlan.id
      ? [{
        entity: tenantEntity,
        before: owner,
        after: { ...owner, plan: newPlan.id, mrr: monthlyRevenue(newPlan), mrrSource: "plan" as const, updatedAt: now },
      }]
      : [];
    const key = keyOf(subscriptionEntity, { tenantId: owner.id });
    return {
      commit: {
        changes: [change, ...moved],
        checks: [
          ...(newPlan ? [planCheck(newPlan)] : []),
          ...(moved.length > 0 ? [] : [{ key: keyOf(tenantEntity, owner), version: owner.version }]),
        ],
        mutations: moved.length > 0 && newPlan
          ? limitMutations(owner.id, newPlan.limits, periodOf(this.unitOfWork.context.clock.now()), now)
          : [],
        audit: [{ action, resource: "subscription", resourceId: after.id, tenantId: owner.id, of: change, ...movedPlan(owner, newPlan) }],
        events: [{ type: action, subject: after.id, tenantId: owner.id, data: { subscription: withoutVersion(after) } }],
        answer: ({ versions }) => ({ record: { ...after, version: versions[key] ?? "" }, created: before === null }),
      },
    };
  }
}

/** The tenant's side of a plan change, in the one audit entry of the call. */
function movedPlan(owner: Stored<typeof tenantEntity>, newPlan: StoredPlan | null): { data?: JsonObject } {
  if (!newPlan || owner.plan === newPlan.id) return {};
  return { data: { tenant: { before: { plan: owner.plan, mrr: owner.mrr }, after: { plan: newPlan.id, mrr: monthlyRevenue(newPlan) } } } };
}

/** A status set by hand keeps `cancelledAt` in step with it. */
function withTimes(after: Subscription, now: string): Subscription {
  const { cancelledAt, ...rest } = after;
  return after.status === "cancelled" ? { ...rest, cancelledAt: cancelledAt ?? now } : rest as Subscription;
}

function assertPeriod({ currentPeriodStart, currentPeriodEnd }: Subscription): void {
  if (currentPeriodEnd > currentPeriodStart) return;
  throw errors.validation([{ path: "/currentPeriodEnd", message: "must be after currentPeriodStart", code: "invalid" }]);
}
