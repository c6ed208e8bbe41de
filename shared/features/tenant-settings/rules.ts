import type { z } from "zod";
import type { JsonObject } from "../../kernel/json.ts";
import { ADDED_SETTINGS } from "../settings/rules.ts";
import { INHERITED_SETTINGS, type PlatformSettings } from "../settings/entity.ts";

export const ORIGINS = ["platform", "plan", "tenant"] as const;

/** A setting as it applies to a tenant, and the record that it comes from. */
export interface EffectiveSetting {
  readonly value: z.core.util.JSONType;
  readonly from: (typeof ORIGINS)[number];
}

/**
 * The settings of a tenant: those of the platform, replaced by those of its plan, replaced by its own. What one of them demands of
 * people who sign in, the others cannot take away.
 */
export function effectiveSettings(
  platform: PlatformSettings,
  plan: JsonObject | undefined,
  own: JsonObject | undefined,
): Record<string, EffectiveSetting> {
  const inherited = INHERITED_SETTINGS.map((name) => [name, platform[name]] as const);
  const layers = [["platform", inherited], ["plan", Object.entries(plan ?? {})], ["tenant", Object.entries(own ?? {})]] as const;
  const all: Record<string, EffectiveSetting> = {};
  for (const [from, settings] of layers) {
    for (const [name, value] of settings) {
      const isDemanded = all[name]?.value === true && (ADDED_SETTINGS as readonly string[]).includes(name);
      if (!isDemanded) all[name] = { value: value as EffectiveSetting["value"], from };
    }
  }
  return all;
}
