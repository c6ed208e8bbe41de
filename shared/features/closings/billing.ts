import { Collection } from "../../core/collection.ts";
import { Records } from "../../core/records.ts";
import type { UnitOfWork } from "../../core/unit-of-work.ts";
import type { JsonObject } from "../../kernel/json.ts";
import { metricOf } from "../metrics/catalogue.ts";
import type { PlanVersion } from "../plans/entity.ts";
import { findTerms, soldTerms, versionKey } from "../plans/versions.ts";
import { type Subscription, subscription } from "../subscriptions/entity.ts";
import { fitted } from "../subscriptions/rules.ts";
import { tenant as tenantEntity } from "../tenants/entity.ts";
import { usageRecord } from "../usage/entity.ts";
import { openingOf, placeOf } from "../usage/reads.ts";
import { isBillable, overageLines, paidSince, soldIn, usedSince, withOverage } from "./rules.ts";

/** Bills the usage above the limits of a closed month. */
export class OverageBilling {
  /** Versions of plans are never changed. */
  readonly #terms = new Map<string, PlanVersion>();

  /** `metrics`: those whose policy is `overage`. */
  constructor(private readonly work: UnitOfWork, private readonly period: string, private readonly metrics: readonly string[]) {}

  /** Whether the subscription was sold a price for one of the metrics, and is not billed yet. */
  async concerns(record: Subscription): Promise<boolean> {
    if (!isBillable(record, this.period)) return false;
    const { overage = {} } = await this.#termsOf(record);
    return this.metrics.some((metric) => Object.hasOwn(overage, metric));
  }

  /**
   * Adds the month's lines to the subscription's pending items, once: the same commit writes the month that is billed. Nothing is
   * written without usage above a limit.
   */
  async bill(tenantId: string): Promise<void> {
    const subscriptions = new Records(subscription, this.work);
    await subscriptions.change(subscriptions.key({ tenantId }), {}, "subscription.overage_billed", async (before) => {
      if (!await this.concerns(before)) return { record: before };
      const tenant = await new Collection(tenantEntity, this.work.store).get(tenantId);
      const since = tenant && paidSince(before, tenant, this.period);
      if (since === null) return { record: before };
      const { overage = {} } = await this.#termsOf(before);
      const metrics = this.metrics.filter((metric) => Object.hasOwn(overage, metric));
      const usage = await Promise.all(metrics.map(async (metric) => await this.#usageOf(tenantId, metric, since)));
      const lines = overageLines(overage, usage.flatMap(({ record }) => record ?? []));
      if (lines.length === 0) return { record: before };
      const { version: _, ...rest } = before;
      const billed = { period: this.period, lineItems: lines } as unknown as JsonObject;
      return {
        record: fitted(withOverage(rest as Subscription, this.period, lines), this.work.now()),
        // A correction of the month comes before this commit or after it, and then changes nothing here.
        checks: usage.flatMap(({ checks }) => checks),
        data: billed,
        eventData: { overage: billed },
      };
    });
  }

  /** What is paid for, and the versions it depends on. A gauge without a record of the month has kept its level. */
  async #usageOf(tenantId: string, metric: string, since: string) {
    const place = placeOf(tenantId, await metricOf(this.work, metric), this.period);
    const isGauge = place.metric.kind === "gauge";
    const found = await new Collection(usageRecord, this.work.store).get(place.key);
    const check = { key: place.key, version: found?.version ?? null };
    if (found) return { record: isGauge ? found : usedSince(found, since), checks: [check] };
    const opening = isGauge ? await openingOf(this.work, place) : null;
    return { record: opening?.record ?? null, checks: [check, ...(opening?.carried ? [opening.carried] : [])] };
  }

  /** The terms with which the month ended: those of the present plan, or those from before a later change of plan. */
  async #termsOf(record: Subscription): Promise<PlanVersion> {
    const sold = soldIn(record, this.period);
    const key = versionKey(sold);
    const terms = this.#terms.get(key) ?? await findTerms(this.work, sold) ??
      await soldTerms(this.work, { planId: record.planId, planVersion: record.planVersion });
    this.#terms.set(key, terms);
    return terms;
  }
}
