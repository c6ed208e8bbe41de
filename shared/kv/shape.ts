import type { AnyEntity } from "./define.ts";

/** The tenant of a row. `segment`: the second segment of its key; `platform`: none; `given`: set by the writer. */
export type OwnerRule = "segment" | "platform" | "given";

/** One form of an entity's keys. An optional parameter adds a second form. */
export interface KeyShape {
  /** The number of colons in the key, including two in a timestamp segment. */
  readonly colons: number;
  readonly ownerRule: OwnerRule;
}

/** The forms of the entity's keys: one, or two with an optional parameter. */
export function shapesOf(entity: AnyEntity): KeyShape[] {
  const template = entity.key.split(":");
  const required = template.filter((part) => !part.endsWith("?}"));
  return (required.length < template.length ? [template, required] : [template]).map((parts) => ({
    colons: parts.length - 1 + 2 * parts.filter((part) => part === "{timestamp}").length,
    ownerRule: ownerRule(entity, parts),
  }));
}

function ownerRule(entity: AnyEntity, parts: readonly string[]): OwnerRule {
  if (entity.owner === "platform") return "platform";
  if (entity.owner === "self" || parts.some((part) => /^\{tenantId\??\}$/.test(part))) return "segment";
  return entity.key.includes("{tenantId?}") ? "platform" : "given";
}

/**
 * The number of colons that distinguishes the entity's keys in its family. Null if its keys have two forms; then no other entity may
 * share the family (declared.ts).
 */
export function colonsOf(entity: AnyEntity): number | null {
  const [shape, other] = shapesOf(entity);
  return shape && !other ? shape.colons : null;
}
