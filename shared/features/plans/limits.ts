import type { UnitOfWork } from "../../core/unit-of-work.ts";
import { errors } from "../../kernel/errors.ts";
import { pointerToken } from "../../kernel/json.ts";
import { keyOf } from "../../kv/define.ts";
import type { Check } from "../../kv/store.ts";
import { metric } from "../metrics/entity.ts";
import { LIMITS_WITHOUT_METRIC } from "./entity.ts";

/** The checks that no metric of these limits is deleted before the commit. Throws `validation_failed` for names without a metric. */
export async function metricChecks(work: UnitOfWork, names: readonly string[], pathOf = pathOfLimit): Promise<Check[]> {
  const metered = names.filter((name) => !LIMITS_WITHOUT_METRIC.has(name));
  if (metered.length === 0) return [];
  const keys = metered.map((id) => keyOf(metric, { id }));
  const found = await work.store.mget(keys);
  const versions = new Map(found.flatMap((entry) => entry ? [[entry.key, entry.version] as const] : []));
  const unknown = metered.filter((_, i) => !versions.has(keys[i] ?? ""));
  if (unknown.length > 0) {
    throw errors.validation(unknown.map((name) => (
      {
        path: pathOf(name),
        message: `must be an existing metric, and ${name} is not; create it first or choose another`,
        code: "unknown_metric",
      }
    )));
  }
  return [...versions].map(([key, version]) => ({ key, version }));
}

function pathOfLimit(name: string): string {
  return `/limits/${pointerToken(name)}`;
}
