import { changedFields, type FieldChanges } from "../../core/merge-patch.ts";
import { redact, REDACTED } from "../../core/redaction.ts";
import { InnkeepError } from "../../kernel/errors.ts";
import { type PlatformSettings, platformSettings, type SettingsChange } from "./entity.ts";

/** What the program keeps beside the settings. */
const BOOKKEEPING = new Set(["id", "currency", "revision", "createdAt", "updatedBy"]);

/** The settings that differ, with secrets as `[redacted]`. */
export function settingsDiff(before: PlatformSettings, after: PlatformSettings): SettingsChange["changes"] {
  const settingsOf = (record: PlatformSettings) => Object.fromEntries(Object.entries(record).filter(([name]) => !BOOKKEEPING.has(name)));
  const changes: FieldChanges = changedFields(settingsOf(before), settingsOf(after));
  return {
    before: redact(platformSettings, changes.before) as SettingsChange["changes"]["before"],
    after: redact(platformSettings, changes.after) as SettingsChange["changes"]["after"],
  };
}

export function isEmpty({ before, after }: SettingsChange["changes"]): boolean {
  return Object.keys(before).length + Object.keys(after).length === 0;
}

/**
 * The settings with what a change has changed as it was before. What other changes have changed stays. Throws `not_revertible` for a
 * secret that was replaced, because its earlier value is not kept.
 */
export function reverted(present: PlatformSettings, { id, changes: { before, after } }: SettingsChange): Record<string, unknown> {
  if (Object.values(before).includes(REDACTED)) {
    throw new InnkeepError("not_revertible", `Change ${id} replaced a secret, whose earlier value is not kept. Send the settings again.`);
  }
  const kept = Object.entries(present).filter(([name]) => !Object.hasOwn(after, name));
  return { ...Object.fromEntries(kept), ...before };
}
