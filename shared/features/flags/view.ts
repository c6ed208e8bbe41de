import { z } from "zod";
import { component } from "../../core/schemas.ts";
import { segment } from "../../core/values.ts";
import { FLAG_TYPES } from "./entity.ts";
import { type Evaluation, type ExplainedStep, REASONS } from "./evaluation.ts";

const MAX_ATTRIBUTES = 100;
/** Rules search texts for thousands of values, which takes seconds in a text of a megabyte. */
const MAX_TEXT = 2_000;

/** The evaluation context that a caller sends. Rules compare its texts, numbers and booleans; other members count as missing. */
export const evaluationContext = z.record(z.string().min(1).max(100), z.json())
  .refine((context) => Object.keys(context).length <= MAX_ATTRIBUTES, `must have at most ${MAX_ATTRIBUTES} members`)
  .check(({ value, issues }) => {
    for (const [name, member] of Object.entries(value)) {
      if (typeof member !== "string" || member.length <= MAX_TEXT) continue;
      issues.push({ code: "custom", path: [name], message: `must have at most ${MAX_TEXT} characters`, input: value });
    }
  })
  .meta({
    description: "Attributes for rules and buckets, such as `userId`. The tenant's own attributes take precedence over them. " +
      `A text has at most ${MAX_TEXT} characters.`,
    maxProperties: MAX_ATTRIBUTES,
  });

export const evaluationInput = z.strictObject({
  context: evaluationContext.default({}),
  type: z.enum(FLAG_TYPES).optional().meta({ description: "The type that the program expects. Another one results in `TYPE_MISMATCH`." }),
});

const shape = {
  key: z.string(),
  flagId: segment.nullable().meta({ description: "Null if there is no such flag." }),
  type: z.enum(FLAG_TYPES).nullable(),
  enabled: z.boolean(),
  value: z.json().meta({ description: "The value of the variant. Null if there is none: the program then uses its own default." }),
  variant: z.string().nullable(),
  reason: z.enum(REASONS).meta({ description: "What decided." }),
  ruleId: z.string().optional().meta({ description: "The rule that decided. Tenants do not see it." }),
  errorCode: z.enum(["FLAG_NOT_FOUND", "TYPE_MISMATCH"]).optional(),
};

const EXAMPLE = {
  key: "late-checkout",
  flagId: "ff_1767225600000_a1b2c3d4e5f6",
  type: "boolean",
  enabled: true,
  value: true,
  variant: "on",
  reason: "SPLIT",
};

export const evaluationView: z.ZodType<Evaluation> = component("FlagEvaluation", z.object(shape), () => EXAMPLE) as never;

const explainedStep: z.ZodType<ExplainedStep> = z.object({
  step: z.enum(REASONS),
  outcome: z.enum(["passed", "decided", "not_reached"]),
  detail: z.string().optional().meta({ description: "What the step looked at, for people." }),
}) as never;

export const explanationView: z.ZodType<Evaluation & { readonly steps: ExplainedStep[] }> = component(
  "FlagExplanation",
  z.object({ ...shape, steps: z.array(explainedStep).meta({ description: "Every step in order. The first that decides wins." }) }),
  () => ({
    ...EXAMPLE,
    steps: [
      { step: "DISABLED", outcome: "passed", detail: "status is enabled" },
      { step: "SPLIT", outcome: "decided", detail: "the rollout decides for 25 %, and tenantId is in it" },
      { step: "DEFAULT", outcome: "not_reached" },
    ],
  }),
) as never;

/** The flags of one tenant. */
export interface TenantEvaluations {
  /** By key. */
  readonly data: Evaluation[];
  /** Changes with every result and every change of a flag. It is the ETag. */
  readonly version: string;
}

export const tenantEvaluationsView: z.ZodType<TenantEvaluations> = component(
  "TenantFlags",
  z.object({ data: z.array(evaluationView), version: z.string().meta({ description: "The version of the results, as in the ETag." }) }),
  () => ({ data: [EXAMPLE], version: "5b1f0c5d2f4e4a7f9c3d0a6e8b7c1d2e" }),
) as never;
