import { readdir, readFile } from "node:fs/promises";
import { fileURLToPath } from "node:url";
import { describe, expect, it } from "vitest";

const SERVICES = fileURLToPath(new URL("../../shared/services/", import.meta.url));

/** `file: line` of every line in the services that matches. */
async function linesWith(pattern: RegExp): Promise<string[]> {
  const files = (await readdir(SERVICES)).filter((name) => name.endsWith(".ts")).sort();
  const found = await Promise.all(files.map(async (name) => {
    const lines = (await readFile(`${SERVICES}${name}`, "utf8")).split("\n");
    return lines.filter((line) => pattern.test(line) && !/^\s*(\/\/|\/?\*)/.test(line)).map(() => name);
  }));
  return found.flat();
}

describe("the one write path", () => {
  it("A05: metering is all that opts out of the audit log", async () => {
    expect(await linesWith(/audit: "none"[^ |]/)).toEqual(["usage-service.ts"]);
  });

  it("A05: nothing but the unit of work commits, and nothing but metering counts beside it", async () => {
    expect(await linesWith(/store\.(commit|set|mset|del|mdel)\(/)).toEqual(["unit-of-work.ts"]);
    expect(new Set(await linesWith(/store\.increment\(/))).toEqual(new Set(["usage-service.ts"]));
  });
});
