import { crud } from "../../core/crud.ts";
import type { Route } from "../../core/route.ts";
import { metric } from "./entity.ts";
import { MetricService } from "./service.ts";

/** Tenants read the catalogue, the platform writes it. */
export const routes: readonly Route[] = crud(metric, {
  path: "/v1/metrics",
  scope: "metrics",
  service: MetricService,
  errors: { delete: ["metric_in_use"] },
  descriptions: {
    create: "It can be metered and limited by plans within 10 seconds, without a deployment.",
    delete: "Refused while a plan names it in its limits or usage of it is recorded.",
  },
  sample: {
    create: (n) => ({ id: `metric_${n}`, name: `Metric ${n}`, unit: "pieces", kind: "counter" }),
    update: (n) => ({ description: `changed ${n}` }),
  },
});
