import type { UnitOfWork } from "../../shared/core/unit-of-work.ts";
import { dispatch } from "../../shared/features/webhooks/dispatch.ts";

/** Numbers all events, as the job `webhooks` does, and creates their deliveries. */
export async function numberAll(work: UnitOfWork): Promise<void> {
  for (let hasMore = true; hasMore;) hasMore = (await dispatch(work)).more;
}
