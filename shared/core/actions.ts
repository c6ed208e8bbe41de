import type { JsonObject } from "../kernel/json.ts";
import type { AnyEntity } from "../kv/define.ts";

/** The types of the members of an entry's `data`. A long list or object is replaced by a text with its size. */
const MEMBERS = {
  text: { type: "string" },
  integer: { type: "integer" },
  flag: { type: "boolean" },
  instant: { type: "string", format: "date-time" },
  object: { type: ["object", "string"] },
  list: { type: ["array", "string"] },
} as const;

/** `any`: each entry has members of its own. */
type DataShape = "any" | Readonly<Record<string, keyof typeof MEMBERS>>;

/** What an action of the audit log means, and the members of its entries' `data`. The name of an optional member ends in `?`. */
export type Action = string | {
  readonly means: string;
  /** The kind of record. Default: the text before the first dot of the action. */
  readonly resource?: string;
  readonly data?: DataShape;
};
export type Actions = Readonly<Record<string, Action>>;

/** One action as the catalogue shows it. */
export interface DeclaredAction {
  readonly action: string;
  /** Increases when the schema changes. */
  readonly version: number;
  readonly resource: string;
  readonly description: string;
  /** JSON Schema, draft 2020-12, of `data`. */
  readonly dataSchema: JsonObject;
}

/** The actions that every entity has. */
const DERIVED = ["created", "updated", "deleted"] as const;

export function isDerivedAction(action: string, { name }: AnyEntity): boolean {
  return DERIVED.some((verb) => action === `${name}.${verb}`);
}

/** Every action of the program by name. What a feature lists replaces what is derived from its entities. */
export function declaredActions(actions: Actions, entities: readonly AnyEntity[]): DeclaredAction[] {
  const derived = entities.filter(({ appendOnly }) => !appendOnly).flatMap(({ name }) => DERIVED.map((verb) => `${name}.${verb}`));
  const names = [...new Set([...derived, ...Object.keys(actions)])].sort((a, b) => a < b ? -1 : 1);
  return names.flatMap((action) => declaredActionOf(action, actions, entities) ?? []);
}

/** One action of the program, or null. Each audit entry asks, so that this does not build the others. */
export function declaredActionOf(action: string, actions: Actions, entities: readonly AnyEntity[]): DeclaredAction | null {
  const listed = Object.hasOwn(actions, action) ? actions[action] : undefined;
  if (listed !== undefined) return declaredAction(action, listed);
  const entity = entities.find((each) => !each.appendOnly && isDerivedAction(action, each));
  if (!entity) return null;
  return declaredAction(action, { means: `The record was ${action.slice(entity.name.length + 1)}.`, resource: entity.name });
}

function declaredAction(action: string, declared: Action): DeclaredAction {
  const { means, resource = action.slice(0, action.indexOf(".")), data = {} } = typeof declared === "string"
    ? { means: declared }
    : declared;
  return { action, version: 1, resource, description: means, dataSchema: dataSchemaOf(data) };
}

function dataSchemaOf(data: DataShape): JsonObject {
  if (data === "any") return { type: "object" };
  const names = Object.keys(data);
  return {
    type: "object",
    properties: Object.fromEntries(Object.entries(data).map(([name, type]) => [name.replace("?", ""), MEMBERS[type]])),
    required: names.filter((name) => !name.endsWith("?")),
    additionalProperties: false,
  };
}
