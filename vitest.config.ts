import { defineConfig } from "vitest/config";

const common = { globalSetup: ["tests/support/global-setup.ts"], testTimeout: 60_000, hookTimeout: 60_000 };
/** What depends on the server itself also runs on the older PostgreSQL. */
const onEveryServer = ["tests/kv/**/*.test.ts", "tests/sql/**/*.test.ts"];

/** INNKEEP_PG=17 or 18 picks one server; DATABASE_URL names another one, and then there is one project. */
const wanted = process.env["DATABASE_URL"] ? "18" : process.env["INNKEEP_PG"];

export default defineConfig({
  test: {
    pool: "forks",
    maxWorkers: 2,
    projects: [
      { test: { ...common, name: "pg18", include: ["tests/**/*.test.ts"], env: { INNKEEP_PG: "18" } } },
      { test: { ...common, name: "pg17", include: onEveryServer, env: { INNKEEP_PG: "17" } } },
    ].filter(({ test }) => !wanted || test.name === `pg${wanted}`),
  },
});
