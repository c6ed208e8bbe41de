import { auditEntry } from "../../core/audit-entry.ts";
import { personalKey } from "../../core/personal-key.ts";
import { Collection, type Stored } from "../../core/collection.ts";
import type { UnitOfWork } from "../../core/unit-of-work.ts";
import { isoTime } from "../../kernel/clock.ts";
import { errors, InnkeepError, isInnkeepError, isOutage } from "../../kernel/errors.ts";
import { OldAuditEntries } from "./chains.ts";
import { policy, retentionRun } from "./entity.ts";
import { checkpointHeads, signAgain } from "./heads.ts";
import { rulesOfKeys } from "./personal-keys.ts";
import { OldRecords } from "./records.ts";
import { type KeepRule, keepRules, type Task, taskOf } from "./rules.ts";
import { countOf, type Counts, type Old, stepOf } from "./subjects.ts";
import { tenantsOnHold } from "./tenants.ts";

/** The interval of the job. */
export const EVERY_SECONDS = 3_600;

/** Tasks that are not the records of one entity. No entity has such a name. */
const EXPIRED = "*expired";
const CHECKPOINTS = "*checkpoints";
const SIGNATURES = "*signatures";
const ROLLUPS = "*rollups";

type StoredPolicy = Stored<typeof policy>;

/** A run of the cleanup in steps. Every step is one page of one task, and the tasks take turns. */
export class Cleanup {
  constructor(private readonly work: UnitOfWork, private readonly limit: number, private readonly dryRun: boolean) {}

  /** The tasks of a new run. Checkpoints come first, before entries of their chains are deleted. */
  async tasks(): Promise<Task[]> {
    // Not from the policies: one that cannot be read must not stop the other tasks.
    const types = keepRules(await this.work.platform.registry(), []).map(({ entity }) => entity);
    const signatures = this.work.platform.previousAuditKey === null ? [] : [SIGNATURES];
    return [...(this.dryRun ? [] : [...signatures, CHECKPOINTS, EXPIRED, ROLLUPS]), ...types].map(taskOf);
  }

  /** One step of the first task that is not complete, which goes to the end of the list. Null if all are complete. */
  async step(tasks: readonly Task[]): Promise<Task[] | null> {
    await this.#assertClock();
    const next = tasks.find(({ isDone }) => !isDone);
    return next ? [...tasks.filter((task) => task !== next), await this.#advance(next)] : null;
  }

  /** A clock that is ahead would delete what is young. Throws `clock_skew`, so that the run goes on when the clock is right. */
  async #assertClock(): Promise<void> {
    const { store, context, platform: { maxClockSkewMs } } = this.work;
    if (maxClockSkewMs === null || this.dryRun) return;
    const { now } = await store.ping();
    const skewMs = context.clock.now() - Date.parse(now);
    if (Math.abs(skewMs) <= maxClockSkewMs) return;
    const seconds = Math.round(Math.abs(skewMs) / 1_000);
    throw new InnkeepError(
      "clock_skew",
      `The clock of the program is ${seconds} s ${
        skewMs > 0 ? "ahead of" : "behind"
      } that of the database. Correct the clocks; nothing was deleted.`,
    );
  }

  /** An error ends the task until the next run, and the others go on. Throws if the database is not available. */
  async #advance(task: Task): Promise<Task> {
    try {
      return await this.#run(task);
    } catch (error) {
      if (isOutage(error)) throw error;
      const code = isInnkeepError(error) ? error.code : "internal";
      // The message of another error may contain data.
      const reason = isInnkeepError(error) ? error.message : error instanceof Error ? error.name : "unknown";
      this.work.platform.logger.error("cleanup_failed", { type: task.type, code, reason });
      return { ...task, isDone: true, error: code };
    }
  }

  async #run(task: Task): Promise<Task> {
    const { work, limit } = this;
    if (task.type === SIGNATURES) return await signAgain(work, task, limit);
    if (task.type === CHECKPOINTS) return await checkpointHeads(work, task, limit);
    if (task.type === EXPIRED) {
      const gone = await work.store.sweep(limit, { except: await tenantsOnHold(work) });
      return { ...task, isDone: gone < limit, scanned: task.scanned + gone, deleted: task.deleted + gone };
    }
    if (task.type === ROLLUPS) return { ...task, isDone: true, scanned: await work.store.foldRollups() };
    // Read in each step, so that a policy that is changed or disabled during the run applies from then on.
    const rules = await this.#rulesOf(task.type);
    if (this.dryRun) return await this.#count(task, rules);
    const rule = rules.find((each) => placeOf(each) >= task.rule);
    if (!rule) return { ...task, isDone: true };
    // The rule of the cursor may be gone.
    const begun = placeOf(rule) === task.rule ? task : { ...task, rule: placeOf(rule), after: null, cutoff: null };
    const after = await stepOf(work, rule, await this.#oldOf(rule, rules), begun, limit);
    if (!after.isDone) return after;
    await this.#complete(rule);
    const next = rules[rules.indexOf(rule) + 1];
    return next ? { ...after, rule: placeOf(next), after: null, cutoff: null, isDone: false } : after;
  }

  async #count(task: Task, rules: readonly KeepRule[]): Promise<Task> {
    const counts: Counts[] = [];
    for (const rule of rules) counts.push(await countOf(this.work, rule, rules, await this.#oldOf(rule, rules)));
    const sum = (name: keyof Counts) => counts.reduce((total, count) => total + count[name], 0);
    return { ...task, isDone: true, scanned: sum("scanned"), deleted: sum("deleted") };
  }

  async #oldOf(rule: KeepRule, rules: readonly KeepRule[]): Promise<Old> {
    if (rule.entity === auditEntry.name) return new OldAuditEntries(this.work, rule, rules);
    const entity = (await this.work.platform.registry()).find(({ name }) => name === rule.entity);
    if (!entity) throw errors.notFound("entity", rule.entity);
    return new OldRecords(this.work, entity, rule, rules);
  }

  async #rulesOf(type: string): Promise<KeepRule<StoredPolicy>[]> {
    const { store, platform } = this.work;
    const policies = new Collection(policy, store);
    const stored: StoredPolicy[] = [];
    for await (const entry of store.entries({ prefix: "policy" })) stored.push(policies.read(entry));
    const all = keepRules(await platform.registry(), stored);
    return type === personalKey.name ? await rulesOfKeys(this.work, all) : all.filter(({ entity }) => entity === type);
  }

  /** The end of a rule: its policies and the audit entry get the sum, in one commit. */
  async #complete({ entity: type, subject, name, days, action, policies }: KeepRule<StoredPolicy>): Promise<void> {
    const { work } = this;
    const now = work.context.clock.now();
    await work.transact(async () => {
      const runs = new Collection(retentionRun, work.store);
      const run = await runs.get(runs.key({ type, subject, name }));
      const current = await new Collection(policy, work.store).getMany(policies.map(({ id }) => `policy:${id}`));
      const deleted = run?.deleted ?? 0;
      const times = { lastRunAt: isoTime(now), lastDeleted: deleted, nextRunAt: isoTime(now + EVERY_SECONDS * 1_000) };
      const applied = current.filter((one) => one !== null);
      const changes = [
        ...applied.map((before) => ({ entity: policy, before, after: { ...before, ...times } })),
        ...(run ? [{ entity: retentionRun, before: run, after: null }] : []),
      ];
      if (changes.length === 0) return { done: {}, resultOf: null };
      const names = applied.length > 0 ? applied.map(({ id }) => id) : [type];
      const data = {
        type,
        retentionDays: days,
        ...(action === "delete" ? {} : { action }),
        deleted,
        ...(run ? { startedAt: run.startedAt } : {}),
      };
      const notes = names.map((resourceId) => ({ action: "policy.applied", resource: "policy", resourceId, data }));
      return { commit: { changes, audit: deleted > 0 ? notes : "none", result: {} }, resultOf: null };
    });
  }
}

function placeOf({ subject, name }: Pick<KeepRule, "subject" | "name">): string {
  return `${subject}:${name}`;
}
