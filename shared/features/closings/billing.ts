import { Collection } from "../../core/collection.ts";
import { Records } from "../../core/records.ts";
import type { UnitOfWork } from "../../core/unit-of-work.ts";
import type { JsonObject } from "../../kernel/json.ts";
import { keyOf } from "../../kv/define.ts";
import type { PlanVersion } from "../plans/entity.ts";
import { soldTerms, versionKey } from "../plans/versions.ts";
import { type Subscription, subscription } from "../subscriptions/entity.ts";
import { fitted } from "../subscriptions/rules.ts";
import { usageRecord } from "../usage/entity.ts";
import { isBillable, overageLines, withOverage } from "./rules.ts";

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
      const { overage = {} } = await this.#termsOf(before);
      const metrics = this.metrics.filter((metric) => Object.hasOwn(overage, metric));
      const keys = metrics.map((metric) => keyOf(usageRecord, { tenantId, metric, period: this.period }));
      const usage = await new Collection(usageRecord, this.work.store).getMany(keys);
      const lines = overageLines(overage, usage.filter((one) => one !== null));
      if (lines.length === 0) return { record: before };
      const { version: _, ...rest } = before;
      const billed = { period: this.period, lineItems: lines } as unknown as JsonObject;
      return {
        record: fitted(withOverage(rest as Subscription, this.period, lines), this.work.now()),
        // A correction of the month comes before this commit or after it, and then changes nothing here.
        checks: usage.map((one, i) => ({ key: keys[i] ?? "", version: one?.version ?? null })),
        data: billed,
        eventData: { overage: billed },
      };
    });
  }

  async #termsOf(record: Subscription): Promise<PlanVersion> {
    const key = versionKey(record);
    const terms = this.#terms.get(key) ?? await soldTerms(this.work, { planId: record.planId, planVersion: record.planVersion });
    this.#terms.set(key, terms);
    return terms;
  }
}
