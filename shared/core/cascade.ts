import { familyOf } from "../kv/define.ts";
import type { AnyEntity } from "../kv/define.ts";

export interface CascadeRule {
  readonly entity: string;
  readonly family: string;
  /** `goes` with its tenant, is `kept` for its own retention, `depends` on the record, or is the `platform`'s. */
  readonly rule: "goes" | "kept" | "depends" | "platform";
}

/** What the deletion of a tenant does to each entity. */
export function cascadePlan(registry: readonly AnyEntity[]): CascadeRule[] {
  return registry.map((entity) => ({ entity: entity.name, family: familyOf(entity), rule: cascadeRule(entity) }));
}

function cascadeRule(entity: AnyEntity): CascadeRule["rule"] {
  if (entity.owner === "platform") return "platform";
  if (typeof entity.onTenantDelete === "function") return "depends";
  return entity.onTenantDelete === "retain" ? "kept" : "goes";
}
