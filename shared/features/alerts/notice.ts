import type { Notice } from "../notifications/notify.ts";
import type { AlertMove, Watched } from "./rules.ts";

/** What a tenant is told of an alert that opens. Null for every other change of an alert. */
export function noticeOf(
  { before, after }: AlertMove,
  { current, limit }: Pick<Watched, "current" | "limit">,
  name: string,
): Notice | null {
  if (before !== null || !after.triggered || limit === null) return null;
  const isReached = after.threshold >= 100;
  return {
    tenantId: after.tenantId,
    title: isReached ? `${name}: limit reached` : `${name}: ${after.threshold} % of the limit used`,
    message: `Your usage of ${name} in ${after.period} is ${current}. The limit of your plan is ${limit}.`,
    type: isReached ? "error" : "warning",
    priority: isReached ? "high" : "medium",
    category: "usage",
  };
}
