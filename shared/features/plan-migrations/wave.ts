import { Collection, type Stored } from "../../core/collection.ts";
import type { JobRun } from "../../core/job.ts";
import { type Decided, Records } from "../../core/records.ts";
import type { Change, UnitOfWork } from "../../core/unit-of-work.ts";
import { isInnkeepError, isOutage } from "../../kernel/errors.ts";
import { keyOf } from "../../kv/define.ts";
import { entitlementChanges } from "../entitlements/changes.ts";
import { currentPlan, loadPlan, planCheck } from "../plans/subscribers.ts";
import { soldTerms } from "../plans/versions.ts";
import { movementChanges } from "../revenue/changes.ts";
import { type Subscription, subscription } from "../subscriptions/entity.ts";
import { currentSettings } from "../settings/current.ts";
import { assertTrials } from "../settings/enforcement.ts";
import { assertTrialUnused, fitted, isTrialPlan, onPlan } from "../subscriptions/rules.ts";
import { type Tenant, tenant } from "../tenants/entity.ts";
import { type PlanMigration, planMigration, type PlanMove, planMove } from "./entity.ts";
import * as rules from "./rules.ts";
import { subscribersOf } from "./subscribers.ts";

type StoredMigration = Stored<typeof planMigration>;
type StoredMove = Stored<typeof planMove>;
type StoredTenant = Stored<typeof tenant>;

/** Above 200 keys a commit locks whole families, and each changed record has two. */
const LISTED = 90;
/** Every move changes the counts of its migration, also while it is paused or cancelled. */
export const COUNT_ATTEMPTS = 40;

/** One step of a migration that is due. Each subscriber is one commit, which checks that the migration is still running. */
export class MigrationStep {
  readonly #migrations: Records<typeof planMigration>;
  readonly #moves: Records<typeof planMove>;
  readonly #subscriptions: Records<typeof subscription>;

  constructor(private readonly work: UnitOfWork) {
    this.#migrations = new Records(planMigration, work);
    this.#moves = new Records(planMove, work);
    this.#subscriptions = new Records(subscription, work);
  }

  /** Returns the number of subscribers that it read or handled; 0 if nothing is left to do now. */
  async run(migration: StoredMigration, run: Pick<JobRun, "limit" | "each" | "dryRun">): Promise<number> {
    const limit = Math.min(run.limit, LISTED);
    if (migration.phase === "list") return await this.#list(migration, limit, run.dryRun);
    if (migration.phase === "retry") return await this.#listAgain(migration, limit, run.dryRun);
    const wave = run.dryRun ? migration : await this.#beginWave(migration);
    if (!wave) return 0;
    const waiting = await this.#movesIn(migration, ["waiting"], Math.min(run.limit, wave.waveLeft || wave.waveSize));
    if (waiting.length === 0 && !run.dryRun) await this.#complete(migration.id);
    const items = waiting.map((move) => ({ id: move.id, tenantId: move.tenant, move }));
    return await run.each(items, ({ move }) => this.#handle(move));
  }

  /** Lists a page of the cohort. A page that is repeated after a crash finds its records listed. */
  async #list(before: StoredMigration, limit: number, dryRun: boolean): Promise<number> {
    const { subscribers, unreadable, read, cursor } = await subscribersOf(this.work, before, before.cursor ?? null, limit);
    if (dryRun) return read;
    const now = this.work.now();
    // One that cannot be read fails with its move, not with the whole list.
    const moves = [...subscribers.map(({ tenant }) => tenant.id), ...unreadable].map((tenantId): PlanMove => {
      const id = keyOf(planMove, { migrationId: before.id, tenant: tenantId });
      return { id, migrationId: before.id, tenant: tenantId, status: "waiting", createdAt: now, updatedAt: now };
    });
    await this.#bookkeep(before.id, async (migration) => {
      if (migration.phase !== "list" || migration.cursor !== before.cursor) return null;
      const known = await this.#moves.getMany(moves.map(({ id }) => id));
      const added = moves.filter((_, i) => !known[i]);
      const { cursor: _, ...listed } = rules.counted(migration, null, "waiting", added.length);
      const after = { ...listed, ...(cursor === null ? { phase: "move" as const } : { cursor }) } as PlanMigration;
      return { after, changes: added.map((move) => ({ entity: planMove, before: null, after: move })) };
    });
    return Math.max(1, read);
  }

  /** Lists a page of those that were skipped or failed. */
  async #listAgain(before: StoredMigration, limit: number, dryRun: boolean): Promise<number> {
    const found = await this.#movesIn(before, ["skipped", "failed"], limit);
    if (dryRun) return found.length;
    await this.#bookkeep(before.id, async (migration) => {
      if (migration.phase !== "retry") return null;
      const moves = (await this.#moves.getMany(found.map(({ id }) => id))).filter((move) => move !== null)
        .filter(({ status }) => status === "skipped" || status === "failed");
      const counts = moves.reduce((counts, { status }) => rules.counted(counts, status, "waiting"), migration as PlanMigration);
      const after: PlanMigration = { ...counts, phase: found.length < limit ? "move" : "retry" };
      return { after, changes: moves.map((move) => this.#changeOf(move, "waiting")) };
    });
    return Math.max(1, found.length);
  }

  async #movesIn({ id }: PlanMigration, statuses: readonly PlanMove["status"][], limit: number): Promise<StoredMove[]> {
    const where = [{ field: "migrationId", in: [id] }, { field: "status", in: statuses }];
    const orderBy = [{ field: "createdAt", direction: "asc" }] as const;
    return (await new Collection(planMove, this.work.store).list({ where, orderBy, limit })).records;
  }

  /** Null if the migration was paused, cancelled or completed meanwhile. */
  async #beginWave({ id }: StoredMigration): Promise<PlanMigration | null> {
    let wave: PlanMigration | null = null;
    await this.#bookkeep(id, (migration) => {
      wave = rules.inWave(migration, this.work.context.clock.now());
      return wave === migration ? null : { after: wave, changes: [] };
    });
    return wave;
  }

  async #complete(id: string): Promise<void> {
    await this.#migrations.change(id, {}, "plan-migration.completed", (before) => (
      { record: before.status === "running" && before.phase === "move" ? rules.completed(before, this.work.now()) : before }
    ));
  }

  /** A failure is recorded with the move, so that it can be listed and retried. Without the database, nothing has failed. */
  async #handle(move: StoredMove): Promise<void> {
    try {
      const skipped = await this.#move(move);
      if (skipped !== null) await this.#settle(move, "skipped", { reason: skipped });
    } catch (error) {
      if (isOutage(error)) throw error;
      const known = isInnkeepError(error) ? { reason: error.code, message: error.message.slice(0, 1_000) } : { reason: "internal" };
      await this.#settle(move, "failed", known);
    }
  }

  /** Moves the subscriber, in one commit. Returns why it is skipped; null if it was moved, or its migration no longer runs. */
  async #move({ id, migrationId, tenant: tenantId }: StoredMove): Promise<string | null> {
    let skipped: string | null = null;
    const found = await this.#subscriptions.change(tenantId, {}, "subscription.migrated", async (before) => {
      const tenants = new Records(tenant, this.work);
      const [migration, move, owner] = await Promise.all([this.#migrations.get(migrationId), this.#moves.get(id), tenants.get(tenantId)]);
      skipped = null;
      if (migration?.status !== "running" || move?.status !== "waiting") return { record: before };
      skipped = owner ? rules.skipReason(migration, owner, before) : "deleted";
      if (skipped !== null || !owner) return { record: before };
      const counts = this.#counted(migration, move, "moved");
      return await this.#decide(migration, { owner, before }, [...counts, this.#changeOf(move, "moved")]);
    });
    return found ? skipped : "no_subscription";
  }

  async #decide(
    migration: PlanMigration,
    { owner, before }: { readonly owner: StoredTenant; readonly before: Stored<typeof subscription> },
    bookkeeping: readonly Change[],
  ): Promise<Decided<Subscription>> {
    const now = this.work.now();
    const { toPlanId, toVersion, mode } = migration;
    const [plan, version, sold, settings] = await Promise.all([
      toPlanId === migration.planId ? currentPlan(this.work, toPlanId) : loadPlan(this.work, toPlanId, "/toPlanId"),
      soldTerms(this.work, { planId: toPlanId, planVersion: toVersion }),
      soldTerms(this.work, before),
      currentSettings(this.work),
    ]);
    const target = rules.planAt(plan, version);
    if (toPlanId !== owner.plan) assertTrialUnused(owner, target);
    assertTrials(settings, toPlanId !== owner.plan && mode !== "no_billing_change" && isTrialPlan(target));
    const record = fitted(rules.moved(mode, before, sold, target, now).subscription, now);
    const terms = mode === "no_billing_change" ? { plan: toPlanId } : onPlan(owner, target, settings, now);
    const after: Tenant = { ...owner, ...terms, updatedAt: now };
    const [{ changes, ...entitled }, movements] = await Promise.all([
      entitlementChanges(this.work, { tenant: after, subscription: record, terms: target }),
      movementChanges(this.work, owner, after),
    ]);
    return {
      record,
      checks: [planCheck(plan)],
      changes: [{ entity: tenant, before: owner, after }, ...movements, ...changes, ...bookkeeping],
      ...entitled,
      data: {
        migrationId: migration.id,
        tenant: { before: { plan: owner.plan, mrr: owner.mrr }, after: { plan: after.plan, mrr: after.mrr } },
      },
      attempts: COUNT_ATTEMPTS,
    };
  }

  async #settle(move: StoredMove, status: "skipped" | "failed", why: Pick<PlanMove, "reason" | "message">): Promise<void> {
    await this.#bookkeep(move.migrationId, async (migration) => {
      const before = await this.#moves.get(move.id);
      if (before?.status !== "waiting") return null;
      return { after: rules.counted(migration, "waiting", status), changes: [this.#changeOf(before, status, why)] };
    });
  }

  #counted(migration: StoredMigration, { status }: PlanMove, to: PlanMove["status"]): Change[] {
    const after = { ...rules.counted(migration, status, to), updatedAt: this.work.now() };
    return [{ entity: planMigration, before: migration, after }];
  }

  #changeOf(before: StoredMove, status: PlanMove["status"], why: Pick<PlanMove, "reason" | "message"> = {}): Change {
    const { reason: _, message: _message, ...rest } = before;
    return { entity: planMove, before, after: { ...rest, ...why, status, updatedAt: this.work.now() } };
  }

  /** Changes the migration and its moves while it runs. The moves themselves are the record of it. */
  async #bookkeep(
    id: string,
    decide: (migration: StoredMigration) => Booked | null | Promise<Booked | null>,
  ): Promise<void> {
    await this.work.transact<object>(async () => {
      const before = await this.#migrations.get(id);
      const booked = before?.status === "running" ? await decide(before) : null;
      if (!booked) return { done: {}, resultOf: null };
      const after = { ...booked.after, updatedAt: this.work.now() };
      const changes = [{ entity: planMigration, before, after }, ...booked.changes];
      return { commit: { changes, audit: "none", attempts: COUNT_ATTEMPTS, result: {} }, resultOf: null };
    });
  }
}

interface Booked {
  readonly after: PlanMigration;
  readonly changes: readonly Change[];
}
