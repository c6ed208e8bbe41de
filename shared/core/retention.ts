import { familyOf } from "../kv/define.ts";
import type { AnyEntity } from "../kv/define.ts";

export interface RetentionRule {
  readonly entity: string;
  readonly family: string;
  /** Days after the instant in the field `after`. A record without that instant is never deleted. */
  readonly days: number;
  readonly after: string;
}

/** Days by entity name, instead of the declared ones. Null: never delete. */
export type RetentionOverrides = Readonly<Record<string, number | null>>;

/** The declared retention rules with the overrides applied. An entity without a declared rule has none. */
export function retentionPlan(registry: readonly AnyEntity[], overrides: RetentionOverrides = {}): RetentionRule[] {
  return registry.flatMap((entity) => {
    const days = Object.hasOwn(overrides, entity.name) ? overrides[entity.name] : entity.retention?.days;
    if (!entity.retention || days === null || days === undefined) return [];
    return [{ entity: entity.name, family: familyOf(entity), days, after: entity.retention.after }];
  });
}
