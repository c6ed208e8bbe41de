import type { z } from "zod";
import type { FieldError } from "./errors.ts";
import { pointerToken } from "./json.ts";

/** A path into a body as a JSON Pointer (RFC 6901). */
export function pointerOf(path: readonly PropertyKey[]): string {
  return path.map((token) => `/${pointerToken(String(token))}`).join("");
}

/** A member nobody declared, named itself and not by its parent. */
export function unknownField(path: string): FieldError {
  return { path, message: "is not a known field", code: "unknown_field" };
}

/** Zod's issues as field errors; `render` says how a place is written. A check of ours may bring its own code. */
export function fieldErrors(
  issues: readonly z.core.$ZodIssue[],
  render: (path: readonly PropertyKey[]) => string = pointerOf,
): FieldError[] {
  return issues.flatMap((issue): FieldError[] => {
    if (issue.code === "unrecognized_keys") return issue.keys.map((key) => unknownField(render([...issue.path, key])));
    const code = issue.code === "custom" && typeof issue.params?.["code"] === "string" ? issue.params["code"] : issue.code;
    return [{ path: render(issue.path), message: issue.message, code }];
  });
}
