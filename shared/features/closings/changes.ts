import { Records } from "../../core/records.ts";
import type { UnitOfWork } from "../../core/unit-of-work.ts";
import { closing } from "./entity.ts";

/** Records that a month is closed, once. `metrics`: those whose policy is `overage`. */
export async function closeMonth(work: UnitOfWork, period: string, metrics: readonly string[]): Promise<void> {
  await new Records(closing, work).put(period, {}, (before) => ({
    action: "closing.created",
    record: before ?? { period, metrics: [...metrics], createdAt: work.now() },
  }));
}
