import { redact } from "../../core/redaction.ts";
import { exampleOf } from "../../core/schemas.ts";
import { type AnyEntity, familyOf, keyOf, type RecordOf, tenantIdOf } from "../../kv/define.ts";
import type { z } from "zod";
import type { EventView } from "./view.ts";

/** A type of event that the program emits. */
export interface EventType {
  /** Such as `tenant.created`. */
  readonly type: string;
  readonly description: string;
  /** The entity of the record in `data`, where it is a member with the entity's name in camel case. */
  readonly record: AnyEntity | null;
  /** The members of `data` beside the record. Its example is that of the schema. */
  readonly extra: z.ZodObject | null;
  /** Members of the example's record that differ from those of the entity's example. */
  readonly example: Readonly<Record<string, unknown>>;
  /** The subject of the example, of a type without a record. */
  readonly subject?: string;
}

/** A type as its feature describes it: its description alone, or with the members of `data` beside the record. */
type Described<E> = string | {
  readonly description: string;
  readonly extra?: z.ZodObject;
  readonly example?: Partial<RecordOf<E>>;
};

/** The types of the events about records of an entity. Every one of them has the record in `data`. */
export function eventsOf<E extends AnyEntity>(entity: E, types: Readonly<Record<string, Described<E>>>): EventType[] {
  return Object.entries(types).map(([type, described]) => {
    const { description, extra = null, example = {} } = typeof described === "string" ? { description: described } : described;
    return { type, description, record: entity, extra, example };
  });
}

/** A type of event without a record in `data`. */
export function eventWithout(type: string, { description, data, subject }: {
  readonly description: string;
  readonly data: z.ZodObject;
  readonly subject: string;
}): EventType {
  return { type, description, record: null, extra: data, example: {}, subject };
}

/** The name of the record in `data`: `apiKey` for the entity `api-key`. */
export function memberOf({ name }: AnyEntity): string {
  return name.replaceAll(/-(\w)/g, (_, letter: string) => letter.toUpperCase());
}

/** Whether events of the type can belong to a tenant. The platform's own events reach the platform alone. */
export function isTenantScoped({ record, extra }: EventType): boolean {
  return record === null ? Object.hasOwn(extra?.shape ?? {}, "tenantId") : record.owner !== "platform";
}

/** An event of the type, as receivers get it. */
export function exampleEvent(of: EventType): EventView {
  const { record: entity, extra } = of;
  const record = entity && redact(entity, { ...entity.schema.parse(entity.example) as Record<string, unknown>, ...of.example });
  const members = (extra && exampleOf(extra)) as Readonly<Record<string, unknown>> | null;
  const own = members?.["tenantId"];
  const tenantId = entity && record ? tenantIdOf(entity, record) : typeof own === "string" ? own : null;
  return {
    id: "evt_1767225600000_a1b2c3d4e5f6",
    type: of.type,
    timestamp: "2026-01-01T00:00:00.000Z",
    ...(tenantId === null ? {} : { tenantId }),
    subject: entity && record ? subjectOf(entity, record) : of.subject ?? "",
    seq: 1_200,
    version: "4711",
    data: { ...(entity && record ? { [memberOf(entity)]: record } : {}), ...members } as EventView["data"],
  };
}

/** The id of the record in events: `id`, or its key without the family. */
function subjectOf(entity: AnyEntity, record: Readonly<Record<string, unknown>>): string {
  if (typeof record["id"] === "string") return record["id"];
  return keyOf(entity, record as Readonly<Record<string, string>>).slice(familyOf(entity).length + 1);
}
