import { EntityService } from "../../core/entity-service.ts";
import type { CreateInput, UpdateInput } from "../../core/fields.ts";
import type { UnitOfWork } from "../../core/unit-of-work.ts";
import { errors, InnkeepError, isInnkeepError } from "../../kernel/errors.ts";
import type { JsonObject } from "../../kernel/json.ts";
import type { ChangeOptions } from "../../kernel/version.ts";
import { grant } from "../entitlements/entity.ts";
import { plan as planEntity } from "../plans/entity.ts";
import { usageRecord } from "../usage/entity.ts";
import { forgetCatalogue, MAX_METRICS, type StoredMetric } from "./catalogue.ts";
import { DEFAULT_METRICS } from "./default-metrics.ts";
import { type Metric, metric } from "./entity.ts";

export type MetricCreate = CreateInput<typeof metric>;
export type MetricUpdate = UpdateInput<typeof metric>;

/** Plans that a refusal names. */
const MAX_NAMED = 20;

/** The fields of a plan whose members are metrics. */
const PLAN_FIELDS = ["limits", "overage"];

/** The key that orders creations, so that racing ones keep to the limit. No id of a metric begins with `~`. */
const CREATIONS = "metric:~creations";

/** The metric catalogue. Other processes use a change within 10 seconds. */
export class MetricService extends EntityService<typeof metric> {
  constructor(work: UnitOfWork) {
    super(work, metric);
  }

  /** Throws `validation_failed`, `already_exists`. */
  override async create(data: MetricCreate, options: ChangeOptions = {}): Promise<StoredMetric> {
    const input = this.records.checkCreate(data);
    const decide = async () => {
      if (await this.work.store.count({ entity: metric }) >= MAX_METRICS && !await this.get(data.id)) {
        const message = `exceeds the limit of ${MAX_METRICS} metrics; delete one that is not used`;
        throw errors.validation([{ path: "/id", message, code: "too_many" }]);
      }
      return { record: this.records.newRecord(input), checks: [{ key: CREATIONS, entity: metric, atMost: MAX_METRICS - 1 }] };
    };
    return await this.#forgetting(this.records.create("metric.created", decide, options, input as JsonObject));
  }

  override async update(metricId: string, updates: MetricUpdate, options: ChangeOptions = {}): Promise<StoredMetric | null> {
    return await this.#forgetting(super.update(metricId, updates, options));
  }

  /** Returns whether the metric existed. Throws `metric_in_use` if a plan or grant limits it, a plan has a price for it, or usage of it is recorded. */
  override async delete(metricId: string, options: ChangeOptions = {}): Promise<boolean> {
    return await this.#forgetting(this.deleteUnused(metricId, options, usersOf, ({ id }) => this.#assertUnused(id)));
  }

  /** Creates the default metrics that are missing, and returns their ids. Safe to call concurrently. */
  async seedDefaults(): Promise<string[]> {
    const made: string[] = [];
    for (const shipped of DEFAULT_METRICS) {
      if (await this.get(shipped.id)) continue;
      try {
        await this.create(shipped);
        made.push(shipped.id);
      } catch (error) {
        if (!isInnkeepError(error, "already_exists")) throw error;
      }
    }
    return made;
  }

  async #forgetting<T>(change: Promise<T>): Promise<T> {
    try {
      return await change;
    } finally {
      forgetCatalogue(this.work);
    }
  }

  async #assertUnused(id: string): Promise<void> {
    const [plans, usage, grants] = await Promise.all([
      this.#plansNaming(id),
      this.#isMetered(id),
      this.work.store.count({ entity: grant, where: grantsOf(id) }),
    ]);
    if (plans.length === 0 && !usage && grants === 0) return;
    const users = [
      ...(plans.length > 0 ? [`limited by ${plans.length === 1 ? "plan" : "plans"} ${plans.join(", ")}`] : []),
      ...(usage ? ["metered for tenants"] : []),
      ...(grants > 0 ? [`named by ${grants} ${grants === 1 ? "grant" : "grants"} of tenants`] : []),
    ];
    throw new InnkeepError("metric_in_use", `Metric ${id} is ${users.join(" and ")}. You can delete only a metric that nothing uses.`);
  }

  async #plansNaming(id: string): Promise<string[]> {
    const pages = await Promise.all(PLAN_FIELDS.map((field) => (
      this.work.store.query({ entity: planEntity, where: [{ field, has: id }], limit: MAX_NAMED })
    )));
    const keys = pages.flatMap(({ entries }) => entries.map(({ key }) => key.slice(key.indexOf(":") + 1)));
    return [...new Set(keys)].slice(0, MAX_NAMED);
  }

  async #isMetered(id: string): Promise<boolean> {
    const page = await this.work.store.query({ entity: usageRecord, where: [{ field: "metric", in: [id] }], limit: 1 });
    return page.entries.length > 0;
  }
}

function grantsOf(metric: string) {
  return [{ field: "kind", in: ["limit"] }, { field: "key", in: [metric] }];
}

/**
 * The plans and grants that limit the metric, and its usage. Without a match this reads all usage keys. That is rare, so usage has no index
 * for it, which every count would maintain.
 */
function usersOf({ id }: Metric) {
  return [
    ...PLAN_FIELDS.map((field) => ({ entity: planEntity, where: [{ field, has: id }] })),
    { entity: usageRecord, where: [{ field: "metric", in: [id] }] },
    { entity: grant, where: grantsOf(id) },
  ];
}
