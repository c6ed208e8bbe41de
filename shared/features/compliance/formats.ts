import { z } from "zod";
import { Collection } from "../../core/collection.ts";
import { csvLines } from "../../core/csv.ts";
import { redact, REDACTED } from "../../core/redaction.ts";
import type { JsonObject, JsonValue } from "../../kernel/json.ts";
import type { AnyEntity } from "../../kv/define.ts";
import type { Entry, Store } from "../../kv/store.ts";
import type { ExportFormat } from "./entity.ts";

/** The place of a page in its file. */
interface Place {
  readonly isFirst: boolean;
  readonly isLast: boolean;
}

export const MEDIA_TYPES: Readonly<Record<ExportFormat, string>> = {
  ndjson: "application/x-ndjson",
  json: "application/json",
  csv: "text/csv",
};

/** The part of a file that the records of one page are. The parts of all pages together are the file. */
export const renderers: Readonly<Record<ExportFormat, (entity: AnyEntity, records: readonly JsonObject[], at: Place) => Promise<string>>> =
  {
    ndjson: (_, records) => Promise.resolve(records.map((record) => `${JSON.stringify(record)}\n`).join("")),
    json: (_, records, { isFirst, isLast }) => {
      const text = records.map((record) => JSON.stringify(record)).join(",\n");
      const before = isFirst ? "[\n" : records.length > 0 ? ",\n" : "";
      return Promise.resolve(`${before}${text}${isLast ? "\n]\n" : ""}`);
    },
    csv: async (entity, records, { isFirst }) => {
      const columns = fieldsOf(entity);
      const rows = records.map((record) => [...columns.map((name) => cellOf(record[name])), othersOf(columns, record)]);
      return await csvLines([...(isFirst ? [[...columns, OTHERS]] : []), ...rows]);
    },
  };

/** The column with the members that the declaration does not know, as JSON. */
const OTHERS = "otherMembers";

function othersOf(columns: readonly string[], record: JsonObject): string | null {
  const others = Object.entries(record).filter(([name]) => !columns.includes(name));
  return others.length === 0 ? null : JSON.stringify(Object.fromEntries(others));
}

function cellOf(value: JsonValue | undefined): string | number | boolean | null {
  return typeof value === "object" && value !== null ? JSON.stringify(value) : value ?? null;
}

function fieldsOf(entity: AnyEntity): string[] {
  const encrypted = (entity.encrypted ?? []) as readonly string[];
  return Object.keys(entity.schema.shape as object).filter((name) => !encrypted.includes(name));
}

/** The record as an export shows it: without encrypted fields, and secrets redacted. One that cannot be parsed is shown as stored. */
export function exportedRecord(entity: AnyEntity, store: Store, entry: Entry): JsonObject {
  const { version: _, ...record } = new Collection(entity, store).readIfValid(entry) ?? entry.value as JsonObject;
  const encrypted = (entity.encrypted ?? []) as readonly string[];
  const shown = Object.entries(redact(entity, record)).filter(([name]) => !encrypted.includes(name));
  return Object.fromEntries(shown) as JsonObject;
}

/** The JSON Schema (2020-12) of the exported records. */
export function exportedSchema(entity: AnyEntity): JsonObject {
  const schema = z.toJSONSchema(entity.schema, { target: "draft-2020-12", unrepresentable: "any", io: "output" }) as unknown as JsonObject;
  const all = schema["properties"] as JsonObject;
  const encrypted = (entity.encrypted ?? []) as readonly string[];
  const shown = Object.entries(all).filter(([name]) => !encrypted.includes(name))
    .map(([name, property]) => [name, entity.secrets?.includes(name) ? { const: REDACTED } : property]);
  const required = ((schema["required"] ?? []) as readonly string[]).filter((name) => !encrypted.includes(name));
  return { ...schema, properties: Object.fromEntries(shown) as JsonObject, required };
}
