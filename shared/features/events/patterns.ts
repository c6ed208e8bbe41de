import { InnkeepError } from "../../kernel/errors.ts";

/** Whether the pattern selects the type. A type that begins with the text before `.*` and a dot is selected. */
export function matches(pattern: string, type: string): boolean {
  if (pattern === "*" || pattern === type) return true;
  return pattern.endsWith(".*") && type.startsWith(pattern.slice(0, -1));
}

/** Events and audit entries about what a viewer must not read, and the scope that their readers need in addition. */
const RESTRICTED = [
  { group: "email-address", scope: "read:emails" },
  { group: "compliance-request", scope: "read:compliance" },
  { group: "api-key", scope: "read:api-keys" },
] as const;

/** The groups of types that a caller must not read, as patterns. Without scopes, the caller is the program. */
export function withheldFrom(scopes: ReadonlySet<string> | undefined): string[] {
  return withheldGroups(scopes).map((group) => `${group}.*`);
}

/** The same as the kinds of records. */
export function withheldGroups(scopes: ReadonlySet<string> | undefined): string[] {
  return scopes ? RESTRICTED.filter(({ scope }) => !scopes.has(scope)).map(({ group }) => group) : [];
}

/** Whether a caller may read the events of a type. */
export function mayRead(scopes: ReadonlySet<string> | undefined, type: string): boolean {
  return !scopes || scopes.has("read:events") && !withheldFrom(scopes).some((pattern) => matches(pattern, type));
}

/** Throws `insufficient_scope` if a pattern names types that the caller must not read. `*` selects those that it may read. */
export function assertMayRead(patterns: readonly string[], scopes: ReadonlySet<string> | undefined): void {
  for (const { group, scope } of RESTRICTED) {
    if (!scopes || scopes.has(scope) || !patterns.some((pattern) => pattern.startsWith(`${group}.`))) continue;
    const message = `You need the scope ${scope} to read events of the types ${group}.*.`;
    throw new InnkeepError("insufficient_scope", message, [], { requiredScope: scope });
  }
}
