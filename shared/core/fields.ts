import { z } from "zod";
import { type AnyEntity, keyParams, type KeyParamsOf } from "../kv/define.ts";
import type { IdPrefix } from "../kernel/ids.ts";

/** Who may set a field. The bodies of create, put and patch and the rights of a tenant's own users are derived from it. */
export interface FieldTraits {
  /** `id`: generated, unless create sends one. `create`: only by create. `server`: only by the program. */
  readonly set: "any" | "id" | "create" | "server";
  /** Prefix of a generated id. */
  readonly prefix?: IdPrefix;
  /** The write frame sets the field to the current instant: when the record is created, or with every change. */
  readonly stamp?: "create" | "change";
  /** `platform`: no user of a tenant may set it. `owner`: of a tenant's users, only its owner may. */
  readonly setBy?: "platform" | "owner";
  /** The schema of the input, if it differs from the stored form. */
  readonly input?: z.ZodType;
}

/** The caller of a change: a tenant's own user with a role, or the platform if `tenantId` is null. */
interface FieldCaller {
  readonly tenantId: string | null;
  readonly role?: string | undefined;
}

declare const SET: unique symbol;
declare const INPUT: unique symbol;
type Marked<Set extends FieldTraits["set"]> = { readonly [SET]?: Set };
type WithInput<I extends z.ZodType> = { readonly [INPUT]?: I };

const traits = new WeakMap<z.ZodType, FieldTraits>();

function mark<S extends z.ZodType>(schema: S, added: Partial<FieldTraits>): S {
  const marked = schema.clone();
  traits.set(marked, { ...traitsOf(schema), ...added });
  return marked;
}

export function traitsOf(schema: z.ZodType): FieldTraits {
  return traits.get(schema) ?? { set: "any" };
}

/** A generated id, `<prefix>_<ms>_<12 random characters>`. Create may send one, for imports. */
export function generated<S extends z.ZodType>(prefix: IdPrefix, schema: S): S & Marked<"id"> {
  return mark(schema, { set: "id", prefix });
}

/** A field that create sets and nothing changes. */
export function createOnly<S extends z.ZodType>(schema: S): S & Marked<"create"> {
  return mark(schema, { set: "create" });
}

/** A field that only the program sets. In a body it is an unknown field. */
export function byServer<S extends z.ZodType>(schema: S): S & Marked<"server"> {
  return mark(schema, { set: "server" });
}

/** The instant the record was created. */
export function createdInstant<S extends z.ZodType>(schema: S): S & Marked<"server"> {
  return mark(schema, { set: "server", stamp: "create" });
}

/** The instant of the last change, also set at creation. */
export function changedInstant<S extends z.ZodType>(schema: S): S & Marked<"server"> {
  return mark(schema, { set: "server", stamp: "change" });
}

/** A field that a tenant's own users may not set. */
export function platformOnly<S extends z.ZodType>(schema: S): S {
  return mark(schema, { setBy: "platform" });
}

/** A field that, of a tenant's own users, only the owner may set. */
export function ownerOnly<S extends z.ZodType>(schema: S): S {
  return mark(schema, { setBy: "owner" });
}

/** A field with its own input schema. A stricter rule for input then leaves stored records readable. */
export function given<S extends z.ZodType, I extends z.ZodType>(stored: S, input: I): S & WithInput<I> {
  return mark(stored, { input });
}

type ShapeOf<E> = E extends { readonly schema: z.ZodObject<infer Shape> } ? Shape : never;
type InputOf<F> = F extends WithInput<infer I> ? (z.ZodType extends I ? Plain<F> : z.input<I>) : Plain<F>;
type Plain<F> = F extends z.ZodType ? z.input<F> : never;
type SetOf<F> = F extends { readonly [SET]?: infer M } ? (unknown extends M ? "any" : Exclude<M, undefined>) : "any";
type Keys<S, Set> = { [K in keyof S]: SetOf<S[K]> extends Set ? K : never }[keyof S];
type MayLack<F> = undefined extends InputOf<F> ? true : SetOf<F> extends "id" ? true : false;
type OptionalKeys<S> = {
  [K in Keys<S, "any" | "id" | "create">]: MayLack<S[K]> extends true ? K : never;
}[Keys<S, "any" | "id" | "create">];

/** The body that creates a record of the entity. */
export type CreateInput<E> =
  & { readonly [K in Exclude<Keys<ShapeOf<E>, "any" | "id" | "create">, OptionalKeys<ShapeOf<E>>>]: InputOf<ShapeOf<E>[K]> }
  & { readonly [K in OptionalKeys<ShapeOf<E>>]?: InputOf<ShapeOf<E>[K]> | undefined };

/** The body that creates or replaces a record. The path names the fields of its key. */
export type PutInput<E> = Omit<CreateInput<E>, keyof KeyParamsOf<E>>;

type Patched<T> = T extends readonly unknown[] ? T
  : T extends Readonly<Record<string, unknown>>
    ? { readonly [K in keyof T]?: Patched<T[K]> | null | undefined } | Readonly<Record<string, unknown>>
  : T;
/** A JSON merge patch (RFC 7396) of a record. Null removes an optional member. */
export type UpdateInput<E> = {
  readonly [K in Keys<ShapeOf<E>, "any">]?:
    | Patched<Exclude<InputOf<ShapeOf<E>[K]>, undefined>>
    | (ShapeOf<E>[K] extends z.ZodOptional ? null : never)
    | undefined;
};

interface Inputs {
  readonly create: z.ZodObject;
  readonly put: z.ZodObject;
  readonly update: z.ZodObject;
}

const known = new WeakMap<AnyEntity, Inputs>();

/** The schemas of the bodies of create, put and patch, computed once. An unknown field is an error. */
export function inputsOf(entity: AnyEntity): Inputs {
  let inputs = known.get(entity);
  if (inputs) return inputs;
  const shape = createShape(entity);
  const ofKey = keyParams(entity);
  const create = z.strictObject(shape);
  const isKeyed = ofKey.some((name) => name in shape);
  const put = isKeyed ? z.strictObject(Object.fromEntries(Object.entries(shape).filter(([name]) => !ofKey.includes(name)))) : create;
  known.set(entity, inputs = { create, put, update: z.strictObject(updateShape(entity)) });
  return inputs;
}

function fieldsOf(entity: AnyEntity): [string, z.ZodType][] {
  return Object.entries(entity.schema.shape as Record<string, z.ZodType>);
}

function createShape(entity: AnyEntity): Record<string, z.ZodType> {
  return Object.fromEntries(
    fieldsOf(entity).filter(([, schema]) => traitsOf(schema).set !== "server").map(([name, schema]) => {
      const { set, setBy, input = schema } = traitsOf(schema);
      // The record's schema adds the default later. Added here, it would look like a field that a tenant's user has sent.
      return [name, set === "id" ? input.optional() : setBy && input instanceof z.ZodDefault ? withoutDefault(input).optional() : input];
    }),
  );
}

function updateShape(entity: AnyEntity): Record<string, z.ZodType> {
  return Object.fromEntries(
    fieldsOf(entity).filter(([, schema]) => traitsOf(schema).set === "any").map(([name, schema]) => {
      const removable = schema instanceof z.ZodOptional;
      const value = patchOf(withoutDefault(traitsOf(schema).input ?? schema));
      return [name, (removable ? removableOf(value) : value).optional()];
    }),
  );
}

function removableOf(schema: z.ZodType): z.ZodType {
  return schema.nullable().meta({ description: [schema.description ?? [], "Null removes it."].flat().join(" ") });
}

/** The schema of a field in a patch, where an omitted field is unchanged and gets no default. Keeps the metadata. */
function withoutDefault(schema: z.ZodType): z.ZodType {
  if (!(schema instanceof z.ZodOptional || schema instanceof z.ZodDefault)) return schema;
  return withMetadataOf(schema, withoutDefault(schema.unwrap() as z.ZodType));
}

/** `schema` with the metadata of `from`, which takes precedence. */
function withMetadataOf(from: z.ZodType, schema: z.ZodType): z.ZodType {
  const meta = from.meta();
  return meta === undefined ? schema : schema.meta({ ...schema.meta(), ...meta });
}

const members = z.record(z.string(), z.json());

/**
 * Objects merge member by member. The patch checks the members that were sent, and the record's schema checks the result. So a
 * member that was stored under an older rule does not block a change.
 */
function patchOf(schema: z.ZodType): z.ZodType {
  if (schema instanceof z.ZodRecord) return withMetadataOf(schema, members);
  if (!(schema instanceof z.ZodObject)) return schema;
  const shape = Object.entries(schema.shape as Record<string, z.ZodType>).map(([name, member]) => (
    [name, withMetadataOf(member, patchOf(withoutDefault(member)).nullable()).optional()] as const
  ));
  const isStrict = schema.def.catchall instanceof z.ZodNever;
  return withMetadataOf(schema, (isStrict ? z.strictObject : z.looseObject)(Object.fromEntries(shape)));
}

/** The members of a body that a tenant's own user with this role may not set, as JSON Pointers. */
export function forbiddenFields(entity: AnyEntity, role: string | undefined, body: Readonly<Record<string, unknown>>): string[] {
  return fieldsOf(entity).filter(([name, schema]) => {
    const { setBy } = traitsOf(schema);
    return body[name] !== undefined && (setBy === "platform" || (setBy === "owner" && role !== "owner"));
  }).map(([name]) => `/${name}`);
}

/** The members of a record that a put by this caller keeps: those it may not set, and those that a newer version wrote. */
export function keptFields(entity: AnyEntity, caller: FieldCaller, record: Readonly<Record<string, unknown>>): Record<string, unknown> {
  const shape = entity.schema.shape as Readonly<Record<string, z.ZodType>>;
  const forbidden = caller.tenantId === null ? [] : forbiddenFields(entity, caller.role, record);
  return Object.fromEntries(
    Object.entries(record).filter(([name]) => {
      const schema = shape[name];
      return !schema || traitsOf(schema).set !== "any" || forbidden.includes(`/${name}`);
    }),
  );
}

/** The fields that the write frame sets to the current instant. */
export function stampsOf(entity: AnyEntity, when: "create" | "change"): string[] {
  return fieldsOf(entity).filter(([, schema]) => {
    const { stamp } = traitsOf(schema);
    return stamp === "change" || (when === "create" && stamp === "create");
  }).map(([name]) => name);
}

/** The field with a generated id, and its prefix. Null if the entity has none. */
export function generatedId(entity: AnyEntity): { readonly field: string; readonly prefix: IdPrefix } | null {
  for (const [field, schema] of fieldsOf(entity)) {
    const { prefix } = traitsOf(schema);
    if (prefix) return { field, prefix };
  }
  return null;
}
