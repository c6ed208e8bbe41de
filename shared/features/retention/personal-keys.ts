import { auditEntry } from "../../core/audit-entry.ts";
import { KEY_USE_DAYS, personalKey } from "../../core/personal-key.ts";
import type { UnitOfWork } from "../../core/unit-of-work.ts";
import type { KeepRule } from "./rules.ts";
import { tenantsOnHold } from "./tenants.ts";

/**
 * The rules for the keys of personal data, made so long that every entry under a key goes before it. Without any while entries are kept
 * for longer than their retention: in an archive, or of a tenant on hold.
 */
export async function rulesOfKeys<R extends KeepRule>(work: UnitOfWork, all: readonly R[]): Promise<R[]> {
  const ofEntries = all.filter(({ entity }) => entity === auditEntry.name);
  const isKept = ofEntries.some(({ action }) => action === "archive") || (await tenantsOnHold(work)).length > 0;
  if (isKept) return [];
  const least = Math.max(...ofEntries.map(({ days }) => days)) + KEY_USE_DAYS + 1;
  return all.filter(({ entity }) => entity === personalKey.name).map((rule) => ({ ...rule, days: Math.max(rule.days, least) }));
}
