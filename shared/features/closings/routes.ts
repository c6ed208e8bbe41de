import { crud } from "../../core/crud.ts";
import { type Route, verb } from "../../core/route.ts";
import { recordOf } from "../../core/schemas.ts";
import { closing } from "./entity.ts";
import { ClosingService } from "./service.ts";

const path = "/v1/closings";

/** The platform reads which months are closed. */
export const routes: readonly Route[] = [
  ...crud(closing, { path, scope: "closings", service: ClosingService, only: ["list"], sample: {} }),
  verb(`GET ${path}/:period`, {
    service: ClosingService,
    operationId: "getClosing",
    summary: "Get a closed month",
    scope: "read:closings",
    resource: "closed month",
    output: recordOf(closing),
    loads: [closing],
    sample: { params: { period: closing.example.period }, prepare: (service) => service.close(closing.example.period, []) },
    run: async ({ service, params }) => await service.get(params.period),
  }),
];
