import { crud } from "../../core/crud.ts";
import type { Route } from "../../core/route.ts";
import { connectorEvent } from "./entity.ts";
import { ConnectorEventService } from "./service.ts";

/** The program writes connector events; no request does. */
export const routes: readonly Route[] = crud(connectorEvent, {
  path: "/v1/tenants/:tenantId/connector-events",
  scope: "connector-events",
  service: ConnectorEventService,
  only: ["list"],
  descriptions: { list: "Calls of the tenant's integrations, the newest first. They are kept for 90 days." },
  sample: {},
});
