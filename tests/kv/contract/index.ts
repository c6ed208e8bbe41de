import { afterAll, beforeAll, describe, test } from "vitest";
import type { OpenStore } from "../../support/store.ts";
import { aggregateCases } from "./aggregates.ts";
import { cascadeCases } from "./cascade.ts";
import { claimCases } from "./claims.ts";
import { commitCases } from "./commits.ts";
import { expiryCases } from "./expiry.ts";
import { incrementCases } from "./increments.ts";
import { keyCases } from "./keys.ts";
import { limitCases } from "./limits.ts";
import { listCases } from "./lists.ts";
import { queryCases } from "./queries.ts";
import { raceCases } from "./races.ts";
import { takeCases } from "./takes.ts";
import { tenantCases } from "./tenants.ts";

/** Registers a test case. */
export type Case = (name: string, run: () => Promise<void>) => void;

/**
 * Registers the cases of one theme. `open` returns the theme's store while the tests run. Races and long random runs are registered
 * with `serverCase`, because they test the SQL and its locks, which are the same for every driver.
 */
export type Theme = (open: () => OpenStore, serverCase: Case) => void;

const THEMES: Readonly<Record<string, Theme>> = {
  keys: keyCases,
  lists: listCases,
  commits: commitCases,
  increments: incrementCases,
  expiry: expiryCases,
  limits: limitCases,
  queries: queryCases,
  aggregates: aggregateCases,
  tenants: tenantCases,
  cascade: cascadeCases,
  claims: claimCases,
  takes: takeCases,
};

/** The contract of every driver, with one new store per theme. Each case uses its own keys. */
export function storeContract(
  name: string,
  factory: () => Promise<OpenStore>,
  { serverCases, themes = Object.keys(THEMES) }: { readonly serverCases: boolean; readonly themes?: readonly string[] },
): void {
  const serverCase: Case = (title, run) => void (serverCases && test(title, run));
  for (const [theme, cases] of Object.entries(serverCases ? { ...THEMES, races: raceCases } : THEMES)) {
    if (theme !== "races" && !themes.includes(theme)) continue;
    describe(`${name}: ${theme}`, () => {
      let opened: OpenStore | undefined;
      beforeAll(async () => {
        opened = await factory();
      });
      afterAll(() => opened?.close());
      cases(() => {
        if (!opened) throw new Error("the store is opened before the tests of its theme");
        return opened;
      }, serverCase);
    });
  }
}
