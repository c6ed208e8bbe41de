/** The calls of the page, all to its own origin. */

/** @typedef {{ id: string, name: string, subdomain: string, status: string, plan: string, mrr: number, usagePercent: number }} Tenant */
/** @typedef {{ metric: string, current: number, limit: number | null, percentage: number, unit: string, kind: string, resetsAt: string | null }} Usage */
/** @typedef {{ id: string, name: string }} Metric */
/** @typedef {{ data: Tenant[], pagination: { hasNext: boolean, nextCursor?: string, total?: number } }} TenantPage */
/** @typedef {{ total: number, byStatus: Record<string, number>, byPlan: Record<string, number>, totalMrr: number, currency: string }} Stats */
/** @typedef {{ migration: string | null, pending: string[], refusesWrites: string | null }} Ready */
/** @typedef {{ name: string, summary: string, running: boolean, nextRunAt: string, lastFinishedAt: string | null, lastDurationMs: number | null, lastProcessed: number | null, lastError: { code: string, message: string } | null, backlog: { count: number } | null, overdue: boolean, ageSeconds: number }} Job */
/** @typedef {{ tenants: number, mrr: number }} Tally */
/** @typedef {{ month: string, starting: number, new: number, expansion: number, contraction: number, churn: number, reactivation: number, ending: number }} Movements */
/** @typedef {{ asOf: string, currency: string, tenants: Tally & { byStatus: Record<string, Tally>, byPlan: (Tally & { plan: string })[] }, revenue: { movements: Movements[] }, signUps: { tenants: number, days: { day: string, tenants: number }[] }, nearLimits: { fromPercent: number, tenants: number, highest: { id: string, name: string, plan: string, usagePercent: number }[] }, openAlerts: number, pastDueSubscriptions: number }} Dashboard */
/** @typedef {{ id: string, type: string, timestamp: string, tenantId?: string, subject: string, seq: number }} OutgoingEvent */
/** @typedef {{ data: OutgoingEvent[], nextCursor: string, hasMore: boolean }} EventPage */
/** @typedef {{ id: string, url: string, description?: string }} Webhook */
/** @typedef {{ id: string, event: string, status: string, attemptCount: number, attempts: { statusCode?: number, error?: string, durationMs: number }[], nextRetryAt: string | null, createdAt: string }} Delivery */
/** @typedef {{ id: string, title: string, message: string, type: string, publishAt: string }} Notification */
/** @typedef {{ data: Notification[], unread: number }} NotificationPage */
/** @typedef {{ legalHold: boolean, records: { entity: string, deleted: number, kept: number, ground?: string }[] }} DeletionPreview */
/** @typedef {{ role: string, person: string, token: string }} Token */
/** @typedef {{ url: string, expiresAt: string, platform: Token[], tenantId: string | null, tenant: Token[] }} Tokens */

/** A failed call: a message for people, and the request id, which is in the log as well. */
export class CallError extends Error {
  /**
   * @param {string} message
   * @param {string | null} requestId
   */
  constructor(message, requestId) {
    super(message);
    this.requestId = requestId;
  }
}

/**
 * Calls the API. Returns the response body, which is assumed to match openapi.json.
 * @template T
 * @param {string} path
 * @param {string} [token]
 * @returns {Promise<T>}
 */
export async function get(path, token) {
  const headers = new Headers({ "x-request-id": `local-page.${crypto.randomUUID()}` });
  if (token) headers.set("authorization", `Bearer ${token}`);
  const response = await fetch(path, { headers }).catch((/** @type {unknown} */ error) => {
    throw new CallError(
      `The API does not respond (${error instanceof Error ? error.message : String(error)}). Check that npm start is running.`,
      null,
    );
  });
  const body = await response.json().catch(() => null);
  if (response.ok && body !== null) return body;
  const { detail, requestId } = body ?? {};
  throw new CallError(detail ?? `${path} returned ${response.status}.`, requestId ?? null);
}
