import { describe, expect, test } from "vitest";
import { importsOf, read, sourcesOf } from "./sources.ts";

/** Who may import whom. docs/architecture.md shows the same table; longer paths win over their folders. */
const TABLE: readonly (readonly [from: string, folders: readonly string[], packages: readonly string[]])[] = [
  ["shared/kernel", [], ["nanoid", "zod"]],
  ["shared/ports.ts", ["shared/kernel"], []],
  ["shared/config.ts", ["shared/kernel"], ["jose", "zod"]],
  ["shared/kv", ["shared/kernel"], ["zod"]],
  ["shared/kv/drivers/postgres.ts", ["shared/kernel", "shared/kv"], ["pg"]],
  ["shared/kv/drivers/supabase.ts", ["shared/kernel", "shared/kv"], ["@supabase/supabase-js"]],
  ["shared/entities", ["shared/kernel", "shared/kv"], ["zod"]],
  ["shared/policies", ["shared/kernel", "shared/entities"], ["canonicalize"]],
  ["shared/derive", ["shared/kernel", "shared/kv", "shared/entities", "shared/policies"], ["zod"]],
  ["shared/adapters", ["shared/kernel", "shared/ports.ts"], ["jose"]],
  [
    "shared/services",
    ["shared/kernel", "shared/kv", "shared/entities", "shared/policies", "shared/derive", "shared/ports.ts"],
    ["canonicalize", "zod"],
  ],
  ["shared/container.ts", ["shared"], []],
  ["functions/api", ["shared"], ["hono", "zod"]],
  ["functions/local", ["shared", "functions/api/start.ts"], ["jose", "node:*", "pg", "zod"]],
];

const sources = sourcesOf("shared", "functions");

function rowOf(path: string) {
  const rows = TABLE.filter(([from]) => path === from || path.startsWith(`${from}/`));
  return rows.sort(([a], [b]) => b.length - a.length)[0];
}

describe("imports", () => {
  test("every file belongs to a row of the table", () => {
    expect(sources.filter(({ path }) => !rowOf(path)).map(({ path }) => path)).toEqual([]);
  });

  test("a folder imports only what its row names", () => {
    const wrong = sources.flatMap((source) => {
      const [from = "", folders = [], packages = []] = rowOf(source.path) ?? [];
      const own = from.endsWith(".ts") ? [] : [from];
      return importsOf(source).filter(({ target }) => {
        const inside = [...own, ...folders].some((folder) => target === folder || target.startsWith(`${folder}/`));
        return !inside && !packages.includes(target) && !(target.startsWith("node:") && packages.includes("node:*"));
      }).map(({ specifier }) => `${source.path} imports ${specifier}`);
    });
    expect(wrong).toEqual([]);
  });

  test("relative imports carry the .ts extension", () => {
    const wrong = sourcesOf("shared", "functions", "tests").flatMap((source) =>
      importsOf(source).filter(({ specifier }) => specifier.startsWith(".") && !/\.(ts|json)$/.test(specifier)).map(({ specifier }) =>
        `${source.path}: ${specifier}`
      )
    );
    expect(wrong).toEqual([]);
  });

  test("a service imports no other service", () => {
    const services = new Set(
      sources.filter(({ path, text }) => path.startsWith("shared/services/") && /^export class \w+Service\b/m.test(text)).map(({ path }) =>
        path
      ),
    );
    const wrong = sources.filter(({ path }) => path.startsWith("shared/services/")).flatMap((source) =>
      importsOf(source).filter(({ target }) => services.has(target)).map(({ target }) => `${source.path} imports ${target}`)
    );
    expect(wrong).toEqual([]);
  });

  test("docs/architecture.md shows the same table", () => {
    const cell = (items: readonly string[]) => items.length === 0 ? "–" : items.map((item) => `\`${item}\``).join(", ");
    const rows = TABLE.map(([from, folders, packages]) => `| \`${from}\` | ${cell(folders)} | ${cell(packages)} |`);
    const shown = read("docs/architecture.md").split("\n").filter((line) => /^\| `(shared|functions)/.test(line));
    expect(shown).toEqual(rows);
  });
});
