import type { Stored } from "../../core/collection.ts";
import { Records } from "../../core/records.ts";
import type { UnitOfWork } from "../../core/unit-of-work.ts";
import { isInnkeepError, isOutage } from "../../kernel/errors.ts";
import { DeletionSteps } from "./deletion.ts";
import { complianceRequest } from "./entity.ts";
import { ExportSteps } from "./export.ts";
import { isOpen, moved } from "./rules.ts";

/** Errors after which a repeated step can succeed, without a change of the request. */
const PASSING = ["tenant_deleted", "not_found", "root_key_unavailable", "write_conflict"] as const;
/** Steps that may lose against other writers, one after the other. */
const MAX_CONFLICTS = 5;

/** Handles requests that the program can answer by itself, in steps of one commit each. */
export class Handler {
  readonly #requests: Records<typeof complianceRequest>;
  readonly #exports: ExportSteps;
  readonly #deletions: DeletionSteps;

  constructor(private readonly work: UnitOfWork) {
    this.#requests = new Records(complianceRequest, work);
    this.#exports = new ExportSteps(work);
    this.#deletions = new DeletionSteps(work);
  }

  /** At most so many steps of the request with this key. An error that no repetition can resolve ends the request as failed. */
  async run(key: string, steps: number): Promise<void> {
    try {
      let conflicts = 0;
      for (let step = 0; step < steps; step++) {
        const request = await this.#requests.get(key);
        if (request?.certificateId !== undefined) return await this.#deletions.certify(request.certificateId);
        if (!request || !isOpen(request) || request.runAt === undefined || request.runAt > this.work.now()) return;
        conflicts = await this.#attempt(request, conflicts);
      }
    } catch (error) {
      if (isOutage(error) || PASSING.some((code) => isInnkeepError(error, code))) throw error;
      await this.#fail(
        key,
        isInnkeepError(error) ? error.message : `The program failed (${error instanceof Error ? error.name : "unknown"}).`,
      );
    }
  }

  /** A step that lost against another writer is decided again, on what is there then. Returns how many have lost since the last one. */
  async #attempt(request: Stored<typeof complianceRequest>, conflicts: number): Promise<number> {
    try {
      if (request.type === "deletion") await this.#deletions.next(request);
      else await this.#exports.next(request);
      return 0;
    } catch (error) {
      if (!isInnkeepError(error, "write_conflict") || conflicts === MAX_CONFLICTS) throw error;
      return conflicts + 1;
    }
  }

  async #fail(key: string, error: string): Promise<void> {
    await this.#requests.change(key, {}, "compliance-request.failed", (before) => (
      { record: isOpen(before) ? moved(before, "failed", { error: error.slice(0, 1_000) }, this.work.now()) : before }
    ));
  }
}
