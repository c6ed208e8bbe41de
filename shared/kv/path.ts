/** A path as a literal of text[]: the SQL functions read it without a query of their own. */
export function pathLiteral(path: readonly string[]): string {
  return `{${path.map((member) => `"${member.replace(/["\\]/g, "\\$&")}"`).join(",")}}`;
}

/** The members of such a literal. */
export function pathOf(literal: string): string[] {
  return [...literal.matchAll(/"((?:[^"\\]|\\.)*)"/gs)].map(([, member = ""]) => member.replace(/\\(.)/gs, "$1"));
}
