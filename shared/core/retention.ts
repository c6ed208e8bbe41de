import { familyOf } from "../kv/define.ts";
import type { AnyEntity } from "../kv/define.ts";

export interface RetentionRule {
  readonly entity: string;
  readonly family: string;
  /** Kept so many days after the instant in the field `after`; a record without that instant stays. */
  readonly days: number;
  readonly after: string;
}

/** By entity name: other days than the declared ones, or null for no end. */
export type RetentionOverrides = Readonly<Record<string, number | null>>;

/** What retention deletes, and when: the declared rules, each as its policy changes it. */
export function retentionPlan(registry: readonly AnyEntity[], overrides: RetentionOverrides = {}): RetentionRule[] {
  return registry.flatMap((entity) => {
    const days = Object.hasOwn(overrides, entity.name) ? overrides[entity.name] : entity.retention?.days;
    if (!entity.retention || days === null || days === undefined) return [];
    return [{ entity: entity.name, family: familyOf(entity), days, after: entity.retention.after }];
  });
}
