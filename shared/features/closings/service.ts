import { EntityService } from "../../core/entity-service.ts";
import type { UnitOfWork } from "../../core/unit-of-work.ts";
import { closing } from "./entity.ts";

/** The months that are closed. The job `closings` writes them. */
export class ClosingService extends EntityService<typeof closing> {
  constructor(work: UnitOfWork) {
    super(work, closing);
  }
}
