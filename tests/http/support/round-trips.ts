/** The round trips of a valid call of each route, with a reason where they are more than a lookup, a load and a commit. */
export const ROUND_TRIPS: readonly (readonly [route: string, trips: number, because?: string])[] = [
  ["GET /v1/tenants", 2],
  ["POST /v1/tenants", 3],
  ["GET /v1/tenants/:tenantId", 1],
  ["PATCH /v1/tenants/:tenantId", 2],
  ["GET /v1/tenants/:tenantId/overview", 2, "reads what the tenant names, such as its plan"],
  ["DELETE /v1/tenants/:tenantId", 2],
  ["GET /v1/tenants/stats", 2],
  ["GET /v1/tenants/resolve", 2],
  ["POST /v1/tenants/:tenantId/suspend", 3],
  ["POST /v1/tenants/:tenantId/unsuspend", 3],
  ["POST /v1/tenants/:tenantId/cancel", 3],
  ["POST /v1/tenants/:tenantId/reactivate", 3],
  ["GET /v1/plans", 2],
  ["POST /v1/plans", 3],
  ["GET /v1/plans/:planId", 1],
  ["PATCH /v1/plans/:planId", 2],
  ["DELETE /v1/plans/:planId", 3, "counts the plan's users before the deletion, and again in its commit"],
  ["GET /v1/plans/:planId/versions", 2, "reads a page, like other lists"],
  ["GET /v1/plans/:planId/versions/:n", 1],
  ["GET /v1/tenants/:tenantId/subscription", 1],
  ["PUT /v1/tenants/:tenantId/subscription", 2],
  ["POST /v1/tenants/:tenantId/subscription/preview", 3, "reads the plan, the terms that were sold and the usage"],
  ["POST /v1/tenants/:tenantId/subscription/cancel", 2],
  ["POST /v1/tenants/:tenantId/subscription/reactivate", 3],
  ["GET /v1/metrics", 2],
  ["POST /v1/metrics", 3],
  ["GET /v1/metrics/:metricId", 1],
  ["PATCH /v1/metrics/:metricId", 2],
  ["DELETE /v1/metrics/:metricId", 3, "counts the metric's users before the deletion, and again in its commit"],
  ["GET /v1/tenants/:tenantId/usage", 2],
  ["GET /v1/tenants/:tenantId/usage/:metric", 2],
  ["PUT /v1/tenants/:tenantId/usage/:metric", 3],
  ["POST /v1/tenants/:tenantId/usage/:metric/increment", 2],
  ["POST /v1/tenants/:tenantId/usage/:metric/consume", 3],
  ["GET /v1/tenants/:tenantId/usage/:metric/check", 2],
  ["GET /v1/audit", 2],
  ["GET /v1/audit/verify", 3, "reads the head of the chain before its entries"],
  ["GET /v1/admins", 2],
  ["POST /v1/admins", 2],
  ["GET /v1/admins/:userId", 1],
  ["PATCH /v1/admins/:userId", 2],
  ["DELETE /v1/admins/:userId", 2],
  ["GET /v1/me", 2],
  ["GET /v1/tenants/:tenantId/invoices", 2],
  ["POST /v1/tenants/:tenantId/invoices", 3],
  ["GET /v1/tenants/:tenantId/invoices/:invoiceId", 1],
  ["POST /v1/tenants/:tenantId/invoices/:invoiceId/pay", 2],
  ["POST /v1/tenants/:tenantId/invoices/:invoiceId/fail", 2],
  ["POST /v1/tenants/:tenantId/invoices/:invoiceId/void", 2],
  ["POST /v1/tenants/:tenantId/invoices/:invoiceId/refund", 2],
  ["GET /v1/tenants/:tenantId/credit-notes", 2],
  ["POST /v1/tenants/:tenantId/credit-notes", 3],
  ["GET /v1/tenants/:tenantId/credit-notes/:creditNoteId", 1],
  ["GET /v1/revenue/movements", 2],
  ["GET /v1/tenants/:tenantId/entitlements", 1],
  ["GET /v1/tenants/:tenantId/entitlements/check", 1],
  ["GET /v1/tenants/:tenantId/grants", 2],
  ["POST /v1/tenants/:tenantId/grants", 4, "reads the usage records whose limit it changes"],
  ["GET /v1/tenants/:tenantId/grants/:grantId", 1],
  ["PATCH /v1/tenants/:tenantId/grants/:grantId", 4, "reads the usage records whose limit it changes"],
  ["DELETE /v1/tenants/:tenantId/grants/:grantId", 4, "reads the usage records whose limit it changes"],
  ["GET /v1/policies", 2],
  ["PUT /v1/policies/:policyId", 3],
  ["POST /v1/policies/run", 36, "reads each kind of record and the heads of the audit chains, one after the other"],
  ["GET /v1/jobs", 2],
  ["GET /v1/jobs/dead", 2],
  ["POST /v1/jobs/dead/:deadLetterId/requeue", 2],
  ["DELETE /v1/jobs/dead/:deadLetterId", 2],
];

/** The section of docs/performance.md. */
export function roundTripsSection(): string {
  const rows = ROUND_TRIPS.map(([route, trips, because = ""]) => `| \`${route}\` | ${trips} | ${because} |`);
  return `## Round trips

The number of database calls that a request waits for, one after the other, including the lookup of the caller. Concurrent calls count once. The
record named in the path is read together with the caller, so reading it takes one round trip and most changes take two. A list takes two, a
creation two or three.

| route | round trips | reason for more |
| --- | --- | --- |
${rows.join("\n")}`;
}
