import { listArguments, listQuery } from "../../core/list-query.ts";
import { Reply } from "../../core/reply.ts";
import { type Route, verb } from "../../core/route.ts";
import { pageOf, recordOf } from "../../core/schemas.ts";
import { platformSettings, settingsChange } from "./entity.ts";
import { PlatformSettingsService, SettingsHistoryService, settingsInput } from "./service.ts";
import { publicSettings } from "./view.ts";

const settings = { service: PlatformSettingsService, output: recordOf(platformSettings), loads: [platformSettings] } as const;

/** A change that differs from the present settings and from the defaults. */
async function change(service: PlatformSettingsService): Promise<void> {
  const { trialDurationDays } = await service.get();
  await service.update({ trialDurationDays: trialDurationDays === 21 ? 22 : 21 });
}

/** The settings of the platform, their history, and what of them is public. */
export const routes: readonly Route[] = [
  verb("GET /v1/settings", {
    ...settings,
    operationId: "getSettings",
    summary: "Get the platform's settings",
    description: "Complete: a setting that was never changed has its default.",
    scope: "read:settings",
    run: async ({ service }) => await service.get(),
  }),
  verb("PATCH /v1/settings", {
    ...settings,
    operationId: "updateSettings",
    summary: "Change the platform's settings by JSON merge patch",
    description:
      "`slackWebhookUrl` is stored encrypted and never returned. A change is seen by every process within 10 seconds. During a maintenance, this route goes on.",
    scope: "write:settings",
    openInMaintenance: true,
    input: settingsInput,
    errors: ["root_key_unavailable"],
    sample: { body: (n: number) => ({ trialDurationDays: 30 + n % 3_000 }) },
    run: async ({ service, body, options }) => await service.update(body, undefined, options),
  }),
  verb("GET /v1/settings/public", {
    service: PlatformSettingsService,
    operationId: "getPublicSettings",
    summary: "Get what anybody may know of the platform",
    description: "For sign-up and status pages. At most 10 seconds old.",
    scope: "public",
    output: publicSettings,
    etag: true,
    run: async ({ service }) => {
      const { shown, digest } = await service.public();
      return new Reply(200, shown, { version: digest });
    },
  }),
  verb("GET /v1/settings/history", {
    service: SettingsHistoryService,
    operationId: "listSettingsChanges",
    summary: "List the changes of the platform's settings",
    description: "The newest change first, each with the settings that differ.",
    scope: "read:settings",
    query: listQuery(settingsChange),
    output: pageOf(settingsChange),
    run: async ({ service, query }) => await service.list(...listArguments(query)),
  }),
  verb("GET /v1/settings/history/:settingsChangeId", {
    service: SettingsHistoryService,
    operationId: "getSettingsChange",
    summary: "Get one change of the platform's settings",
    scope: "read:settings",
    output: recordOf(settingsChange),
    loads: [settingsChange],
    sample: { params: { settingsChangeId: "1" }, prepare: (_service, _params, use) => change(use(PlatformSettingsService)) },
    run: async ({ service, params }) => await service.get(params.settingsChangeId),
  }),
  verb("POST /v1/settings/history/:settingsChangeId/revert", {
    service: PlatformSettingsService,
    operationId: "revertSettingsChange",
    summary: "Revert a change of the platform's settings",
    description:
      "Sets what the change has changed to what it was before, also if later changes have set it again. The ETag is that of the settings.",
    scope: "write:settings",
    openInMaintenance: true,
    output: recordOf(platformSettings),
    loads: [platformSettings, settingsChange],
    errors: ["not_revertible"],
    sample: { params: { settingsChangeId: "1" }, prepare: change },
    run: async ({ service, params, options }) => await service.revert(params.settingsChangeId, options),
  }),
];
