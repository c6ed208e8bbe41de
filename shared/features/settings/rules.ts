import { changedFields, type FieldChanges } from "../../core/merge-patch.ts";
import { redact, REDACTED } from "../../core/redaction.ts";
import { errors, InnkeepError } from "../../kernel/errors.ts";
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

/** The settings that a plan and a tenant can demand in addition to the platform, and cannot take away. */
export const ADDED_SETTINGS = ["enforceSSO", "require2FA"] as const;

/** Whether one of the layers demands it. */
export function demands(
  layers: readonly (Readonly<Record<string, unknown>> | undefined)[],
  name: (typeof ADDED_SETTINGS)[number],
): boolean {
  return layers.some((layer) => layer?.[name] === true);
}

/** A row of the history has a branding twice, and has to fit the store's limit of a value. */
const MAX_BRANDING_BYTES = 64 * 1_024;

/** Throws `validation_failed` for a branding that no row of the history could hold beside the next one. */
export function assertBrandingFits({ after: { branding = null } }: SettingsChange["changes"]): void {
  if (new TextEncoder().encode(JSON.stringify(branding)).length <= MAX_BRANDING_BYTES) return;
  throw errors.validation([{ path: "/branding", message: `must be at most ${MAX_BRANDING_BYTES / 1_024} KiB as JSON`, code: "too_big" }]);
}

/**
 * The settings with what a change has changed as it was before. What other changes have changed stays, also other members of an object.
 * Throws `not_revertible` for a secret that was replaced, because its earlier value is not kept.
 */
export function reverted(present: PlatformSettings, { id, changes: { before, after } }: SettingsChange): Partial<PlatformSettings> {
  if (Object.values(before).includes(REDACTED)) {
    throw new InnkeepError("not_revertible", `Change ${id} replaced a secret, whose earlier value is not kept. Send the settings again.`);
  }
  const settings: Record<string, unknown> = { ...present };
  for (const name of new Set([...Object.keys(before), ...Object.keys(after)])) {
    const value = revertedValue(settings[name], before[name], after[name]);
    if (value === undefined) delete settings[name];
    else settings[name] = value;
  }
  return settings as Partial<PlatformSettings>;
}

/** The members of an object that the change has changed are as before, and the others as they are; any other value is as before. */
function revertedValue(present: unknown, before: unknown, after: unknown): unknown {
  if (!isMembers(before ?? after) || !isMembers(before ?? {}) || !isMembers(after ?? {}) || !isMembers(present ?? {})) return before;
  const changes = changedFields((before ?? {}) as Members, (after ?? {}) as Members);
  const kept = Object.entries((present ?? {}) as Members).filter(([name]) => !Object.hasOwn(changes.after, name));
  const members = { ...Object.fromEntries(kept), ...changes.before };
  return before === undefined && Object.keys(members).length === 0 ? undefined : members;
}

type Members = Readonly<Record<string, unknown>>;

function isMembers(value: unknown): boolean {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}
