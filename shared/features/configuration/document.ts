import { z } from "zod";
import { inputsOf } from "../../core/fields.ts";
import type { Scope } from "../../core/scopes.ts";
import { segment } from "../../core/values.ts";
import type { AnyEntity } from "../../kv/define.ts";
import { admin } from "../admins/entity.ts";
import { flag, MAX_FLAGS } from "../flags/entity.ts";
import { plan } from "../plans/entity.ts";
import { platformSettings } from "../settings/entity.ts";

export const SECTIONS = ["plans", "settings", "flags", "admins"] as const;
export type SectionName = (typeof SECTIONS)[number];
type Members = Readonly<Record<string, unknown>>;

/** A part of the configuration, in the order in which it is applied: flags and settings name plans. */
export interface Section {
  readonly name: SectionName;
  readonly entity: AnyEntity;
  /** The field that names an item; null for the settings, which are one item. */
  readonly id: string | null;
  readonly item: z.ZodObject;
  readonly read: Scope;
  readonly write: Scope;
  /** The defaults that the schema does not know. */
  readonly completed?: (item: Members) => Members;
}

/** A maintenance is a state, and not configuration. */
const settingsItem = inputsOf(platformSettings).update.omit({ maintenance: true });
const planItem = inputsOf(plan).create.extend({ id: segment });
/** The ids of flags differ between platforms, and their keys do not. */
const flagItem = inputsOf(flag).create.omit({ id: true });
const adminItem = inputsOf(admin).create;

export const sections: readonly Section[] = [
  {
    name: "plans",
    entity: plan,
    id: "id",
    item: planItem,
    read: "read:plans",
    write: "write:plans",
    completed: ({ displayName, ...item }) => ({ ...item, displayName: displayName ?? item["name"] }),
  },
  { name: "settings", entity: platformSettings, id: null, item: settingsItem, read: "read:settings", write: "write:settings" },
  { name: "flags", entity: flag, id: "key", item: flagItem, read: "read:flags", write: "write:flags" },
  { name: "admins", entity: admin, id: "userId", item: adminItem, read: "read:admins", write: "write:admins" },
];

const MAX_ITEMS = 200;
const formatVersion = z.literal(1).meta({ description: "The version of this format." });
const parts = {
  settings: settingsItem.optional().meta({ description: "The settings of the platform. Those that are omitted stay as they are." }),
  plans: z.array(planItem).max(MAX_ITEMS).optional().meta({ description: "Plans by `id`, each complete." }),
  flags: z.array(flagItem).max(MAX_FLAGS).optional().meta({ description: "Feature flags by `key`, each complete." }),
  admins: z.array(adminItem).max(MAX_ITEMS).optional().meta({
    description: "Administrators by `userId`, with their roles and permissions, each complete.",
  }),
};

/** The configuration as it is exported. */
export const configuration = z.object({ formatVersion, ...parts });

/** The configuration that is wanted. A section that is omitted stays as it is. */
export const configurationInput = z.strictObject({
  formatVersion: formatVersion.optional(),
  ...parts,
  prune: z.boolean().default(false).meta({ description: "Whether plans, flags and administrators that a section lacks are deleted." }),
});
export type ConfigurationInput = z.input<typeof configurationInput>;
export type Wanted = z.output<typeof configurationInput>;
