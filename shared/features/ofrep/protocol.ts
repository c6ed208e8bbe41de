import { z } from "zod";
import type { ErrorProtocol } from "../../core/route.ts";
import { component } from "../../core/schemas.ts";
import { InnkeepError } from "../../kernel/errors.ts";
import type { FieldError } from "../../kernel/errors.ts";
import type { JsonObject, JsonValue } from "../../kernel/json.ts";
import { type Evaluation, OPENFEATURE_REASONS, REASONS } from "../flags/evaluation.ts";
import { evaluationContext } from "../flags/view.ts";

/** The OpenFeature Remote Evaluation Protocol (OFREP), version 0.2: requests, results and errors. */

const OPENFEATURE = [...new Set(Object.values(OPENFEATURE_REASONS))].toSorted();

const context = evaluationContext.meta({
  ...z.globalRegistry.get(evaluationContext),
  description:
    "`targetingKey` is the id of a tenant. A credential that is bound to a tenant can omit it. Rules compare the other members " +
    "that are a text, number or boolean. Those of the tenant (`tenantId`, `plan`, `region`, `status`) cannot be set.",
});

export const ofrepRequest = component("OfrepRequest", z.strictObject({ context: context.default({}) }));

const scalar = z.union([z.string(), z.number(), z.boolean()]).meta({ description: "A text, number or boolean." });

const OPTIONAL_VALUE = "Absent if the flag has no variant for it. The program then uses its own default.";

/** A result as the protocol states it. */
export interface OfrepEvaluation {
  readonly key: string;
  readonly reason: (typeof OPENFEATURE_REASONS)[Evaluation["reason"]];
  readonly variant?: string;
  readonly value?: JsonValue;
  readonly metadata: Readonly<Record<string, string | number | boolean>>;
}

export const ofrepEvaluation: z.ZodType<OfrepEvaluation> = component(
  "OfrepEvaluation",
  z.object({
    key: z.string().meta({ description: "The key of the flag." }),
    reason: z.enum(OPENFEATURE).meta({ description: "The reason in the vocabulary of OpenFeature." }),
    variant: z.string().optional().meta({ description: OPTIONAL_VALUE }),
    value: z.json().optional().meta({ description: OPTIONAL_VALUE }),
    metadata: z.record(z.string(), scalar).meta({
      description: `\`flagId\`; \`enabled\`; \`reason\`, one of ${REASONS.map((reason) => `\`${reason}\``).join(" ")}; ` +
        "and for platform callers `ruleId`, the rule that decided.",
    }),
  }),
  () => ({
    key: "late-checkout",
    reason: "TARGETING_MATCH",
    variant: "on",
    value: true,
    metadata: { flagId: "ff_1767225600000_a1b2c3d4e5f6", enabled: true, reason: "TENANT_ENABLED" },
  }),
) as never;

/** The result as the protocol states it. A rule's id can say whom it is for, so only platform callers see it. */
export function stated({ key, flagId, enabled, reason, variant, value, ruleId }: Evaluation, showsRule: boolean): OfrepEvaluation {
  return {
    key,
    reason: OPENFEATURE_REASONS[reason],
    ...(variant === null ? {} : { variant, value }),
    metadata: { ...(flagId === null ? {} : { flagId }), enabled, reason, ...(showsRule && ruleId !== undefined ? { ruleId } : {}) },
  };
}

/** The codes of OpenFeature that an error response can have. */
type OfrepErrorCode = "PARSE_ERROR" | "TARGETING_KEY_MISSING" | "INVALID_CONTEXT" | "FLAG_NOT_FOUND" | "GENERAL";

/** The targeting key of a context. Undefined if there is none. Throws `bad_request`. */
export function targetingKeyOf(given: JsonObject): string | undefined {
  const key = given["targetingKey"];
  if (key === undefined || key === null || key === "") return undefined;
  if (typeof key === "string") return key;
  throw refused("INVALID_CONTEXT", "must be a text: the id of a tenant", "invalid_type");
}

export function targetingKeyMissing(): InnkeepError {
  return refused("TARGETING_KEY_MISSING", "is required: set it to the id of the tenant", "required");
}

function refused(errorCode: OfrepErrorCode, message: string, code: string): InnkeepError {
  const path = "/context/targetingKey";
  return new InnkeepError("bad_request", `${path}: ${message}`, [{ path, message, code }], { errorCode });
}

/** The protocol has one status for invalid requests, 400. */
export const OFREP_ERRORS: ErrorProtocol = {
  invalidBody: "bad_request",
  membersOf: (error, { key }) => ({
    ...(key === undefined ? {} : { key: key.slice(0, 200) }),
    errorCode: error.details["errorCode"] ?? codeOf(error, key !== undefined),
    errorDetails: error.message,
  }),
};

/** The code of an error that was thrown for other protocols too. A request for all flags has no flag that could be missing. */
function codeOf({ code, fields }: InnkeepError, isOneFlag: boolean): OfrepErrorCode {
  if (code === "not_found") return isOneFlag ? "FLAG_NOT_FOUND" : "INVALID_CONTEXT";
  if (code === "invalid_json") return "PARSE_ERROR";
  if (code === "validation_failed") return fields.length > 0 && fields.every(isOfContext) ? "INVALID_CONTEXT" : "PARSE_ERROR";
  return "GENERAL";
}

function isOfContext({ path }: FieldError): boolean {
  return path === "/context" || path.startsWith("/context/");
}
