import compare from "semver/functions/compare.js";
import valid from "semver/functions/valid.js";
import { MAX_DATE_CHARS, parseDate } from "./dates.ts";
import type { FlagCondition, Operator } from "./entity.ts";

export type Scalar = string | number | boolean;

interface OperatorSpec {
  /** Whether an attribute and one value satisfy the operator. False for an attribute of another kind. */
  readonly holds: (attribute: Scalar, value: Scalar) => boolean;
  /** The kind of the one value that the operator takes. If absent, it takes several values of any kind. */
  readonly takes?: ValueKind;
}
type ValueKind = "number" | "date" | "version";

/** Texts are compared as they are. A number or boolean equals its text. No operator takes a regular expression. */
const SPECS: Readonly<Record<Operator, OperatorSpec>> = {
  in: { holds: (attribute, value) => String(attribute) === String(value) },
  // `notIn` negates the result over all values.
  notIn: { holds: (attribute, value) => String(attribute) === String(value) },
  startsWith: { holds: (attribute, value) => String(attribute).startsWith(String(value)) },
  endsWith: { holds: (attribute, value) => String(attribute).endsWith(String(value)) },
  contains: { holds: (attribute, value) => String(attribute).includes(String(value)) },
  gt: ordered("number", (order) => order > 0),
  gte: ordered("number", (order) => order >= 0),
  lt: ordered("number", (order) => order < 0),
  lte: ordered("number", (order) => order <= 0),
  before: ordered("date", (order) => order < 0),
  after: ordered("date", (order) => order > 0),
  semverEq: ordered("version", (order) => order === 0),
  semverGt: ordered("version", (order) => order > 0),
  semverLt: ordered("version", (order) => order < 0),
};

const DECIMAL = /^-?\d{1,16}(\.\d{1,16})?$/;

/** How an attribute compares with a value: negative, zero or positive. Null if one of them is of another kind. */
const COMPARISONS: Readonly<Record<ValueKind, (attribute: Scalar, value: Scalar) => number | null>> = {
  number: (attribute, value) => difference(numberOf(attribute), numberOf(value)),
  date: (attribute, value) => difference(dateOf(attribute), dateOf(value)),
  version: (attribute, value) => {
    const [left, right] = [versionOf(attribute), versionOf(value)];
    return left === null || right === null ? null : compare(left, right);
  },
};

/** Whether the condition holds for the attribute. An attribute that is missing matches no condition, also not `notIn`. */
export function holds({ operator, values }: Pick<FlagCondition, "operator" | "values">, attribute: Scalar | undefined): boolean {
  if (attribute === undefined) return false;
  const found = values.some((value) => SPECS[operator].holds(attribute, value));
  return operator === "notIn" ? !found : found;
}

/** What is wrong with the values of a condition, and where. Null if nothing is. */
export function valuesFault({ operator, values }: FlagCondition): { readonly path: string; readonly message: string } | null {
  const { takes } = SPECS[operator];
  const [value] = values;
  if (takes === undefined || value === undefined) return null;
  if (values.length > 1) return { path: "/values", message: `must be one value for ${operator}; use one condition for each value` };
  const faults: Readonly<Record<ValueKind, string | null>> = {
    number: typeof value === "number" ? null : "must be a number",
    date: dateOf(value) === null ? "must be a date, such as 2026-11-01 or 2026-11-01T09:30:00Z" : null,
    version: versionOf(value) === null ? "must be a version as in Semantic Versioning 2.0.0, such as 1.4.0" : null,
  };
  const message = faults[takes];
  return message === null ? null : { path: "/values/0", message: `${message} for ${operator}` };
}

function ordered(takes: ValueKind, satisfies: (order: number) => boolean): OperatorSpec {
  const compared = (attribute: Scalar, value: Scalar) => COMPARISONS[takes](attribute, value);
  return {
    takes,
    holds: (attribute, value) => {
      const order = compared(attribute, value);
      return order !== null && satisfies(order);
    },
  };
}

function difference(left: number | null, right: number | null): number | null {
  return left === null || right === null ? null : left - right;
}

function numberOf(value: Scalar): number | null {
  if (typeof value === "number") return value;
  return typeof value === "string" && DECIMAL.test(value) ? Number(value) : null;
}

function dateOf(value: Scalar): number | null {
  return typeof value === "string" && value.length <= MAX_DATE_CHARS ? parseDate(value) : null;
}

/** Null for a text that is no version. The library refuses texts over 256 characters before it reads them. */
function versionOf(value: Scalar): string | null {
  return typeof value === "string" ? valid(value) : null;
}
