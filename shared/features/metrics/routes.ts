import { crud } from "../../core/crud.ts";
import type { Route } from "../../core/route.ts";
import { metric } from "./entity.ts";
import { MetricService } from "./service.ts";

/** Tenants can read the catalogue. Only the platform can change it. */
export const routes: readonly Route[] = crud(metric, {
  path: "/v1/metrics",
  scope: "metrics",
  service: MetricService,
  errors: { delete: ["metric_in_use"] },
  descriptions: {
    create: "Within 10 seconds, usage of the metric can be recorded and plans can limit it.",
    delete: "Refused with `metric_in_use` while a plan or grant limits the metric or usage of it is recorded.",
  },
  sample: {
    create: (n) => ({ id: `metric_${n}`, name: `Metric ${n}`, unit: "pieces", kind: "counter" }),
    update: (n) => ({ description: `changed ${n}` }),
  },
});
