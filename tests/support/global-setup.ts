import { tmpdir } from "node:os";
import type { TestProject } from "vitest/node";
import { startCluster } from "./cluster.ts";
import type { PostgresMajor } from "./cluster.ts";
import { removeLeftOvers, stackFolder } from "./interrupted.ts";
import { bootstrapRoles } from "./roles.ts";

declare module "vitest" {
  interface ProvidedContext {
    /** The server of this run: superuser URL, and which suite asked for it. */
    readonly postgres: { readonly superUrl: string; readonly major: PostgresMajor };
  }
}

/** One real server for all test files of a project; DATABASE_URL (a superuser's) names another one. */
export default async function setup(project: TestProject): Promise<() => Promise<void>> {
  const major: PostgresMajor = project.config.env?.["INNKEEP_PG"] === "17" ? 17 : 18;
  for (const folder of new Set([tmpdir(), stackFolder()])) await removeLeftOvers(folder);
  const external = process.env["DATABASE_URL"];
  const cluster = external ? null : await startCluster({ major });
  const superUrl = cluster?.superUrl ?? external ?? "";
  await bootstrapRoles(superUrl);
  project.provide("postgres", { superUrl, major });
  return async () => {
    await cluster?.remove();
  };
}
