import { EntityService } from "../../core/entity-service.ts";
import { inputsOf, type PutInput } from "../../core/fields.ts";
import type { Put } from "../../core/records.ts";
import type { UnitOfWork } from "../../core/unit-of-work.ts";
import { errors } from "../../kernel/errors.ts";
import type { ChangeOptions } from "../../kernel/version.ts";
import { Cleanup } from "./cleanup.ts";
import { type Policy, policy } from "./entity.ts";
import { assertPolicy, reportOf, type Task, type TaskReport } from "./rules.ts";

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

  /** Creates or replaces a policy. Throws `validation_failed` if its type has no retention, or its tenant or plan does not exist. */
  async upsert(id: string, data: PolicyPut, options: ChangeOptions = {}): Promise<Put<typeof policy>> {
    const input = inputsOf(policy).put.safeParse(data);
    if (input.success) await this.#assertPolicy(input.data as Policy);
    return await super.put(id, data, options);
  }

  async #assertPolicy(input: Policy): Promise<void> {
    const { store, platform } = this.work;
    assertPolicy(await platform.registry(), input, { hasArchive: platform.archive !== null });
    const { tenantId, planId } = input;
    const refuse = (path: string, message: string) => errors.validation([{ path, message, code: "unknown" }]);
    // The audit entries of a deleted tenant are kept, so they can have a policy.
    if (tenantId !== undefined && !await store.get(`tenant:${tenantId}`) && !await store.chainHead(tenantId)) {
      throw refuse("/tenantId", "must be the id of a tenant");
    }
    if (planId !== undefined && !await store.get(`plan:${planId}`)) throw refuse("/planId", "must be the id of a plan");
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
