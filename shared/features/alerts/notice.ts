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
  const variables = { metric: name, period: after.period, current, limit };
  const of = { tenantId: after.tenantId, category: "usage" } as const;
  return isReached
    ? { ...of, template: "usage_limit", variables, type: "error", priority: "high" }
    : { ...of, template: "usage_near_limit", variables: { ...variables, percent: after.threshold }, type: "warning", priority: "medium" };
}
