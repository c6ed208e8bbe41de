import { z } from "zod";
import type { FieldError } from "./errors.ts";
import { fieldMessage } from "./field-messages.ts";
import { pointerToken } from "./json.ts";

/** Input of a million mistakes gets no answer a hundred times its size. */
export const MAX_FIELD_ERRORS = 100;
const MAX_PATH_CHARS = 300;

// For every parse of the program, wherever it is: a message a schema brings itself comes before ours.
z.config({ customError: fieldMessage });

/** A path into a body as a JSON Pointer (RFC 6901). */
export function pointerOf(path: readonly PropertyKey[]): string {
  return path.map((token) => `/${pointerToken(String(token))}`).join("");
}

/** A member nobody declared, named itself and not by its parent. */
export function unknownField(path: string): FieldError {
  return { path, message: "is not a known field", code: "unknown_field" };
}

/** A place as it may stand in an answer. */
export function boundedPath(path: string): string {
  return path.slice(0, MAX_PATH_CHARS).toWellFormed();
}

/** Zod's issues as field errors, at most 100; `render` says how a place is written. A check of ours may bring its own code. */
export function fieldErrors(
  issues: readonly z.core.$ZodIssue[],
  render: (path: readonly PropertyKey[]) => string = pointerOf,
): FieldError[] {
  const found: FieldError[] = [];
  for (const issue of issues) {
    if (found.length >= MAX_FIELD_ERRORS) break;
    if (issue.code === "unrecognized_keys") {
      found.push(...issue.keys.slice(0, MAX_FIELD_ERRORS - found.length).map((key) => unknownField(render([...issue.path, key]))));
      continue;
    }
    const code = issue.code === "custom" && typeof issue.params?.["code"] === "string" ? issue.params["code"] : issue.code;
    found.push({ path: render(issue.path), message: issue.message, code });
  }
  return found.map((error) => ({ ...error, path: boundedPath(error.path) }));
}
