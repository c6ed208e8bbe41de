import { parseInput, type Stored } from "../../core/collection.ts";
import { inputsOf, type UpdateInput } from "../../core/fields.ts";
import { type Filters, listPage, type Page, type Pagination, selectionOf, type Sort } from "../../core/paging.ts";
import { assertNotOver, presentMaintenance, withoutEnded } from "../../core/maintenance.ts";
import { Records } from "../../core/records.ts";
import type { UnitOfWork } from "../../core/unit-of-work.ts";
import { webUrl } from "../../core/values.ts";
import { errors } from "../../kernel/errors.ts";
import { type JsonObject, pointerToken } from "../../kernel/json.ts";
import { sha256Hex } from "../../kernel/sha256.ts";
import { assertMatch, type ChangeOptions } from "../../kernel/version.ts";
import { keyOf } from "../../kv/define.ts";
import { plan } from "../plans/entity.ts";
import { currentSettings, DEFAULT_SETTINGS, type StoredSettings } from "./current.ts";
import { type PlatformSettings, platformSettings, SETTINGS_KEY, settingsChange } from "./entity.ts";
import { assertBrandingFits, isEmpty, reverted, settingsDiff } from "./rules.ts";
import { type PublicSettings, publicSettingsOf } from "./view.ts";

export type StoredSettingsChange = Stored<typeof settingsChange>;
export type SettingsUpdate = UpdateInput<typeof platformSettings> & { readonly slackWebhookUrl?: string | null | undefined };

/** The body of a change: the settings, and the one that is stored encrypted. */
export const settingsInput = inputsOf(platformSettings).update.extend({
  slackWebhookUrl: webUrl.nullable().optional().meta({ description: "Stored encrypted and never returned. Null removes it." }),
});

/** The platform's one record of settings. Each change makes a row of its history. */
export class PlatformSettingsService {
  readonly #settings: Records<typeof platformSettings>;

  constructor(private readonly work: UnitOfWork) {
    this.#settings = new Records(platformSettings, work);
  }

  /** Complete: a setting that was never changed has its default. */
  async get(): Promise<StoredSettings> {
    return this.#shown(await this.#settings.get(SETTINGS_KEY) ?? DEFAULT_SETTINGS);
  }

  /** What anybody may see, and its digest. */
  async public(): Promise<PublicSettings> {
    const { platform, context } = this.work;
    const settings = await currentSettings(this.work);
    const shown = publicSettingsOf(settings, presentMaintenance(settings.maintenance, context.clock.now()), platform.regions);
    return { shown, digest: await sha256Hex(JSON.stringify(shown)) };
  }

  /**
   * Applies a JSON merge patch. `userId`: who makes the change, if it is not the caller. Throws `validation_failed`,
   * `precondition_failed`, and `root_key_unavailable` for a secret.
   */
  async update(updates: SettingsUpdate, userId?: string, options: ChangeOptions = {}): Promise<StoredSettings> {
    const { slackWebhookUrl, ...patch } = parseInput(settingsInput, updates) as Readonly<Record<string, unknown>>;
    return await this.#change("platform-settings.updated", userId, options, { ...updates } as JsonObject, async (before) => (
      await this.#withSecret(
        this.#settings.patched(patch["maintenance"] ? withoutEnded(before, this.work.context.clock.now()) : before, patch),
        slackWebhookUrl as string | null | undefined,
      )
    ));
  }

  /** Sets what a change has changed to what it was before. Throws `not_found`, `not_revertible`. */
  async revert(changeId: string, options: ChangeOptions = {}): Promise<StoredSettings> {
    const history = new Records(settingsChange, this.work);
    return await this.#change("platform-settings.reverted", undefined, options, { changeId }, async (before) => {
      const change = await history.get(changeId);
      if (!change) throw errors.notFound("settings change", changeId);
      const { version: _, ...present } = before;
      return withoutEnded(reverted(present as unknown as PlatformSettings, change), this.work.context.clock.now());
    }, changeId);
  }

  async #change(
    action: string,
    userId: string | undefined,
    { ifMatch, ifNoneMatch, idempotencyKey }: ChangeOptions,
    request: JsonObject,
    decide: (before: StoredSettings) => Promise<Record<string, unknown>>,
    reverts?: string,
  ): Promise<StoredSettings> {
    const updatedBy = userId ?? this.work.context.actor.id;
    const { record } = await this.#settings.put(SETTINGS_KEY, { idempotencyKey }, async (stored) => {
      const before = stored ?? DEFAULT_SETTINGS;
      assertMatch(before.version, { ifMatch, ifNoneMatch });
      const decided = parseInput(platformSettings.schema, await decide(before)) as PlatformSettings;
      const changes = settingsDiff(before, decided);
      if (isEmpty(changes)) return { action, record: before, isUnchanged: true };
      assertNotOver(before.maintenance, decided.maintenance, this.work.now());
      assertBrandingFits(changes);
      await this.#assertPlans(before, decided);
      const number = before.revision + 1;
      const row = {
        id: String(number),
        number,
        changes,
        changedBy: updatedBy,
        createdAt: this.work.now(),
        ...(reverts ? { reverts } : {}),
      };
      const { currency } = this.work.platform;
      const first = stored ? {} : { createdAt: this.work.now(), updatedAt: this.work.now() };
      return {
        action,
        record: { ...decided, ...first, currency, revision: number, updatedBy },
        changes: [{ entity: settingsChange, before: null, after: row }],
      };
    }, { ...request, updatedBy });
    return this.#shown(record);
  }

  /** The settings with the secret as a change leaves it; undefined leaves it as it is. */
  async #withSecret(settings: PlatformSettings, url: string | null | undefined): Promise<PlatformSettings> {
    if (url === undefined) return settings;
    const { sealedSlackWebhookUrl: _, slackWebhookUrlLast4: __, ...rest } = settings;
    if (url === null) return rest as unknown as PlatformSettings;
    const sealed = await this.work.platform.secrets.seal(SETTINGS_KEY, "sealedSlackWebhookUrl", url);
    return { ...rest, sealedSlackWebhookUrl: sealed, slackWebhookUrlLast4: url.slice(-4) } as unknown as PlatformSettings;
  }

  /** A limit of a plan that does not exist would limit nothing. */
  async #assertPlans(before: PlatformSettings, after: PlatformSettings): Promise<void> {
    const added = Object.keys(after.maxTenantsPerPlan).filter((id) => !Object.hasOwn(before.maxTenantsPerPlan, id));
    const found = added.length === 0 ? [] : await this.work.store.mget(added.map((id) => keyOf(plan, { id })));
    const problems = added.filter((_, i) => !found[i]).map((id) => ({
      path: `/maxTenantsPerPlan/${pointerToken(id)}`,
      message: "must be an existing plan",
      code: "unknown_plan",
    }));
    if (problems.length > 0) throw errors.validation(problems);
  }

  #shown({ sealedSlackWebhookUrl: _, ...shown }: StoredSettings): StoredSettings {
    return { ...shown, currency: this.work.platform.currency } as StoredSettings;
  }
}

/** The history of the settings, the newest change first. */
export class SettingsHistoryService {
  readonly #changes: Records<typeof settingsChange>;

  constructor(work: UnitOfWork) {
    this.#changes = new Records(settingsChange, work);
  }

  async list(filters: Filters = {}, sort?: Sort, pagination?: Pagination): Promise<Page<StoredSettingsChange>> {
    return await listPage(this.#changes, { ...selectionOf(settingsChange, filters), sort, pagination });
  }

  async get(id: string): Promise<StoredSettingsChange | null> {
    return await this.#changes.get(id);
  }
}
