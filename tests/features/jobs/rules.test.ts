import { describe, expect, test } from "vitest";
import * as rules from "../../../shared/features/jobs/rules.ts";
import type { DeadLetter, Schedule } from "../../../shared/features/jobs/entity.ts";
import { InnkeepError } from "../../../shared/kernel/errors.ts";

const NOW = "2026-03-01T12:00:00.000Z";
const NOW_MS = Date.parse(NOW);
const hourly = { name: "cleanup", everySeconds: 3_600 };
const at = (minutes: number) => new Date(NOW_MS + minutes * 60_000).toISOString();
const only = ({ startedAt, cursor }: Schedule) => ({ startedAt, cursor });
const schedule = (changes: Partial<Schedule> = {}): Schedule => ({ ...rules.firstSchedule(hourly, NOW), ...changes });

describe("a schedule", () => {
  test.each<[string, Partial<Schedule>, boolean]>([
    ["that never ran is due", {}, true],
    ["is due at its instant", { dueAt: NOW }, true],
    ["is not due a millisecond before", { dueAt: new Date(NOW_MS + 1).toISOString() }, false],
    ["is not due while a run holds the lease", { nextRunAt: at(-60), leaseId: "a", dueAt: at(1) }, false],
    ["is due when the lease has ended", { nextRunAt: at(-60), leaseId: "a", dueAt: NOW }, true],
    ["of a killed run is due before its next time", { nextRunAt: at(30), leaseId: "a", dueAt: at(-1) }, true],
    ["whose clock was up to 5 minutes ahead is not due", { dueAt: at(65) }, false],
    ["whose clock was set back an hour is due", { dueAt: at(66) }, true],
    ["whose clock was set back an hour during a run is due", { leaseId: "a", dueAt: at(63) }, true],
    ["that failed waits up to 6 hours", { failures: 9, dueAt: at(360) }, false],
    ["that failed before the clock was set back is due", { failures: 9, dueAt: at(400) }, true],
  ])("O07: %s", (_, changes, isDue) => {
    expect(rules.isDue(schedule(changes), hourly, NOW_MS)).toBe(isDue);
  });

  test.each([
    ["on time", at(0), at(60)],
    ["ten minutes late: the grid stays", at(-10), at(50)],
    ["three days late: one run replaces the missed ones", at(-3 * 24 * 60), at(60)],
    ["with a clock that was set back", at(20), at(60)],
  ])("O07: after a run %s, the next one is in the future", (_, due, next) => {
    const { nextRunAt, dueAt } = rules.completed(schedule({ nextRunAt: due }), 3, null, hourly, NOW_MS);
    expect([nextRunAt, dueAt]).toEqual([next, next]);
    expect(nextRunAt > NOW).toBe(true);
  });

  test("O04: a claim takes a lease that is longer than an Edge Function can run, and keeps the cursor of a killed run", () => {
    const cursor = { key: "usage:tn_1" };
    const claimed = rules.leased(schedule({ cursor, processed: 40, startedAt: at(-5) }), "lease", NOW_MS);
    expect(claimed).toMatchObject({ leaseId: "lease", dueAt: at(3), nextRunAt: NOW, cursor, processed: 40, startedAt: at(-5) });
    expect(rules.isLeased(claimed, NOW_MS + rules.LEASE_MS - 1)).toBe(true);
    expect(rules.isLeased(claimed, NOW_MS + rules.LEASE_MS)).toBe(false);
    const fresh = rules.leased(schedule({ processed: 40, startedAt: at(-5) }), "lease", NOW_MS);
    expect(fresh).toMatchObject({ processed: 0, startedAt: NOW });
  });

  test("O07: a complete run leaves its start, duration and count, and neither lease nor error", () => {
    const running = rules.leased(schedule({ failures: 2, lastError: { code: "internal", message: "TypeError" } }), "lease", NOW_MS);
    const progressed = rules.progressed(running, { cursor: { key: "a" }, processed: 7 }, NOW_MS + 1_000);
    expect(rules.completed(progressed, 5, null, hourly, NOW_MS + 2_500)).toEqual({
      ...schedule(),
      nextRunAt: new Date(NOW_MS + 3_600_000).toISOString(),
      dueAt: new Date(NOW_MS + 3_600_000).toISOString(),
      lastStartedAt: NOW,
      lastFinishedAt: new Date(NOW_MS + 2_500).toISOString(),
      lastDurationMs: 2_500,
      lastProcessed: 12,
    });
  });

  test("O08: a run that is paused is due at once, and one that has not begun keeps its place", () => {
    const running = rules.leased(schedule({ cursor: { key: "a" }, nextRunAt: at(-7) }), "lease", NOW_MS);
    expect(rules.paused(running, null, NOW_MS + 9)).toEqual({ ...schedule(), nextRunAt: at(-7), ...only(running), dueAt: at(9 / 60_000) });
    const waiting = rules.leased(schedule({ nextRunAt: at(-7) }), "lease", NOW_MS);
    expect(rules.paused(waiting, null, NOW_MS + 9)).toMatchObject({ nextRunAt: at(-7), dueAt: at(-7) });
  });

  test.each<[string, Partial<Schedule>, number]>([
    ["its time has not come", { nextRunAt: at(1) }, 0],
    ["it is 10 minutes late", { nextRunAt: at(-10) }, 600],
    ["its oldest item has waited for 2 hours", { nextRunAt: at(-10), waitingSince: at(-120) }, 7_200],
    ["it runs on time and an item waits", { nextRunAt: at(30), waitingSince: at(-1) }, 60],
  ])("O09: the backlog's age if %s", (_, changes, seconds) => {
    expect(rules.ageMs(schedule(changes), NOW_MS) / 1_000).toBe(seconds);
    expect(rules.overdueSeconds(hourly)).toBe(4_500);
    expect(rules.overdueSeconds({ ...hourly, overdueAfterSeconds: 60 })).toBe(60);
  });

  test("O05: a failed run keeps its cursor, and is repeated with exponential backoff and jitter up to six hours", () => {
    const error = new InnkeepError("store_unavailable", "The database is not available.");
    const once = rules.failed(schedule({ cursor: { key: "a" }, leaseId: "lease", dueAt: at(3) }), error, 0, NOW_MS);
    expect(once).toMatchObject({
      dueAt: at(0.25),
      nextRunAt: NOW,
      cursor: { key: "a" },
      failures: 1,
      lastError: { code: "store_unavailable" },
    });
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

  test("O05: does not count the failures of an outage of the platform, and is retried every minute until it ends", () => {
    let current = letter;
    for (let hour = 0; hour < 24; hour++) {
      current = rules.failedItem(current, new InnkeepError("root_key_unavailable", "Missing."), 1, NOW_MS, false) as DeadLetter;
    }
    expect(current).toMatchObject({ status: "retrying", attempts: 0, nextAttemptAt: at(1), error: { code: "root_key_unavailable" } });
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
