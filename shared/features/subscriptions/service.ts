import { parseInput, type Stored } from "../../core/collection.ts";
import { inputsOf, type UpdateInput } from "../../core/fields.ts";
import { periodOf } from "../../core/periods.ts";
import { type Decided, Records } from "../../core/records.ts";
import type { UnitOfWork } from "../../core/unit-of-work.ts";
import { errors } from "../../kernel/errors.ts";
import type { JsonObject } from "../../kernel/json.ts";
import { assertMatch, type ChangeOptions } from "../../kernel/version.ts";
import { keyOf } from "../../kv/define.ts";
import { entitlementChanges } from "../entitlements/changes.ts";
import { entitlementsOf } from "../entitlements/reads.ts";
import { findPlan, loadPlan, planCheck, type StoredPlan } from "../plans/subscribers.ts";
import { findTerms, soldTerms } from "../plans/versions.ts";
import { movementChanges } from "../revenue/changes.ts";
import { currentSettings } from "../settings/current.ts";
import { assertTrials, entryTo } from "../settings/enforcement.ts";
import { shortTenantId, type Tenant, tenant as tenantEntity } from "../tenants/entity.ts";
import { usageOf } from "../usage/reads.ts";
import { type PlanChoice, planChoice, type Subscription, subscription } from "./entity.ts";
import { type ChangePreview, previewOf } from "./preview.ts";
import { planChange } from "./proration.ts";
import { isResumed, withRevenue } from "./revenue.ts";
import * as rules from "./rules.ts";

export type StoredSubscription = Stored<typeof subscription>;
type StoredTenant = Stored<typeof tenantEntity>;
export type SubscriptionUpsert = UpdateInput<typeof subscription>;
export interface SubscriptionPut {
  readonly record: StoredSubscription;
  readonly created: boolean;
}

/** The body of a PUT. Omitted members keep their values. */
export const subscriptionInput = inputsOf(subscription).update;

/** A tenant's one subscription. Its plan and the tenant's plan, `mrr` and usage limits change in one commit. */
export class SubscriptionService {
  readonly #subscriptions: Records<typeof subscription>;
  readonly #tenants: Records<typeof tenantEntity>;

  constructor(private readonly work: UnitOfWork) {
    this.#subscriptions = new Records(subscription, work);
    this.#tenants = new Records(tenantEntity, work);
  }

  async get(tenantId: string): Promise<StoredSubscription | null> {
    return await this.#subscriptions.get(shortTenantId(tenantId));
  }

  /** Creates or changes the subscription. It keeps `id` and `createdAt`. Throws `not_found` if the tenant does not exist. */
  async upsert(tenantId: string, data: SubscriptionUpsert, options: ChangeOptions = {}): Promise<StoredSubscription> {
    return (await this.put(tenantId, data, options)).record;
  }

  /** Like `upsert`, and also returns whether the subscription was created. */
  async put(tenantId: string, data: SubscriptionUpsert, options: ChangeOptions = {}): Promise<SubscriptionPut> {
    const patch = this.#subscriptions.checkUpdate(data);
    const id = shortTenantId(tenantId);
    return await this.#subscriptions.put(id, options, async (before) => {
      if (before) return { action: "subscription.updated", ...(await this.#patched(id, before, patch)).decided };
      const planId = typeof patch["planId"] === "string" ? patch["planId"] : undefined;
      const [tenant, asked] = await Promise.all([this.#tenant(id), planId === undefined ? null : loadPlan(this.work, planId, "/planId")]);
      const plan = asked ?? await loadPlan(this.work, tenant.plan, "/planId");
      const initial = { id: this.work.newId("sub"), tenantId: tenant.id, ...rules.started(tenant, plan, this.work.now()) };
      const given = this.#subscriptions.newRecord({ ...initial, ...patch, planId: plan.id, planVersion: plan.planVersion });
      const record = rules.anchored(given, given, patch);
      return { action: "subscription.created", ...await this.#decide(tenant, null, record, plan) };
    }, { patch: patch as JsonObject });
  }

  /** The decision on a patch, and what a preview shows of it. `plan` is null if the plan does not change. */
  async #patched(id: string, before: StoredSubscription, patch: Readonly<Record<string, unknown>>) {
    const planId = typeof patch["planId"] === "string" ? patch["planId"] : undefined;
    // Sending the current plan is not a plan change, so that plan may be deactivated.
    const isMove = planId !== undefined && planId !== before.planId;
    const [tenant, plan, sold] = await Promise.all([
      this.#tenant(id),
      isMove ? loadPlan(this.work, planId, "/planId") : null,
      isMove || rules.isPutBack(before, patch, this.work.now()) ? findTerms(this.work, before) : null,
    ]);
    const change = plan && planChange(before, sold, plan, this.work.now(), rules.setsPeriod(before, patch));
    const moved = { ...change?.subscription ?? before, version: before.version };
    const patched = rules.anchored(moved, this.#subscriptions.patched(moved, patch), patch);
    const record = sold && rules.isPutBack(before, patch, this.work.now()) ? rules.newPeriod(patched, sold, this.work.now()) : patched;
    return { tenant, plan, change, decided: await this.#decide(tenant, before, record, plan) };
  }

  /**
   * What a change to another plan would do now. Nothing is written. Throws what the change would throw, and `validation_failed` for the
   * present plan.
   */
  async preview(tenantId: string, data: PlanChoice, options: ChangeOptions = {}): Promise<ChangePreview> {
    const { planId } = parseInput(planChoice, data);
    const id = shortTenantId(tenantId);
    const { idempotencyKey: key } = options;
    const call = key === undefined ? undefined : { operation: "subscription.previewed", key, request: { id, planId } };
    const { result } = await this.work.transact(async () => {
      const before = await this.#subscriptions.get(id);
      if (!before) throw errors.notFound("subscription", id);
      assertMatch(before.version, options);
      const [{ tenant, plan, change, decided }, entitled, { usage }] = await Promise.all([
        this.#patched(id, before, { planId }),
        entitlementsOf(this.work, id),
        usageOf(this.work, id, periodOf(this.work.context.clock.now())),
      ]);
      if (!plan || !change) throw samePlan(planId);
      if (!entitled) throw errors.notFound("tenant", id);
      // The change writes the tenant only if its plan differs.
      const after = decided.changes?.find(({ entity }) => entity === tenantEntity)?.after as Tenant | undefined ?? tenant;
      const changes = { plan, change, entitled, subscription: decided.record, tenant, after, usage, version: before.version };
      const done = previewOf(changes, this.work.now());
      return { done, resultOf: id };
    }, call);
    return result;
  }

  /** Sets `cancelAtPeriodEnd` and keeps the status (default), or cancels at once. Throws `not_found`, `forbidden`. */
  async cancel(tenantId: string, cancelAtPeriodEnd = true, options: ChangeOptions = {}): Promise<StoredSubscription> {
    if (this.#isOwn) rules.assertOwnCancellation(!cancelAtPeriodEnd);
    // At the end of the period, the job `subscriptions` reports the cancellation.
    const action = cancelAtPeriodEnd ? "subscription.updated" : "subscription.cancelled";
    return await this.#step(tenantId, options, action, { cancelAtPeriodEnd }, (before, { now }) => (
      cancelAtPeriodEnd && before.status !== "cancelled" ? { ...before, cancelAtPeriodEnd: true } : rules.ended(before, now)
    ));
  }

  /** Reverses a cancellation. If the period is over, a new one starts. Throws `not_found`, `tenant_cancelled`, `plan_change_forbidden`. */
  async reactivate(tenantId: string, options: ChangeOptions = {}): Promise<StoredSubscription> {
    return await this.#step(tenantId, options, "subscription.reactivated", {}, async (before, { now, tenant }) => {
      // A deactivated plan takes no new subscribers, but its own subscribers can reactivate, on the terms they were sold.
      const terms = await soldTerms(this.work, before);
      if (this.#isOwn) rules.assertOwnReactivation(before, terms, (await currentSettings(this.work)).selfServicePlans, now);
      return rules.resumed(before, tenant, now, terms);
    });
  }

  async #step(
    tenantId: string,
    options: ChangeOptions,
    action: string,
    request: JsonObject,
    step: (before: StoredSubscription, on: { readonly now: string; readonly tenant: StoredTenant }) => Subscription | Promise<Subscription>,
  ): Promise<StoredSubscription> {
    const id = shortTenantId(tenantId);
    const changed = await this.#subscriptions.change(id, options, action, async (before) => {
      const tenant = await this.#tenant(id);
      return await this.#decide(tenant, before, await step(before, { now: this.work.now(), tenant }), null);
    }, request);
    if (!changed) throw errors.notFound("subscription", id);
    return changed;
  }

  /** Whether the caller is one of the tenant's own users. */
  get #isOwn(): boolean {
    return this.work.context.tenantId !== null;
  }

  async #tenant(tenantId: string): Promise<StoredTenant> {
    const tenant = await this.#tenants.get(tenantId);
    if (!tenant) throw errors.notFound("tenant", tenantId);
    return tenant;
  }

  /** Checks the decided subscription and adds what changes with it. `plan` is the plan it starts with or moves to, else null. */
  async #decide(
    tenant: StoredTenant,
    before: StoredSubscription | null,
    decided: Subscription,
    plan: StoredPlan | null,
  ): Promise<Decided<Subscription>> {
    const now = this.work.now();
    const from = before?.planId ?? tenant.plan;
    if (plan && plan.id !== from) await this.#assertMove(tenant, before, decided, plan);
    const record = rules.fitted(plan ? { ...decided, planVersion: plan.planVersion } : decided, now);
    rules.assertPeriod(record);
    rules.assertTenantNotCancelled(record, tenant);
    if (rules.startsTrial(before, record, tenant)) assertTrials(await currentSettings(this.work), true);
    const entry = plan && plan.id !== tenant.plan ? await entryTo(this.work, plan) : null;
    const checks = plan ? [planCheck(plan), ...entry?.checks ?? []] : [];
    const moved = plan && entry ? { ...tenant, ...rules.onPlan(tenant, plan, entry.settings, now) } : tenant;
    const resumed = isResumed(before, record) ? await soldTerms(this.work, record) : null;
    const decidedTenant = withRevenue(moved, record, resumed);
    if (decidedTenant === tenant) {
      const entitled = await entitlementChanges(this.work, { tenant, subscription: record, terms: plan });
      return { record, checks: [...checks, { key: keyOf(tenantEntity, tenant), version: tenant.version }], ...entitled };
    }
    const after = { ...decidedTenant, updatedAt: now };
    const [{ changes, ...entitled }, movements] = await Promise.all([
      entitlementChanges(this.work, { tenant: after, subscription: record, terms: plan }),
      movementChanges(this.work, tenant, after),
    ]);
    return {
      record,
      checks,
      changes: [{ entity: tenantEntity, before: tenant, after }, ...movements, ...changes],
      ...entitled,
      data: { tenant: { before: { plan: tenant.plan, mrr: tenant.mrr }, after: { plan: after.plan, mrr: after.mrr } } },
    };
  }

  async #assertMove(tenant: StoredTenant, before: StoredSubscription | null, decided: Subscription, plan: StoredPlan): Promise<void> {
    rules.assertTenantCanChangePlan(tenant);
    rules.assertLive(before ?? decided);
    if (plan.id !== tenant.plan) rules.assertTrialUnused(tenant, plan);
    if (!this.#isOwn) return;
    const sold = before ? await findTerms(this.work, before) : await findPlan(this.work, tenant.plan);
    rules.assertSelfService((await currentSettings(this.work)).selfServicePlans, sold, plan);
  }
}

function samePlan(planId: string) {
  return errors.validation([{ path: "/planId", message: `must be another plan than the present one, ${planId}`, code: "same_plan" }]);
}
