import type { JsonObject } from "../kernel/json.ts";
import { tenantIdOf } from "../kv/define.ts";
import { redact } from "./redaction.ts";
import type { AuditNote, Change, EventNote } from "./transaction.ts";

export interface Notes {
  readonly audit: AuditNote;
  readonly event: EventNote;
}

/**
 * The audit entry and the event of a change. The event has the record, and `eventData`; the audit entry has the fields that differ,
 * and `auditData`. `subject` is the id of the record in both.
 */
export function notesOf(
  action: string,
  subject: string,
  change: Change,
  { auditData, eventData }: { readonly auditData?: JsonObject | undefined; readonly eventData?: JsonObject | undefined } = {},
): Notes {
  const { entity, before, after } = change;
  const record = (after ?? before) as Readonly<Record<string, unknown>>;
  const tenantId = tenantIdOf(entity, record) ?? undefined;
  const { version: _, ...shown } = redact(entity, record);
  return {
    audit: { action, resource: entity.name, resourceId: subject, tenantId, of: change, ...(auditData ? { data: auditData } : {}) },
    event: { type: action, subject, tenantId, data: { [camelCase(entity.name)]: shown as JsonObject }, whole: eventData },
  };
}

function camelCase(name: string): string {
  return name.replaceAll(/-(\w)/g, (_, letter: string) => letter.toUpperCase());
}
