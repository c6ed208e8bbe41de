import type { z } from "zod";
import type { AnyEntity } from "./define.ts";

/** The type of a field in the database, which determines its comparison and the indexed expression. */
export type FieldType = "text" | "time" | "number" | "boolean";

const types = new WeakMap<AnyEntity, Map<string, FieldType>>();

/** The type of a declared scalar field, from its schema. Throws a TypeError if the field is not scalar. */
export function fieldTypeOf(entity: AnyEntity, field: string): FieldType {
  let known = types.get(entity);
  if (!known) types.set(entity, known = new Map<string, FieldType>());
  let type = known.get(field);
  if (!type) known.set(field, type = readType(entity, field));
  return type;
}

/** The members of a Zod schema definition that are read. */
interface SchemaDef {
  readonly type: string;
  readonly innerType?: z.ZodType;
}

function readType(entity: AnyEntity, field: string): FieldType {
  let schema = entity.schema.shape[field] as (z.ZodType & { readonly def: SchemaDef }) | undefined;
  while (schema?.def.innerType) schema = schema.def.innerType as z.ZodType & { readonly def: SchemaDef };
  const type = schema?.def.type;
  if (type === "number" || type === "int") return "number";
  if (type === "boolean") return "boolean";
  if (type === "string" || type === "enum") return schema?.meta()?.["format"] === "date-time" ? "time" : "text";
  throw new TypeError(`${entity.name}.${field} must be a text, time, number or boolean field`);
}
