import { EntityService } from "../../core/entity-service.ts";
import type { UnitOfWork } from "../../core/unit-of-work.ts";
import { closeMonth } from "./changes.ts";
import { closing } from "./entity.ts";

/** The months that are closed. The job `closings` writes them. */
export class ClosingService extends EntityService<typeof closing> {
  constructor(work: UnitOfWork) {
    super(work, closing);
  }

  /** See `closeMonth`. */
  async close(period: string, metrics: readonly string[]): Promise<void> {
    await closeMonth(this.work, period, metrics);
  }
}
