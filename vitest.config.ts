import { defineConfig } from "vitest/config";
import { temporaryFolderOf } from "./tests/support/memory.ts";
import { LongestFirst } from "./tests/support/sequencer.ts";

const folder = temporaryFolderOf(process.env);
if (folder) process.env["TMPDIR"] = folder; // of the workers and of the programs that they start, too

const common = {
  globalSetup: ["tests/support/global-setup.ts"],
  testTimeout: 60_000,
  hookTimeout: 60_000,
  // Files share a worker's modules: loading the program for each file would take a tenth of the run.
  isolate: false,
  // Most objects of a test die young. With room for them (default: 16 MB), the collector takes less of a worker's time.
  execArgv: ["--max-semi-space-size=64"],
};

/**
 * What the older PostgreSQL may do otherwise than the newer one. Left out are the drivers and their faults, whose messages are
 * the same; growth, rollups and sessions, which are our SQL; roles before a migration, which 16 changed last; plans over a million rows, whose kinds are all in plans.test.ts.
 */
const onEveryServer = [
  ...["postgres", "values", "json-size"].map((name) => `tests/kv/${name}.test.ts`), // jsonb, numeric, errors, locks
  "tests/sql/migrations.test.ts", // DDL, the catalogue
  ...["grants", "append-only", "row-security"].map((name) => `tests/sql/${name}.test.ts`), // roles and policies
  ...["plans", "collation"].map((name) => `tests/sql/${name}.test.ts`), // the planner: 17 has no skip scan; locale providers
];

/** INNKEEP_PG=17 or 18 picks one server; DATABASE_URL names another one, and then there is one project. */
const wanted = process.env["DATABASE_URL"] ? "18" : process.env["INNKEEP_PG"];

export default defineConfig({
  test: {
    pool: "forks",
    // More than cores: a file often waits for PostgreSQL, a process or a deadline.
    maxWorkers: 4,
    sequence: { sequencer: LongestFirst },
    projects: [
      { test: { ...common, name: "pg18", include: ["tests/**/*.test.ts"], env: { INNKEEP_PG: "18" } } },
      { test: { ...common, name: "pg17", include: onEveryServer, env: { INNKEEP_PG: "17" } } },
    ].filter(({ test }) => !wanted || test.name === `pg${wanted}`),
  },
});
