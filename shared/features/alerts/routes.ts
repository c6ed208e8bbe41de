import { crud } from "../../core/crud.ts";
import { Records } from "../../core/records.ts";
import { type Route, type Sample, verb } from "../../core/route.ts";
import { recordOf } from "../../core/schemas.ts";
import type { UnitOfWork } from "../../core/unit-of-work.ts";
import { alert } from "./entity.ts";
import { eventDataOf } from "./rules.ts";
import { AlertService } from "./service.ts";

const path = "/v1/tenants/:tenantId/alerts";

/** Makes the alert of the samples. Other alerts follow from usage, and have ids that depend on the month. */
class SampleAlerts {
  constructor(private readonly work: UnitOfWork) {}

  async make(tenantId: string): Promise<void> {
    const record = { ...alert.schema.parse(alert.example), tenantId };
    const eventData = eventDataOf(record, { current: 412, limit: 500 });
    await new Records(alert, this.work).create("usage.alert", () => ({ record, eventData }));
  }
}

const sample: Sample<unknown, never> = {
  params: { alertId: alert.example.id },
  prepare: async (_, { tenantId = "" }, use) => await use(SampleAlerts).make(tenantId),
};
const one = { service: AlertService, output: recordOf(alert), loads: [alert], sample } as const;

/** Only usage triggers alerts. A tenant's administrators can resolve their own. */
export const routes: readonly Route[] = [
  ...crud(alert, { path, scope: "alerts", service: AlertService, only: ["list"], sample: {} }),
  verb(`GET ${path}/:alertId`, {
    ...one,
    operationId: "getAlert",
    summary: "Get an alert",
    scope: "read:alerts",
    run: async ({ service, params }) => await service.get(params.tenantId, params.alertId),
  }),
  verb(`POST ${path}/:alertId/resolve`, {
    ...one,
    operationId: "resolveAlert",
    summary: "Resolve an alert",
    description: "The alert is triggered again, without another event, only after usage was below its threshold. " +
      "An alert that is resolved already is not changed.",
    scope: "write:alerts",
    run: async ({ service, params, options }) => await service.resolve(params.tenantId, params.alertId, options),
  }),
];
