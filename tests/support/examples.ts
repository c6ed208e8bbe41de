import type { JsonObject } from "../../shared/kernel/json.ts";
import { familyOf } from "../../shared/kv/define.ts";
import type { AnyEntity } from "../../shared/kv/define.ts";

/** The example of a declaration as a record of this tenant, with its own name if names are unique. */
export function exampleFor(entity: AnyEntity, tenantId: string): JsonObject {
  const text = JSON.stringify({ ...entity.example, tenantId });
  const own = JSON.parse(text.replaceAll("tn_1767225600000_a1b2c3d4e5f6", tenantId)) as Record<string, never>;
  const unique = {
    label: `label-${tenantId.toLowerCase().replaceAll("_", "-")}-x`,
    hostname: `x.${tenantId.replaceAll("_", "-").toLowerCase()}.example`,
    callerHash: tenantId,
    webhookId: `webhook_${tenantId}`,
  };
  return {
    ...own,
    ...Object.fromEntries(Object.entries(unique).filter(([field]) => field in own)),
    ...(familyOf(entity) === "outbox" ? { id: `evt_${tenantId}` } : {}),
    ...(familyOf(entity) === "email" ? { id: `email_${tenantId}` } : {}),
    ...(familyOf(entity) === "webhook" ? { id: `webhook_${tenantId}` } : {}),
    ...(familyOf(entity) === "auditexport" ? { id: `export_${tenantId}` } : {}),
    ...(familyOf(entity) === "auditsink" ? { id: `sink_${tenantId}` } : {}),
    ...(familyOf(entity) === "apikey" ? { id: `key_${tenantId}` } : {}),
    ...(familyOf(entity) === "usageevent" ? { id: `event_${tenantId}` } : {}),
    ...(familyOf(entity) === "apikeyhash" ? { hash: `hash_${tenantId}` } : {}),
  };
}
