import { z } from "zod";
import { Reply } from "../../core/reply.ts";
import { type Route, verb } from "../../core/route.ts";
import { component } from "../../core/schemas.ts";
import { configuration, configurationInput, SECTIONS } from "./document.ts";
import { ConfigurationService, MAX_CHANGES } from "./service.ts";

const path = "/v1/configuration";
const version = z.string().meta({ description: "The version of the whole configuration, as in the ETag." });
const members = z.record(z.string(), z.json());
const change = {
  section: z.enum(SECTIONS),
  id: z.string().meta({ description: "The id of the plan, the key of the flag, or the user id of the administrator." }),
  action: z.enum(["create", "update", "delete"]),
};
const remaining = z.int().meta({ description: `The number of changes after these. One call makes at most ${MAX_CHANGES}.` });
const EXAMPLE = { section: "settings", id: "settings", action: "update" } as const;

const document = component("Configuration", configuration, () => ({ formatVersion: 1, settings: { trialDurationDays: 30 }, plans: [] }));
const plan = component(
  "ConfigurationPlan",
  z.object({
    version,
    changes: z.array(
      z.object({
        ...change,
        before: members.meta({ description: "The fields that differ, as they are." }),
        after: members.meta({ description: "The fields that differ, as they would be." }),
      }),
    ),
    remaining,
  }),
  () => ({
    version: "0f3a",
    changes: [{ ...EXAMPLE, before: { trialDurationDays: 14 }, after: { trialDurationDays: 30 } }],
    remaining: 0,
  }),
);
const report = component(
  "ConfigurationReport",
  z.object({
    version,
    applied: z.array(z.object({ ...change, fields: z.array(z.string()).meta({ description: "The fields that were changed." }) })),
    remaining,
    failed: z.object({ path: z.string(), code: z.string(), message: z.string() }).optional().meta({
      description: "The change that was refused, because something else was changed meanwhile. Those after it were not made.",
    }),
  }),
  () => ({ version: "1b7c", applied: [{ ...EXAMPLE, fields: ["trialDurationDays"] }], remaining: 0 }),
);
const sample = { body: (n: number) => ({ settings: { trialDurationDays: 40 + n % 3_000 } }) };

/** Settings, plans, flags and administrators as one document, for configuration as code. */
export const routes: readonly Route[] = [
  verb(`GET ${path}`, {
    service: ConfigurationService,
    operationId: "exportConfiguration",
    summary: "Export the configuration: settings, plans, flags and administrators",
    description: "The sections that you may read, without secrets. The document can be planned and applied, also on another platform.",
    scope: "read:settings",
    output: document,
    etag: true,
    run: async ({ service }) => {
      const { document: body, version: tag } = await service.export();
      return new Reply(200, body, { version: tag });
    },
  }),
  verb(`POST ${path}/plan`, {
    service: ConfigurationService,
    operationId: "planConfiguration",
    summary: "Show what applying a configuration would change",
    description: "Nothing is written. A document that would be refused is refused here, with every error.",
    scope: "read:settings",
    readOnly: true,
    input: configurationInput,
    output: plan,
    sample,
    run: async ({ service, body }) => await service.plan(body) as never,
  }),
  verb(`POST ${path}/apply`, {
    service: ConfigurationService,
    operationId: "applyConfiguration",
    summary: "Apply a configuration",
    description: "Everything is checked before the first change. Each change is audited like a call of its own, and a second call " +
      "changes nothing. Send the `version` of the plan as If-Match to apply what it has shown. Each section needs the scope of its " +
      "records, such as `write:admins`. Repeat the call while `remaining` is above 0.",
    scope: "write:settings",
    input: configurationInput,
    output: report,
    errors: ["precondition_failed", "insufficient_scope"],
    sample,
    run: async ({ service, body, options }) => await service.apply(body, options) as never,
  }),
];
