import { expect, test } from "vitest";
import { type Notification, notification, type NotificationReads } from "../../../shared/features/notifications/entity.ts";
import { MAX_MARKS, readAtOf, withAllRead, withRead } from "../../../shared/features/notifications/rules.ts";

const time = (ms: number) => new Date(Date.UTC(2026, 0, 1) + ms).toISOString();
const one = (ms: number): Notification => ({ ...notification.schema.parse(notification.example), id: `notif_${ms}`, publishAt: time(ms) });
const NOTHING: NotificationReads = { tenantId: "tn_1", userId: "ada", read: {}, updatedAt: time(0) };

test("N03: a mark keeps its first time, also after all were marked", () => {
  const first = withRead(NOTHING, [one(5)], time(10));
  expect(withRead(first, [one(5)], time(20))).toBe(first);
  const all = withAllRead(first, [one(6)], time(6), time(30));
  expect([one(4), one(5), one(6), one(7)].map((each) => readAtOf(each, all))).toEqual([time(30), time(10), time(30), null]);
  expect(withAllRead(all, [], time(6), time(40))).toBe(all);
});

test("N03: a user's marks need bounded space: of more than the maximum, the oldest become a bound", () => {
  let reads = NOTHING;
  for (let i = 1; i <= MAX_MARKS + 5; i++) reads = withRead(reads, [one(i)], time(1_000 + i));
  expect(Object.keys(reads.read)).toHaveLength(MAX_MARKS);
  for (let i = 1; i <= MAX_MARKS + 5; i++) expect(readAtOf(one(i), reads), String(i)).not.toBeNull();
  expect(readAtOf(one(MAX_MARKS + 6), reads)).toBeNull();
});
