import { describe, expect, test } from "vitest";
import * as rules from "../../../shared/features/jobs/rules.ts";
import type { DeadLetter, Schedule } from "../../../shared/features/jobs/entity.ts";
import { InnkeepError } from "../../../shared/kernel/errors.ts";

const NOW = "2026-03-01T12:00:00.000Z";
const NOW_MS = Date.parse(NOW);
const hourly = { name: "cleanup", everySeconds: 3_600 };
const at = (minutes: number) => new Date(NOW_MS + minutes * 60_000).toISOString();
const schedule = (changes: Partial<Schedule> = {}): Schedule => ({ ...rules.firstSchedule(hourly, NOW), ...changes });

describe("a schedule", () => {
  test.each<[string, Partial<Schedule>, boolean]>([
    ["that never ran is due", {}, true],
    ["is due at its instant", { nextRunAt: NOW }, true],
    ["is not due a millisecond before", { nextRunAt: new Date(NOW_MS + 1).toISOString() }, false],
    ["is not due while a run holds the lease", { nextRunAt: at(-60), leaseId: "a", leaseUntil: at(1) }, false],
    ["is due when the lease has ended", { nextRunAt: at(-60), leaseId: "a", leaseUntil: NOW }, true],
    ["of a killed run is due before its next time", { nextRunAt: at(30), leaseId: "a", leaseUntil: at(-1) }, true],
  ])("O07: %s", (_, changes, isDue) => {
    expect(rules.isDue(schedule(changes), NOW)).toBe(isDue);
  });

  test.each([
    ["on time", at(0), at(60)],
    ["ten minutes late: the grid stays", at(-10), at(50)],
    ["three days late: one run replaces the missed ones", at(-3 * 24 * 60), at(60)],
    ["with a clock that was set back", at(20), at(60)],
  ])("O07: after a run %s, the next one is in the future", (_, due, next) => {
    const { nextRunAt } = rules.completed(schedule({ nextRunAt: due }), 3, hourly, NOW_MS);
    expect(nextRunAt).toBe(next);
    expect(nextRunAt > NOW).toBe(true);
  });

  test("O04: a claim takes a lease that is longer than an Edge Function can run, and keeps the cursor of a killed run", () => {
    const cursor = { key: "usage:tn_1" };
    const claimed = rules.leased(schedule({ cursor, processed: 40, startedAt: at(-5) }), "lease", NOW_MS);
    expect(claimed).toMatchObject({ leaseId: "lease", leaseUntil: at(3), cursor, processed: 40, startedAt: at(-5) });
    const fresh = rules.leased(schedule({ processed: 40, startedAt: at(-5) }), "lease", NOW_MS);
    expect(fresh).toMatchObject({ processed: 0, startedAt: NOW });
  });

  test("O07: a complete run leaves its start, duration and count, and neither lease nor error", () => {
    const running = rules.leased(schedule({ failures: 2, lastError: { code: "internal", message: "TypeError" } }), "lease", NOW_MS);
    const done = rules.completed(rules.progressed(running, { key: "a" }, 7, NOW_MS + 1_000), 5, hourly, NOW_MS + 2_500);
    expect(done).toEqual({
      ...schedule(),
      nextRunAt: new Date(NOW_MS + 3_600_000).toISOString(),
      lastStartedAt: NOW,
      lastFinishedAt: new Date(NOW_MS + 2_500).toISOString(),
      lastDurationMs: 2_500,
      lastProcessed: 12,
    });
  });

  test("O05: a failed run keeps its cursor, and is repeated with exponential backoff and jitter up to six hours", () => {
    const error = new InnkeepError("store_unavailable", "The database is not available.");
    const once = rules.failed(schedule({ cursor: { key: "a" }, leaseId: "lease", leaseUntil: at(3) }), error, 0, NOW_MS);
    expect(once).toMatchObject({ cursor: { key: "a" }, failures: 1, lastError: { code: "store_unavailable" } });
    expect(once.leaseId).toBeUndefined();
    const delays = (random: number) => [1, 2, 3, 12, 40].map((attempt) => rules.backoffMs(attempt, random) / 1_000);
    expect(delays(0)).toEqual([15, 30, 60, 10_800, 10_800]);
    expect(delays(1)).toEqual([30, 60, 120, 21_600, 21_600]);
  });

  test("O10: keeps only the name of an unexpected error, because its message may contain data", () => {
    expect(rules.failed(schedule(), new TypeError("secret value"), 0, NOW_MS).lastError).toEqual({
      code: "internal",
      message: "TypeError",
    });
  });
});

describe("a dead letter", () => {
  const letter: DeadLetter = {
    id: "cleanup.1",
    job: "cleanup",
    item: "a",
    status: "retrying",
    attempts: 0,
    error: { code: "internal", message: "" },
    createdAt: NOW,
  };

  test("O05: is retried 7 times with growing pauses, and dead after the eighth attempt", () => {
    let current = letter;
    const states: string[] = [];
    for (let attempt = 1; attempt <= rules.MAX_ATTEMPTS; attempt++) {
      current = rules.failedItem(current, new InnkeepError("not_found", "Gone."), 0, NOW_MS) as DeadLetter;
      states.push(`${current.status} ${current.nextAttemptAt === undefined ? "-" : (Date.parse(current.nextAttemptAt) - NOW_MS) / 1_000}`);
    }
    expect(states).toEqual([15, 30, 60, 120, 240, 480, 960].map((pause) => `retrying ${pause}`).concat("dead -"));
    expect(current).toMatchObject({ attempts: 8, error: { code: "not_found", message: "Gone." } });
  });

  test.each<[string, Partial<DeadLetter>, boolean]>([
    ["that waits is not attempted before its time", { nextAttemptAt: at(1) }, false],
    ["is attempted at its time", { nextAttemptAt: NOW }, true],
    ["that is dead is not attempted", { status: "dead" }, false],
    ["that was dropped is not attempted", { status: "dropped" }, false],
  ])("O05: %s", (_, changes, isAttempted) => {
    expect(rules.isAttempted({ ...letter, ...changes }, NOW)).toBe(isAttempted);
  });

  test("O05: that is requeued twice begins again once", () => {
    const dead: DeadLetter = { ...letter, status: "dead", attempts: 8 };
    const again = rules.requeued(dead, NOW);
    expect(again).toMatchObject({ status: "retrying", attempts: 0, nextAttemptAt: NOW });
    expect(rules.requeued({ ...again, attempts: 1 }, at(1))).toEqual({ ...again, attempts: 1 });
  });
});
