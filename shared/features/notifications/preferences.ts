import { parseInput, type Stored } from "../../core/collection.ts";
import { inputsOf, type PutInput } from "../../core/fields.ts";
import { Records } from "../../core/records.ts";
import type { UnitOfWork } from "../../core/unit-of-work.ts";
import { errors } from "../../kernel/errors.ts";
import type { JsonObject } from "../../kernel/json.ts";
import type { ChangeOptions } from "../../kernel/version.ts";
import { keyOf } from "../../kv/define.ts";
import { CATEGORIES, type Category, type Channel, CHANNELS, type NotificationPreferences, notificationPreferences } from "./entity.ts";
import { preferenceProblems } from "./rules.ts";

type Holder = Pick<NotificationPreferences, "tenantId" | "userId">;
export type PreferencesInput = PutInput<typeof notificationPreferences>;

/** The preferences of a user for every category. The version is null if the user has stored none. */
export interface PreferencesView {
  readonly categories: { readonly [C in Category]: { readonly [K in Channel]: boolean } };
  /** The channels that there are. Without a mail server, there is no e-mail. */
  readonly channels: readonly Channel[];
  readonly version: string | null;
}

export async function preferencesOf(work: UnitOfWork, holder: Holder): Promise<PreferencesView> {
  return shown(work, await new Records(notificationPreferences, work).get(keyOf(notificationPreferences, holder)));
}

/** Replaces all preferences of the user. Throws `validation_failed`. */
export async function putPreferences(
  work: UnitOfWork,
  holder: Holder,
  data: PreferencesInput,
  options: ChangeOptions,
): Promise<PreferencesView> {
  const input = parseInput(inputsOf(notificationPreferences).create, data) as unknown as NotificationPreferences;
  const problems = preferenceProblems(input);
  if (problems.length > 0) throw errors.validation(problems);
  const records = new Records(notificationPreferences, work);
  const { record } = await records.put(keyOf(notificationPreferences, holder), options, (before) => ({
    action: `notification-preferences.${before ? "updated" : "created"}`,
    record: before ? { ...before, ...input } : records.newRecord({ ...input, ...holder }),
  }), input as unknown as JsonObject);
  return shown(work, record);
}

function shown({ platform: { mailer } }: UnitOfWork, record: Stored<typeof notificationPreferences> | null): PreferencesView {
  const onAll = Object.fromEntries(CHANNELS.map((channel) => [channel, true]));
  const categories = Object.fromEntries(CATEGORIES.map((category) => [category, { ...onAll, ...record?.categories[category] }]));
  return {
    categories: categories as PreferencesView["categories"],
    channels: CHANNELS.filter((channel) => channel !== "email" || mailer !== null),
    version: record?.version ?? null,
  };
}
