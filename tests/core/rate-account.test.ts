import { describe, expect, test } from "vitest";
import {
  answered,
  costUnder,
  counted,
  decisionOf,
  denied,
  leaseUsed,
  openAccount,
  type RateAccount,
  stepOf,
  wantedBy,
} from "../../shared/core/rate-account.ts";

const LIMIT = { limit: 60, windowSeconds: 60 };

/** An account that the database answered at 0 ms. */
function accountWith(tokens: number, more = 0, limit = LIMIT): RateAccount {
  return answered(openAccount(limit, 0), { granted: true, tokens, more }, 0);
}

describe("the next step of a call", () => {
  const cases: readonly [string, RateAccount, cost: number, nowMs: number, string][] = [
    ["of an unknown caller asks the database", openAccount(LIMIT, 0), 1, 0, "ask"],
    ["of a caller with tokens left asks the database, because other processes may have taken them", accountWith(5), 1, 0, "ask"],
    ["uses a token that was taken in advance", accountWith(5, 3), 3, 999, "lease"],
    ["that costs more than was taken in advance asks the database", accountWith(5, 3), 4, 999, "ask"],
    ["does not use a lease that has ended", accountWith(5, 3), 3, 1_000, "ask"],
    ["that costs more than is left is denied without asking", accountWith(0.5), 1, 499, "deny"],
    ["asks again once a token must be refilled", accountWith(0.5), 1, 500, "ask"],
    ["counts what denied calls owe", denied(accountWith(1), 2), 1, 1_999, "deny"],
    ["counts what denied calls owe until it is refilled", denied(accountWith(1), 2), 1, 2_000, "ask"],
    ["asks again after ten seconds, whatever was known", accountWith(-59), 1, 10_000, "ask"],
    ["asks the database if the clock was set back", accountWith(5, 3), 1, -1, "ask"],
    ["is denied for a call that costs more than is left, also if a cheaper one would not be", accountWith(3), 5, 0, "deny"],
  ];
  test.each(cases)("H10: %s", (_, account, cost, nowMs, step) => expect(stepOf(account, cost, nowMs)).toBe(step));
});

test("H10: the tokens that are taken in advance follow the use of the last seconds, and single calls take none", () => {
  let account = openAccount(LIMIT, 0);
  for (const [atMs, wanted] of [[0, 0], [100, 2], [200, 3], [1_000, 3], [1_100, 3], [2_500, 2], [9_000, 0]] as const) {
    account = counted(account, 1, atMs);
    expect([atMs, wantedBy(account)]).toEqual([atMs, wanted]);
  }
  expect(wantedBy(counted(account, 5_000, 9_001))).toBe(1_000);
});

describe("the headers of a call", () => {
  const cases: readonly [string, ReturnType<typeof decisionOf>, remaining: number, resetSeconds: number][] = [
    ["say when all is refilled", decisionOf(accountWith(30.5), true, 1, 0), 30, 30],
    ["count what was refilled since", decisionOf(accountWith(30), true, 1, 5_000), 35, 25],
    ["count what was taken in advance", decisionOf(leaseUsed(accountWith(30, 5), 1), true, 1, 0), 34, 26],
    ["never say more than the limit", decisionOf(accountWith(60, 3), true, 1, 0), 60, 0],
    ["of a denied call say when it would be allowed", decisionOf(accountWith(-2.5), false, 1, 0), 0, 4],
    ["of a denied call include what is owed", decisionOf(denied(accountWith(0), 1), false, 1, 0), 0, 2],
    ["of a denied call never say more than one window", decisionOf(denied(accountWith(-59), 60), false, 1, 0), 0, 60],
    ["say never less than a second after a denial", decisionOf(accountWith(0.999), false, 1, 0), 0, 1],
    ["of an unused bucket say that nothing is to wait for", decisionOf(accountWith(60), true, 1, 9_000), 60, 0],
  ];
  test.each(cases)("H10: %s", (_, decision, remaining, resetSeconds) => {
    expect({ remaining: decision.remaining, resetSeconds: decision.resetSeconds }).toEqual({ remaining, resetSeconds });
  });
});

test("AK11: a call that no full bucket could pay costs the whole bucket, so that it is possible at all", () => {
  expect([costUnder(LIMIT, 61), costUnder(LIMIT, 60)]).toEqual([60, 60]);
});
