import { describe, expect, test } from "vitest";
import { useApi } from "./support/api.ts";
import { eachRoute, isGuarded, routeBattery } from "./support/battery.ts";

const api = useApi();

routeBattery(api);

describe("the app", () => {
  test("R12: declares a scope for every route; only health, readiness, the OpenAPI file, signed links and what is meant for everybody are public", async () => {
    const open = api.routes.filter((route) => route.scope === "public").map(({ path }) => path);
    expect(open).toEqual([
      "/health",
      "/ready",
      "/openapi.json",
      "/v1/notifications/email/:emailId/open",
      "/v1/settings/public",
      "/v1/branding",
      "/v1/downloads/:fileId",
    ]);
    expect(api.routes.filter(({ scope }) => scope === "caller").map(({ path }) => path)).toEqual(["/v1/me", "/v1/event-types"]);
    await eachRoute(
      api.routes.filter(isGuarded),
      (route) => Promise.resolve(expect(route.scope).toMatch(/^(caller|(read|write):[a-z-]+)$/)),
    );
  });

  test("T08: lets the users of a suspended tenant read billing and /v1/me, and export its data, and nothing else", () => {
    const open = api.routes.filter(({ openWhenSuspended }) => openWhenSuspended).map(({ operationId }) => operationId);
    const billing = ["listInvoices", "getInvoice", "listCreditNotes", "getCreditNote", "getEntitlements", "checkEntitlement"];
    const requests = ["list", "create", "get", "cancel"].map((verb) => `${verb}ComplianceRequest${verb === "list" ? "s" : ""}`);
    expect(open).toEqual(["getSubscription", "getMe", ...billing, ...requests, "downloadComplianceExport", "previewDeletion"]);
  });

  test("A05: audits everything except metering, previews and read marks, and records a deletion in both chains", () => {
    const counted = api.routes.flatMap((
      { operationId, sample },
    ) => (sample?.auditEntries === undefined ? [] : [[operationId, sample.auditEntries]]));
    expect(Object.fromEntries(counted)).toEqual({
      recordUsage: 0,
      incrementUsage: 0,
      consumeUsage: 0,
      reserveUsage: 0,
      commitReservation: 0,
      releaseReservation: 0,
      ingestUsageEvents: 0,
      markAllNotificationsRead: 0,
      markNotificationRead: 0,
      trackUsage: 0,
      previewPlanChange: 0,
      previewPlanMigration: 0,
      deleteTenant: 2,
    });
  });
});
