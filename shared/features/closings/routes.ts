import { crud } from "../../core/crud.ts";
import type { Route } from "../../core/route.ts";
import { closing } from "./entity.ts";
import { ClosingService } from "./service.ts";

/** The platform reads which months are closed. */
export const routes: readonly Route[] = crud(closing, {
  path: "/v1/closings",
  scope: "closings",
  service: ClosingService,
  only: ["list", "get"],
  sample: {},
});
