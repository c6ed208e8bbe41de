/** A path as an array literal of text[], which SQL casts without a subquery. */
export function pathLiteral(path: readonly string[]): string {
  return `{${path.map((member) => `"${member.replace(/["\\]/g, "\\$&")}"`).join(",")}}`;
}

/** The members of a path literal. */
export function pathOf(literal: string): string[] {
  return [...literal.matchAll(/"((?:[^"\\]|\\.)*)"/gs)].map(([, member = ""]) => member.replace(/\\(.)/gs, "$1"));
}
