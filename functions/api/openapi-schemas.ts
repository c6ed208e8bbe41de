import { z } from "zod";
import { components, exampleOf } from "../../shared/core/schemas.ts";

export type Json = Record<string, unknown>;
type Io = "input" | "output";

const SCHEMAS = "#/components/schemas/";

/** The named schemas of a document: output schemas of responses and input schemas of bodies. */
export class Schemas {
  readonly #of = { input: z.registry<{ id: string }>(), output: z.registry<{ id: string }>() };
  readonly #examples: Json = {};

  constructor() {
    // Components are added as their modules load. Sorted, so that the document does not depend on which requests came first.
    for (const [schema, { id }] of [...components].sort(([, a], [, b]) => a.id < b.id ? -1 : 1)) this.#of.output.add(schema, { id });
  }

  /** Returns the schema's name. A schema without one is named `fallback`. */
  name(io: Io, schema: z.ZodType, fallback: string): string {
    const names = this.#of[io];
    const id = names.get(schema)?.id ?? fallback;
    if (!names.has(schema)) names.add(schema, { id });
    const example = io === "output" ? exampleOf(schema) : undefined;
    if (example !== undefined) this.#examples[id] = { value: example };
    return id;
  }

  /** The examples of the named responses. */
  examples(): Json {
    return this.#examples;
  }

  all(): Json {
    return { JsonValue: { description: "Any JSON value." }, ...this.#convert("output"), ...this.#convert("input") };
  }

  /** Converts to JSON Schema without `$id`. The only recursive schema, a JSON value, becomes the component `JsonValue`. */
  #convert(io: Io): Json {
    const { schemas } = z.toJSONSchema(this.#of[io], { ...OPTIONS, uri: (id) => `${SCHEMAS}${id}`, io, override: shape(io) });
    const named = Object.entries(schemas).filter(([id]) => id !== "__shared").map((
      [id, { $schema: _, $id: __, ...schema }],
    ) => [id, schema]);
    const text = JSON.stringify(Object.fromEntries(named)).replaceAll(
      /#\/components\/schemas\/__shared#\/\$defs\/\w+/g,
      `${SCHEMAS}JsonValue`,
    );
    return JSON.parse(text) as Json;
  }
}

const OPTIONS = { target: "draft-2020-12", unrepresentable: "any" } as const;

/** The schema of a query parameter as sent. Zod omits the default and the examples of a transformed value, so they are added. */
export function parameterSchema(schema: z.ZodType): Json {
  const { $schema: _, ...json } = z.toJSONSchema(schema, { ...OPTIONS, io: "input" });
  const inner = schema instanceof z.ZodOptional ? schema.unwrap() as z.ZodType : schema;
  const { default: value, examples } = { ...z.globalRegistry.get(inner), ...z.globalRegistry.get(schema) };
  return { ...json, ...(value === undefined ? {} : { default: value }), ...(examples === undefined ? {} : { examples }) };
}

/**
 * Closes the objects of responses: stored ones are open for the fields of newer versions. An object for arbitrary data declares
 * a catchall. Removes the examples of bodies, which the operation shows beside the schema.
 */
function shape(io: Io) {
  return ({ zodSchema, jsonSchema }: { zodSchema: z.core.$ZodTypes; jsonSchema: z.core.JSONSchema.BaseSchema }) => {
    if (zodSchema._zod.def.type === "record") return spellOut(jsonSchema);
    if (zodSchema._zod.def.type !== "object") return;
    if (io === "output" && zodSchema._zod.def.catchall?._zod.def.type === "unknown") jsonSchema.additionalProperties = false;
    delete jsonSchema.examples;
  };
}

/** Rewrites a record whose names are an enumeration as an object with these properties. */
function spellOut(jsonSchema: z.core.JSONSchema.BaseSchema): void {
  const { propertyNames, additionalProperties } = jsonSchema;
  if (typeof propertyNames !== "object" || !propertyNames.enum || additionalProperties === undefined) return;
  jsonSchema.properties = Object.fromEntries(propertyNames.enum.map((name) => [String(name), additionalProperties]));
  jsonSchema.additionalProperties = false;
  delete jsonSchema.propertyNames;
}

/** The members of `components` that the document's paths and webhooks refer to, directly or indirectly. */
export function reachable(
  document: { readonly paths: Json; readonly webhooks: Json; readonly components: Json },
  components: Readonly<Record<string, object>>,
): Json {
  const used = new Set<string>();
  const visit = (value: unknown): void => {
    if (typeof value !== "object" || value === null) return;
    for (const [name, member] of Object.entries(value)) {
      if (name !== "$ref" || typeof member !== "string" || used.has(member)) visit(member);
      else {
        used.add(member);
        visit(lookUp(document, member));
      }
    }
  };
  visit([document.paths, document.webhooks]);
  return Object.fromEntries(
    Object.entries(components).map(([kind, members]) => [
      kind,
      kind === "securitySchemes"
        ? members
        : Object.fromEntries(Object.entries(members).filter(([name]) => used.has(`#/components/${kind}/${name}`))),
    ]),
  );
}

function lookUp(document: object, ref: string): unknown {
  return ref.slice(2).split("/").reduce<unknown>((value, name) => (value as Json)[name], document);
}
