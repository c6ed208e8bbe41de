import { errors, type FieldError } from "../../kernel/errors.ts";
import { pointerToken } from "../../kernel/json.ts";
import { type Flag, type FlagOverride, type FlagRule, type FlagType, MAX_FLAG_BYTES, shareFault, variantNameFault } from "./entity.ts";
import { isVariant } from "./evaluation.ts";
import { valuesFault } from "./operators.ts";

/** Checks what the schema of a field cannot. Throws `payload_too_large`, and `validation_failed` with every problem. */
export function checkedFlag(flag: Flag): Flag {
  const bytes = new TextEncoder().encode(JSON.stringify(flag)).length;
  if (bytes > MAX_FLAG_BYTES) throw errors.tooLarge("The flag with its rules, lists and variants", bytes, MAX_FLAG_BYTES);
  const problems = [...variantProblems(flag), ...weightProblems(flag), ...ruleProblems(flag)];
  if (problems.length > 0) throw errors.validation(problems);
  return flag;
}

/** Throws `validation_failed` for a variant that the flag does not have, or an expiry that is not in the future. */
export function checkedOverride(after: FlagOverride, before: FlagOverride | null, flag: Flag, now: string): FlagOverride {
  const { variant, expiresAt } = after;
  const problems: FieldError[] = [];
  if (variant !== undefined && !isVariant(flag, variant)) problems.push(unknownVariant("/variant"));
  if (expiresAt !== undefined && expiresAt !== before?.expiresAt && expiresAt <= now) {
    problems.push({ path: "/expiresAt", message: "must be in the future; clear the override to end it now", code: "invalid" });
  }
  if (problems.length > 0) throw errors.validation(problems);
  return after;
}

const TYPE_NAMES: Readonly<Record<FlagType, string>> = {
  boolean: "true or false",
  string: "a text",
  number: "a number",
  json: "an object or a list",
};

function hasType(type: FlagType, value: unknown): boolean {
  const kind: string = typeof value;
  return type === "json" ? kind === "object" && value !== null : kind === type;
}

function variantProblems(flag: Flag): FieldError[] {
  const { type, variants = {}, onVariant, offVariant, weights } = flag;
  const misnamed = invalidMembers("/variants", Object.keys(variants), variantNameFault);
  const wrong = Object.entries(variants).filter(([, value]) => !hasType(type, value)).map(([name]): FieldError => (
    {
      path: `/variants/${pointerToken(name)}`,
      message: `must be ${TYPE_NAMES[type]}, because the flag's type is ${type}`,
      code: "type_mismatch",
    }
  ));
  const named = [["/onVariant", onVariant], ["/offVariant", offVariant]] as const;
  const unknown = named.filter(([, name]) => name !== undefined && !isVariant(flag, name)).map(([path]) => unknownVariant(path));
  const isOnMissing = type !== "boolean" && onVariant === undefined && weights === undefined;
  const message = `is required for a flag of type ${type}; name the variant that the flag has while on, or set weights`;
  return [...misnamed, ...wrong, ...unknown, ...(isOnMissing ? [{ path: "/onVariant", message, code: "required" }] : [])];
}

function invalidMembers(path: string, names: readonly string[], faultOf: (name: string) => string | null): FieldError[] {
  return names.flatMap((name) => {
    const message = faultOf(name);
    return message === null ? [] : [{ path: `${path}/${pointerToken(name)}`, message, code: "invalid" }];
  });
}

function weightProblems(flag: Flag): FieldError[] {
  const { weights } = flag;
  if (weights === undefined) return [];
  const imprecise = invalidMembers("/weights", Object.keys(weights), (name) => shareFault(weights[name] ?? 0));
  if (imprecise.length > 0) return imprecise;
  const unknown = Object.keys(weights).filter((name) => !isVariant(flag, name)).map((name) =>
    unknownVariant(`/weights/${pointerToken(name)}`)
  );
  const hundredths = Object.values(weights).reduce((sum, weight) => sum + Math.round(weight * 100), 0);
  if (hundredths === 10_000) return unknown;
  return [...unknown, { path: "/weights", message: `must sum to 100, and these sum to ${hundredths / 100}`, code: "invalid" }];
}

function ruleProblems(flag: Flag): FieldError[] {
  const { rules = [] } = flag;
  const ids = rules.map(({ id }) => id);
  return rules.flatMap((rule, i) => {
    const path = `/rules/${i}`;
    const isRepeated = ids.indexOf(rule.id) < i;
    return [
      ...(isRepeated ? [{ path: `${path}/id`, message: "must differ from the ids of the other rules", code: "not_unique" }] : []),
      ...outcomeProblems(flag, rule, path),
      ...rule.when.flatMap((condition, n) => {
        const fault = valuesFault(condition);
        return fault ? [{ path: `${path}/when/${n}${fault.path}`, message: fault.message, code: "invalid" }] : [];
      }),
    ];
  });
}

function outcomeProblems(flag: Flag, { enabled, variant, rolloutPercentage }: FlagRule, path: string): FieldError[] {
  const isOff = enabled === false && rolloutPercentage !== undefined;
  const message = "cannot be combined with enabled false; remove one of them";
  return [
    ...(variant !== undefined && !isVariant(flag, variant) ? [unknownVariant(`${path}/variant`)] : []),
    ...(isOff ? [{ path: `${path}/rolloutPercentage`, message, code: "not_applicable" }] : []),
  ];
}

function unknownVariant(path: string): FieldError {
  return { path, message: "must be a variant of the flag; declare it in variants or choose another", code: "unknown_variant" };
}
