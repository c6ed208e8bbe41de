import { Ajv2020, type ValidateFunction } from "ajv/dist/2020.js";
import addFormats from "ajv-formats";
import { eventTypes } from "../../shared/features/events/catalogue.ts";
import { eventSchema, OMITTED, recordSchema, type References } from "../../shared/features/events/event-schemas.ts";
import { eventView, isNumbered } from "../../shared/features/events/view.ts";
import type { OutboxEvent } from "../../shared/core/outbox-event.ts";

const ajv = addFormats.default(new Ajv2020({ allErrors: true, allowUnionTypes: true }));
const validators = new Map<string, { readonly validate: ValidateFunction; readonly members: readonly string[] }>();

/** The records are schemas of their own, which makes all types cheap to compile. */
const references: References = {
  omitted: OMITTED,
  record: (entity) => {
    const $id = `record:${entity.name}`;
    if (!ajv.getSchema($id)) ajv.addSchema({ ...recordSchema(entity, OMITTED), $id });
    return { $ref: $id };
  },
};

function validatorOf(type: string) {
  const known = validators.get(type);
  if (known) return known;
  const declared = eventTypes.find((each) => each.type === type);
  if (!declared) return null;
  const schema = eventSchema(declared, references);
  const { data } = schema["properties"] as { readonly data: { readonly properties: object } };
  const made = { validate: ajv.compile(schema), members: Object.keys(data.properties) };
  validators.set(type, made);
  return made;
}

/** What is wrong with an event, by the schema of its type; null if nothing is. A member of `data` that is not declared is a fault. */
export function eventFault(event: { readonly type: string; readonly data: object }): string | null {
  const of = validatorOf(event.type);
  if (!of) return `${event.type} is not declared`;
  const more = Object.keys(event.data).filter((name) => !of.members.includes(name));
  if (more.length > 0) return `${event.type} has the members ${more.join(", ")}, which are not declared`;
  const { type } = event;
  if (of.validate(event)) return null;
  return `${type}: ${(of.validate.errors ?? []).map(({ instancePath, message }) => `${instancePath} ${message}`).join("; ")}`;
}

/** The same for a stored event, whether it has its number or not. */
export function storedFault(event: OutboxEvent): string | null {
  return eventFault(eventView(isNumbered(event) ? event : { ...event, seq: 1, recordVersion: "1" }));
}
