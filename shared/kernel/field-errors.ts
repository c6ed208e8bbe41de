import { z } from "zod";
import type { FieldError } from "./errors.ts";
import { fieldMessage } from "./field-messages.ts";
import { pointerToken } from "./json.ts";

/** The maximum number of errors in a response. */
export const MAX_FIELD_ERRORS = 100;
const MAX_PATH_CHARS = 300;

// Applies to every parse in the program. A message that a schema defines takes precedence.
z.config({ customError: fieldMessage });

/** A path into a body as a JSON Pointer (RFC 6901). */
export function pointerOf(path: readonly PropertyKey[]): string {
  return path.map((token) => `/${pointerToken(String(token))}`).join("");
}

/** The error for an undeclared member. The path is that of the member, not of its parent. */
export function unknownField(path: string): FieldError {
  return { path, message: "is not a known field", code: "unknown_field" };
}

/** A path shortened for a response. */
export function boundedPath(path: string): string {
  return path.slice(0, MAX_PATH_CHARS).toWellFormed();
}

/** The code of an issue. Zod's code for a check of ours is `custom`: the code that the check sets replaces it, or `invalid`. */
function codeOf(issue: z.core.$ZodIssue): string {
  if (issue.code !== "custom") return issue.code;
  return typeof issue.params?.["code"] === "string" ? issue.params["code"] : "invalid";
}

/** Zod checks the bounds of safe integers first. An integer outside them that has narrower bounds is reported twice. */
function isRepeated(issue: z.core.$ZodIssue, next: z.core.$ZodIssue | undefined): boolean {
  if (issue.code !== "too_big" && issue.code !== "too_small") return false;
  return issue.origin === "int" && issue.code === next?.code && pointerOf(issue.path) === pointerOf(next.path);
}

/** Zod's issues as field errors, at most 100. `render` formats the path. A custom check may set its own code. */
export function fieldErrors(
  issues: readonly z.core.$ZodIssue[],
  render: (path: readonly PropertyKey[]) => string = pointerOf,
): FieldError[] {
  const found: FieldError[] = [];
  for (const [i, issue] of issues.entries()) {
    if (found.length >= MAX_FIELD_ERRORS) break;
    if (isRepeated(issue, issues[i + 1])) continue;
    if (issue.code === "unrecognized_keys") {
      found.push(...issue.keys.slice(0, MAX_FIELD_ERRORS - found.length).map((key) => unknownField(render([...issue.path, key]))));
      continue;
    }
    found.push({ path: render(issue.path), message: issue.message, code: codeOf(issue) });
  }
  return found.map((error) => ({ ...error, path: boundedPath(error.path) }));
}
