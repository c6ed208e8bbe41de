import type { AnyEntity } from "./define.ts";

/** Whose a key is: `segment`: its second segment names the owner; `platform`: nobody's; `given`: as the writer says. */
export type OwnerRule = "segment" | "platform" | "given";

/** One form of an entity's keys. An optional parameter makes two. */
export interface KeyShape {
  /** Colons in the key; a timestamp segment has two of its own. */
  readonly colons: number;
  readonly ownerRule: OwnerRule;
}

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
 * The number of colons that tells the entity's keys from those of others in its family; null when its keys have
 * two forms, and then no other entity may share the family (declared.ts).
 */
export function colonsOf(entity: AnyEntity): number | null {
  const [shape, other] = shapesOf(entity);
  return shape && !other ? shape.colons : null;
}
