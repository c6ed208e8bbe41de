import { errors } from "../../kernel/errors.ts";
import { pointerToken } from "../../kernel/json.ts";

const MAX_NAMES = 50;
const MAX_CHARACTERS = 500;

/** Checks the limits of metadata: 50 names, each with a value of 500 characters. Throws `validation_failed` with a pointer to each. */
export function assertMetadata(metadata: Readonly<Record<string, unknown>> | undefined, path: string): void {
  const entries = Object.entries(metadata ?? {});
  const problems = entries.filter(([, value]) => charactersOf(value) > MAX_CHARACTERS).map(([name]) => ({
    path: `${path}/${pointerToken(name)}`,
    message: `must have at most ${MAX_CHARACTERS} characters, as JSON if it is not a text`,
    code: "too_big",
  }));
  if (entries.length > MAX_NAMES) {
    problems.unshift({ path, message: `must have at most ${MAX_NAMES} names; this would be ${entries.length}`, code: "too_big" });
  }
  if (problems.length > 0) throw errors.validation(problems.slice(0, MAX_NAMES));
}

function charactersOf(value: unknown): number {
  return typeof value === "string" ? value.length : JSON.stringify(value).length;
}
