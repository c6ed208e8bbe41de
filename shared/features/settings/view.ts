import { z } from "zod";
import { publicBranding } from "../../core/branding.ts";
import type { Maintenance } from "../../core/maintenance.ts";
import { component } from "../../core/schemas.ts";
import { instant } from "../../core/values.ts";
import type { PlatformSettings } from "./entity.ts";

/** What anybody may see of the settings, named one by one, so that a new setting is private. */
export const publicSettings = component(
  "PublicSettings",
  z.object({
    platformName: z.string(),
    platformUrl: z.string().nullable(),
    supportEmail: z.string().nullable(),
    branding: publicBranding,
    enableSignups: z.boolean(),
    enableTrials: z.boolean(),
    regions: z.array(z.string()).meta({ description: "The regions that a tenant can be assigned to." }),
    maintenance: z.object({ message: z.string().optional(), endsAt: instant.optional() }).nullable().meta({
      description: "Null if the platform is not under maintenance.",
    }),
  }),
  () => ({
    platformName: "Innkeep",
    platformUrl: "https://innkeep.example",
    supportEmail: "help@innkeep.example",
    branding: { primaryColor: "#0a7c66" },
    enableSignups: true,
    enableTrials: true,
    regions: ["eu-west-1"],
    maintenance: null,
  }),
);

export interface PublicSettings {
  readonly shown: z.output<typeof publicSettings>;
  /** Differs when the settings do. */
  readonly digest: string;
}

export function publicSettingsOf(
  { platformName, platformUrl, supportEmail, branding, enableSignups, enableTrials }: PlatformSettings,
  maintenance: NonNullable<Maintenance> | null,
  regions: readonly string[],
): PublicSettings["shown"] {
  return publicSettings.parse({
    platformName,
    platformUrl,
    supportEmail,
    branding: branding ?? {},
    enableSignups,
    enableTrials,
    regions,
    maintenance,
  }) as PublicSettings["shown"];
}
