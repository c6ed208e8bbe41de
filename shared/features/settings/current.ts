import type { Stored } from "../../core/collection.ts";
import type { Platform } from "../../core/platform.ts";
import { platformSettings, SETTINGS_KEY } from "./entity.ts";

export type StoredSettings = Stored<typeof platformSettings>;

/** The version of the settings before any was stored. */
const UNSTORED = "unstored";

/** What holds before anything is stored. */
export const DEFAULT_SETTINGS: StoredSettings = { ...platformSettings.schema.parse({ id: SETTINGS_KEY }), version: UNSTORED };

/** The settings, complete and at most 10 seconds old. A change by this process is seen at once. */
export async function currentSettings({ platform }: { readonly platform: Pick<Platform, "records"> }): Promise<StoredSettings> {
  return await platform.records.cached(platformSettings, SETTINGS_KEY) ?? DEFAULT_SETTINGS;
}
