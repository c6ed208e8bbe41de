import { familyOf } from "../kv/define.ts";
import type { AnyEntity } from "../kv/define.ts";

export interface CascadeRule {
  readonly entity: string;
  readonly family: string;
  /** `depends`: the record decides between `delete` and `retain`. `platform`: its records belong to no tenant. */
  readonly rule: "delete" | "retain" | "depends" | "platform";
}

/** The effect of the deletion of a tenant on the records of each entity. */
export function cascadePlan(registry: readonly AnyEntity[]): CascadeRule[] {
  return registry.map((entity) => ({ entity: entity.name, family: familyOf(entity), rule: cascadeRule(entity) }));
}

function cascadeRule(entity: AnyEntity): CascadeRule["rule"] {
  if (entity.owner === "platform") return "platform";
  if (typeof entity.onTenantDelete === "function") return "depends";
  return entity.onTenantDelete ?? "delete";
}
