import { EntityService } from "../../core/entity-service.ts";
import type { PutInput } from "../../core/fields.ts";
import type { Put } from "../../core/records.ts";
import type { UnitOfWork } from "../../core/unit-of-work.ts";
import type { ChangeOptions } from "../../kernel/version.ts";
import { Cleanup } from "./cleanup.ts";
import { policy } from "./entity.ts";
import { assertType, reportOf, type Task, type TaskReport } from "./rules.ts";

export type PolicyPut = PutInput<typeof policy>;

/** What a run deleted, or with `dryRun` would delete. */
export interface RetentionReport {
  readonly dryRun: boolean;
  /** False if the time of the call was over: the job, or another call, goes on. */
  readonly complete: boolean;
  readonly tasks: TaskReport[];
}

/** Records of one step. */
const STEP_RECORDS = 100;
/** Steps of one call, which keep it within the CPU time of an Edge Function. */
const MAX_STEPS = 50;
const MAX_MS = 20_000;

/** The retention policies, and the deletion of what is older. The job `cleanup` runs it every hour. */
export class RetentionService extends EntityService<typeof policy> {
  constructor(work: UnitOfWork) {
    super(work, policy);
  }

  override async put(id: string, data: PolicyPut, options: ChangeOptions = {}): Promise<Put<typeof policy>> {
    return await this.upsert(id, data, options);
  }

  /** Creates or replaces a policy. Throws `validation_failed` if its type is not an entity that declares a retention. */
  async upsert(id: string, data: PolicyPut, options: ChangeOptions = {}): Promise<Put<typeof policy>> {
    if (typeof data.type === "string") assertType(await this.work.platform.registry(), data.type);
    return await super.put(id, data, options);
  }

  /** Deletes what is old now, or counts it. A run beside the job is safe: each deletion checks versions. */
  async run({ dryRun = false }: { readonly dryRun?: boolean } = {}): Promise<RetentionReport> {
    const { result } = await this.work.transact(async () => {
      const report = await this.#run(dryRun);
      if (dryRun) return { done: report, resultOf: null };
      const deleted = report.tasks.reduce((sum, task) => sum + task.deleted, 0);
      const audit = [{
        action: "retention.run",
        resource: "retention",
        resourceId: "policies",
        data: { deleted, complete: report.complete },
      }];
      return { commit: { audit, result: report }, resultOf: null };
    });
    return result;
  }

  async #run(dryRun: boolean): Promise<RetentionReport> {
    const { clock } = this.work.context;
    const endMs = clock.now() + MAX_MS;
    const cleanup = new Cleanup(this.work, STEP_RECORDS, dryRun);
    let tasks: readonly Task[] = await cleanup.tasks();
    let complete = false;
    for (let steps = 0; !complete && steps < MAX_STEPS && clock.now() < endMs; steps++) {
      const next = await cleanup.step(tasks);
      if (next) tasks = next;
      complete = next === null;
    }
    return { dryRun, complete, tasks: reportOf(tasks) };
  }
}
