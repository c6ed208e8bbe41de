import type { JsonValue } from "../../kernel/json.ts";
import { isIncluded, weightedVariant } from "./buckets.ts";
import type { Flag, FlagOverride, FlagRule, FlagType } from "./entity.ts";
import { holds, type Scalar } from "./operators.ts";

/** What decided, one for each outcome of each step. docs/flags.md has the table with the reasons of OpenFeature. */
export const REASONS = [
  ...["FLAG_NOT_FOUND", "TYPE_MISMATCH", "DISABLED", "OVERRIDE", "TENANT_DISABLED", "TENANT_ENABLED"] as const,
  ...["PLAN_NOT_INCLUDED", "BETA_NOT_OPTED_IN", "TARGETING_MATCH", "SPLIT", "STICKINESS_MISSING"] as const,
  ...["TENANT_NOT_INCLUDED", "DEFAULT"] as const,
] as const;
export type Reason = (typeof REASONS)[number];

/** The reason in the vocabulary of OpenFeature (specification, section 1.7). */
export const OPENFEATURE_REASONS: Readonly<Record<Reason, "DISABLED" | "DEFAULT" | "ERROR" | "SPLIT" | "TARGETING_MATCH">> = {
  FLAG_NOT_FOUND: "ERROR",
  TYPE_MISMATCH: "ERROR",
  DISABLED: "DISABLED",
  OVERRIDE: "TARGETING_MATCH",
  TENANT_DISABLED: "TARGETING_MATCH",
  TENANT_ENABLED: "TARGETING_MATCH",
  PLAN_NOT_INCLUDED: "TARGETING_MATCH",
  BETA_NOT_OPTED_IN: "TARGETING_MATCH",
  TARGETING_MATCH: "TARGETING_MATCH",
  SPLIT: "SPLIT",
  STICKINESS_MISSING: "SPLIT",
  TENANT_NOT_INCLUDED: "DEFAULT",
  DEFAULT: "DEFAULT",
};

/** The result of evaluating one flag for one tenant. */
export interface Evaluation {
  readonly key: string;
  /** Null if there is no such flag. */
  readonly flagId: string | null;
  readonly type: FlagType | null;
  readonly enabled: boolean;
  /** The value of the variant. Null if there is none: the program then uses its own default. */
  readonly value: JsonValue;
  readonly variant: string | null;
  readonly reason: Reason;
  /** The rule that decided. */
  readonly ruleId?: string;
  readonly errorCode?: "FLAG_NOT_FOUND" | "TYPE_MISMATCH";
}

/** Whom a flag is evaluated for, and when. */
export interface Subject {
  readonly tenantId: string;
  readonly plan: string;
  /** Those of the tenant and of the evaluation context. Values that are not scalar count as missing. */
  readonly attributes: Readonly<Record<string, unknown>>;
  readonly now: string;
}

type OverrideOf = Pick<FlagOverride, "enabled" | "variant" | "expiresAt"> | null | undefined;

interface Input {
  readonly flag: Flag;
  readonly subject: Subject;
  readonly override: OverrideOf;
}

interface Decided {
  readonly enabled: boolean;
  readonly reason: Reason;
  readonly variant?: string | undefined;
  readonly ruleId?: string;
}

interface Step {
  /** The step is named after the reason that it gives. */
  readonly name: Reason;
  /** Null: the next step decides. */
  readonly decide: (input: Input) => Decided | null;
  /** What the step looked at, for `explain`. */
  readonly detail: (input: Input) => string;
}

/** The steps in their order. The first that decides wins, and the last one always does. */
const STEPS: readonly Step[] = [
  {
    name: "DISABLED",
    decide: ({ flag }) => flag.status === "disabled" ? { enabled: false, reason: "DISABLED" } : null,
    detail: ({ flag }) => `status is ${flag.status}`,
  },
  {
    name: "OVERRIDE",
    decide: ({ override, subject }) =>
      override && isLive(override, subject.now) ? { enabled: override.enabled, variant: override.variant, reason: "OVERRIDE" } : null,
    detail: ({ override, subject }) =>
      !override ? "the tenant has no override" : isLive(override, subject.now) ? lastingOf(override) : `expired at ${override.expiresAt}`,
  },
  {
    name: "TENANT_DISABLED",
    decide: ({ flag, subject }) =>
      flag.disabledForTenants?.includes(subject.tenantId) ? { enabled: false, reason: "TENANT_DISABLED" } : null,
    detail: ({ flag, subject }) => listed("disabledForTenants", flag.disabledForTenants, subject.tenantId),
  },
  {
    name: "TENANT_ENABLED",
    decide: ({ flag, subject }) => flag.enabledForTenants?.includes(subject.tenantId) ? { enabled: true, reason: "TENANT_ENABLED" } : null,
    detail: ({ flag, subject }) => listed("enabledForTenants", flag.enabledForTenants, subject.tenantId),
  },
  {
    name: "PLAN_NOT_INCLUDED",
    decide: ({ flag, subject }) =>
      flag.scope === "plan" && !flag.enabledForPlans?.includes(subject.plan) ? { enabled: false, reason: "PLAN_NOT_INCLUDED" } : null,
    detail: ({ flag, subject }) =>
      flag.scope === "plan" ? listed("enabledForPlans", flag.enabledForPlans, subject.plan) : `scope is ${flag.scope}`,
  },
  {
    name: "BETA_NOT_OPTED_IN",
    decide: ({ flag }) => flag.status === "beta" ? { enabled: false, reason: "BETA_NOT_OPTED_IN" } : null,
    detail: ({ flag }) => flag.status === "beta" ? "the tenant has no override and is not in enabledForTenants" : "status is enabled",
  },
  { name: "TARGETING_MATCH", decide: ruleDecision, detail: rulesDetail },
  { name: "SPLIT", decide: rolloutDecision, detail: rolloutDetail },
  {
    name: "DEFAULT",
    decide: defaultDecision,
    detail: ({ flag }) => flag.scope === "tenant" ? "scope is tenant, so the default is off" : "the default is on",
  },
];

/** Evaluates a flag. Pure: the same input gives the same result in every process. */
export function evaluated(flag: Flag, subject: Subject, override?: OverrideOf): Evaluation {
  const input = { flag, subject, override };
  for (const { decide } of STEPS) {
    const decided = decide(input);
    if (decided) return resultOf(input, decided);
  }
  return resultOf(input, defaultDecision(input));
}

/** One step of an explanation. */
export interface ExplainedStep {
  readonly step: Reason;
  readonly outcome: "passed" | "decided" | "not_reached";
  readonly detail?: string;
}

/** The evaluation with every step in order: those that passed, the one that decided, and those that were not reached. */
export function explained(flag: Flag, subject: Subject, override?: OverrideOf): Evaluation & { readonly steps: ExplainedStep[] } {
  const input = { flag, subject, override };
  let isDecided = false;
  const steps = STEPS.map(({ name: step, decide, detail }): ExplainedStep => {
    if (isDecided) return { step, outcome: "not_reached" };
    isDecided = decide(input) !== null;
    return { step, outcome: isDecided ? "decided" : "passed", detail: detail(input) };
  });
  return { ...evaluated(flag, subject, override), steps };
}

/** The result for a key that no flag has. */
export function unknownFlag(key: string): Evaluation {
  return { ...NO_VALUE, key, flagId: null, type: null, reason: "FLAG_NOT_FOUND", errorCode: "FLAG_NOT_FOUND" };
}

/** The result for a program that expects another type than the flag has. */
export function mismatched({ key, id: flagId, type }: Flag): Evaluation {
  return { ...NO_VALUE, key, flagId, type, reason: "TYPE_MISMATCH", errorCode: "TYPE_MISMATCH" };
}

const NO_VALUE = { enabled: false, value: null, variant: null } as const;

/** An override no longer counts at its instant. */
export function isLive({ expiresAt }: { readonly expiresAt?: string | undefined }, now: string): boolean {
  return expiresAt === undefined || now < expiresAt;
}

function ruleDecision(input: Input): Decided | null {
  const { flag } = input;
  const rule = flag.rules?.find((candidate) => matches(candidate, input));
  if (!rule) return null;
  const decided = { ruleId: rule.id, reason: "TARGETING_MATCH", variant: rule.variant } as const;
  if (rule.rolloutPercentage === undefined) return { ...decided, enabled: rule.enabled ?? true };
  const isIn = isIncluded(flag.key, rule.rolloutPercentage, stickinessOf(input));
  return isIn ? { ...decided, enabled: true } : { enabled: false, reason: "TARGETING_MATCH", ruleId: rule.id };
}

function matches({ when }: FlagRule, { subject }: Input): boolean {
  return when.every((condition) => holds(condition, attributeOf(subject, condition.attribute)));
}

function rolloutDecision(input: Input): Decided | null {
  const { flag: { key, rolloutPercentage } } = input;
  if (rolloutPercentage === undefined) return null;
  const isIn = isIncluded(key, rolloutPercentage, stickinessOf(input));
  return isIn === null ? { enabled: false, reason: "STICKINESS_MISSING" } : { enabled: isIn, reason: "SPLIT" };
}

function defaultDecision({ flag }: Input): Decided {
  return flag.scope === "tenant" ? { enabled: false, reason: "TENANT_NOT_INCLUDED" } : { enabled: true, reason: "DEFAULT" };
}

function attributeOf({ attributes }: Subject, name: string): Scalar | undefined {
  const value = Object.hasOwn(attributes, name) ? attributes[name] : undefined;
  return typeof value === "string" || typeof value === "number" || typeof value === "boolean" ? value : undefined;
}

/** The text that buckets hash. An empty one counts as missing, or everyone without a value would share a bucket. */
function stickinessOf({ flag, subject }: Input): string | undefined {
  const value = attributeOf(subject, flag.stickiness);
  return value === undefined || value === "" ? undefined : String(value);
}

function resultOf(input: Input, { enabled, reason, variant, ruleId }: Decided): Evaluation {
  const { flag } = input;
  const { key, id: flagId, type } = flag;
  const name = [variant, enabled ? onVariantOf(input) : flag.offVariant, builtIn(flag, enabled)].find((one) => isVariant(flag, one));
  return {
    key,
    flagId,
    type,
    enabled,
    value: name === undefined ? null : valueOf(flag, name),
    variant: name ?? null,
    reason,
    ...(ruleId === undefined ? {} : { ruleId }),
  };
}

function onVariantOf(input: Input): string | undefined {
  const { flag } = input;
  return (flag.weights && weightedVariant(flag.key, flag.weights, stickinessOf(input))) ?? flag.onVariant;
}

const BOOLEAN_VARIANTS: Readonly<Record<string, boolean>> = { on: true, off: false };

function builtIn({ type }: Flag, enabled: boolean): string | undefined {
  return type === "boolean" ? (enabled ? "on" : "off") : undefined;
}

/** Whether the flag has the variant. An override may name one that was removed since. */
export function isVariant({ type, variants }: Pick<Flag, "type" | "variants">, name: string | undefined): name is string {
  return name !== undefined && (Object.hasOwn(variants ?? {}, name) || (type === "boolean" && Object.hasOwn(BOOLEAN_VARIANTS, name)));
}

function valueOf({ variants = {} }: Flag, name: string): JsonValue {
  return (Object.hasOwn(variants, name) ? variants[name] : BOOLEAN_VARIANTS[name]) as JsonValue;
}

function lastingOf({ enabled, expiresAt }: NonNullable<OverrideOf>): string {
  return `the override says ${enabled ? "on" : "off"}${expiresAt === undefined ? "" : ` until ${expiresAt}`}`;
}

function listed(list: string, ids: readonly string[] | undefined, id: string): string {
  return `${id} is ${ids?.includes(id) ? "in" : "not in"} ${list}`;
}

function rulesDetail(input: Input): string {
  const { flag: { rules = [] }, subject } = input;
  if (rules.length === 0) return "the flag has no rules";
  const matching = rules.findIndex((rule) => matches(rule, input));
  const failed = rules.slice(0, matching === -1 ? rules.length : matching).map(({ id, when }) => {
    const first = when.find((condition) => !holds(condition, attributeOf(subject, condition.attribute)));
    return `rule ${id} does not match: ${first?.attribute} ${first?.operator}`;
  });
  const rule = rules[matching];
  return [...failed, ...(rule ? [`rule ${rule.id} matches${shareOf(input, rule.rolloutPercentage)}`] : [])].join("; ");
}

function rolloutDetail(input: Input): string {
  const { rolloutPercentage } = input.flag;
  return rolloutPercentage === undefined ? "the flag has no rolloutPercentage" : `the rollout decides${shareOf(input, rolloutPercentage)}`;
}

function shareOf(input: Input, percentage: number | undefined): string {
  if (percentage === undefined) return "";
  const isIn = isIncluded(input.flag.key, percentage, stickinessOf(input));
  const place = isIn === null ? `there is no ${input.flag.stickiness}` : `${input.flag.stickiness} is ${isIn ? "in" : "not in"} it`;
  return ` for ${percentage} %, and ${place}`;
}
