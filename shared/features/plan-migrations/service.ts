import { parseInput, type Stored } from "../../core/collection.ts";
import { type CreateInput, inputsOf } from "../../core/fields.ts";
import { type Filters, listPage, type Page, type Pagination, selectionOf, type Sort } from "../../core/paging.ts";
import { Records } from "../../core/records.ts";
import type { UnitOfWork } from "../../core/unit-of-work.ts";
import { errors } from "../../kernel/errors.ts";
import type { JsonObject } from "../../kernel/json.ts";
import type { ChangeOptions } from "../../kernel/version.ts";
import { findPlan, loadPlan, planCheck, type StoredPlan } from "../plans/subscribers.ts";
import { soldTerms } from "../plans/versions.ts";
import { type PlanMigration, planMigration, planMove } from "./entity.ts";
import { type MigrationPreview, migrationPreview } from "./preview.ts";
import * as rules from "./rules.ts";
import { COUNT_ATTEMPTS } from "./wave.ts";

export type StoredPlanMigration = Stored<typeof planMigration>;
export type StoredPlanMove = Stored<typeof planMove>;
export type PlanMigrationCreate = CreateInput<typeof planMigration>;

/** The body of a creation and of a preview. */
export const migrationInput = inputsOf(planMigration).create;

interface Planned {
  readonly scheme: rules.Scheme;
  readonly source: StoredPlan;
  readonly target: StoredPlan;
}

/** Moves of existing subscribers to another version of their plan, or to another plan. The job `plan-migrations` makes them. */
export class PlanMigrationService {
  readonly #migrations: Records<typeof planMigration>;
  readonly #moves: Records<typeof planMove>;

  constructor(private readonly work: UnitOfWork) {
    this.#migrations = new Records(planMigration, work);
    this.#moves = new Records(planMove, work);
  }

  async list(filters: Filters = {}, sort?: Sort, pagination?: Pagination): Promise<Page<StoredPlanMigration>> {
    return await listPage(this.#migrations, { ...selectionOf(planMigration, filters), sort, pagination });
  }

  async get(id: string): Promise<StoredPlanMigration | null> {
    return await this.#migrations.get(id);
  }

  /** The subscribers of a migration that was started. Throws `not_found`. */
  async listMoves(id: string, filters: Filters = {}, sort?: Sort, pagination?: Pagination): Promise<Page<StoredPlanMove>> {
    const found = await this.#migrations.get(id);
    if (!found) throw errors.notFound("plan migration", id);
    return await listPage(this.#moves, { ...selectionOf(planMove, { ...filters, migrationId: found.id }), sort, pagination });
  }

  /** Creates a draft, which moves nobody. Throws `validation_failed`, `plan_inactive`, `already_exists`. */
  async create(data: PlanMigrationCreate, options: ChangeOptions = {}): Promise<StoredPlanMigration> {
    const input = this.#migrations.checkCreate(data);
    return await this.#migrations.create(
      "plan-migration.created",
      async () => {
        const { scheme, source, target } = await this.#planned(input);
        const record = this.#migrations.newRecord({ ...input, ...scheme, status: "draft", phase: "list" });
        const plans = source.id === target.id ? [target] : [source, target];
        return { record, checks: plans.map(planCheck) };
      },
      options,
      input as JsonObject,
    );
  }

  /** What a migration would do now. Nothing is written. Throws what its creation would throw. */
  async preview(data: PlanMigrationCreate, { idempotencyKey: key }: ChangeOptions = {}): Promise<MigrationPreview> {
    const input = parseInput(migrationInput, data) as Record<string, unknown>;
    const call = key === undefined ? undefined : { operation: "plan-migration.previewed", key, request: input as JsonObject };
    const { result } = await this.work.transact(async () => {
      const { scheme, target } = await this.#planned(input);
      const version = await soldTerms(this.work, { planId: scheme.toPlanId, planVersion: scheme.toVersion });
      return { done: await migrationPreview(this.work, scheme, rules.planAt(target, version)), resultOf: null };
    }, call);
    return result;
  }

  /** Starts a draft, or goes on after a pause. Null if there is no such migration. Throws `invalid_transition`. */
  async start(id: string, options: ChangeOptions = {}): Promise<StoredPlanMigration | null> {
    return await this.#change(id, options, "plan-migration.started", (before) => rules.started(before, this.work.now()));
  }

  /** After it returns, no subscriber is moved until the next start. Null if there is no such migration. Throws `invalid_transition`. */
  async pause(id: string, options: ChangeOptions = {}): Promise<StoredPlanMigration | null> {
    return await this.#change(id, options, "plan-migration.paused", (before) => rules.stopped(before, "paused"));
  }

  /** Tries those again that were skipped or failed. Null if there is no such migration. Throws `invalid_transition`. */
  async retry(id: string, options: ChangeOptions = {}): Promise<StoredPlanMigration | null> {
    return await this.#change(id, options, "plan-migration.retried", rules.retried);
  }

  /** Ends it. Those that were moved stay where they are. Null if there is no such migration. Throws `invalid_transition`. */
  async cancel(id: string, options: ChangeOptions = {}): Promise<StoredPlanMigration | null> {
    return await this.#change(id, options, "plan-migration.cancelled", (before) => rules.stopped(before, "cancelled"));
  }

  async #change(
    id: string,
    options: ChangeOptions,
    action: string,
    step: (before: StoredPlanMigration) => PlanMigration,
  ): Promise<StoredPlanMigration | null> {
    return await this.#migrations.change(id, options, action, (before) => ({ record: step(before), attempts: COUNT_ATTEMPTS }));
  }

  /** The plans of a checked body, and its defaults. A deactivated plan can move its own subscribers to another of its versions. */
  async #planned(input: Readonly<Record<string, unknown>>): Promise<Planned> {
    const { planId, toPlanId = planId, toVersion, fromVersions, cohort = {}, mode } = input as unknown as PlanMigrationCreate;
    const [source, other] = await Promise.all([
      findPlan(this.work, planId),
      toPlanId === planId ? null : loadPlan(this.work, toPlanId, "/toPlanId"),
    ]);
    if (!source) throw unknownPlan(planId);
    const target = other ?? source;
    const scheme: rules.Scheme = { planId, toPlanId, fromVersions, cohort, mode, toVersion: toVersion ?? target.planVersion };
    rules.assertScheme(scheme, source, target);
    return { scheme, source, target };
  }
}

function unknownPlan(planId: string) {
  return errors.validation([{ path: "/planId", message: `must be an existing plan, and ${planId} is not`, code: "unknown_plan" }]);
}
