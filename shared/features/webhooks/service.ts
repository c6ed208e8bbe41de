import { EntityService } from "../../core/entity-service.ts";
import type { UnitOfWork } from "../../core/unit-of-work.ts";
import { webhook } from "./entity.ts";

/** The webhooks of the platform and of tenants. */
export class WebhookService extends EntityService<typeof webhook> {
  constructor(work: UnitOfWork) {
    super(work, webhook);
  }
}
