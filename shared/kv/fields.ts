/**
 * The fields entities may filter and sort by. Each is one column of `kv.entries`, set
 * by a trigger and shared by all entities that have a field of that name, so the list is short and a name means one
 * type everywhere. A new field needs a migration: `npm run schema` prints it, a test fails until then.
 */
export type FieldType = "text" | "time" | "number" | "boolean";

export const FIELDS = {
  action: "text",
  active: "boolean",
  cancelAtPeriodEnd: "boolean",
  created: "time",
  createdAt: "time",
  currentPeriodEnd: "time",
  customDomain: "text",
  dueDate: "time",
  email: "text",
  enabled: "boolean",
  event: "text",
  expiresAt: "time",
  flagId: "text",
  interval: "text",
  lastSyncAt: "time",
  metric: "text",
  mrr: "number",
  name: "text",
  nextAttemptAt: "time",
  nextRetryAt: "time",
  nextRunAt: "time",
  number: "text",
  owner: "text",
  period: "text",
  plan: "text",
  planId: "text",
  price: "number",
  priority: "text",
  provider: "text",
  region: "text",
  resolvedAt: "time",
  resource: "text",
  resourceId: "text",
  revokedAt: "time",
  role: "text",
  scope: "text",
  seq: "number",
  status: "text",
  subdomain: "text",
  suspendedAt: "time",
  tenantId: "text",
  threshold: "number",
  timestamp: "time",
  total: "number",
  trialEndsAt: "time",
  triggered: "boolean",
  triggeredAt: "time",
  type: "text",
  usagePercent: "number",
  userId: "text",
  webhookId: "text",
} as const satisfies Record<string, FieldType>;

export type FieldName = keyof typeof FIELDS;

/** `trialEndsAt` → `f_trial_ends_at`. */
export function fieldColumn(field: FieldName): string {
  return `f_${field.replace(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`)}`;
}
