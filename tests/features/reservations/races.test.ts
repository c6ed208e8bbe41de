import { afterAll, beforeAll, beforeEach, describe, expect, test } from "vitest";
import { seededRandom } from "../../support/random.ts";
import { openTestContext } from "../../support/test-context.ts";

let context: Awaited<ReturnType<typeof openTestContext>>;
beforeAll(async () => void (context = await openTestContext()));
afterAll(() => context.close());
beforeEach(() => context.clock.set("2026-03-10T12:00:00.000Z"));

async function limited(metric: string, limit: number): Promise<string> {
  const { id } = await context.tenant();
  await context.UsageService.record(id, metric, 0, limit);
  return id;
}
const usageOf = async (id: string, metric = "bookings") => await context.UsageService.get(id, metric);

/** Each of the processes reserves one unit ten times at once. */
async function race(id: string, processes: number) {
  const stores = await context.racers(processes);
  return await Promise.allSettled(
    stores.flatMap((store) => Array.from({ length: 10 }, () => context.over(store).ReservationService.reserve(id, "bookings", 1))),
  );
}

describe("racing reservations", () => {
  test("U12: of 100 racers in 10 processes for 10 units exactly 10 get one", async () => {
    const id = await limited("bookings", 10);
    const answers = await race(id, 10);
    expect(answers.filter(({ status }) => status === "fulfilled")).toHaveLength(10);
    for (const answer of answers) {
      if (answer.status === "rejected") expect(answer.reason).toMatchObject({ code: "usage_limit_exceeded" });
    }
    expect(await usageOf(id)).toMatchObject({ current: 10, reserved: 10 });
  });

  test("U13: after the expiry of 10 holds, 40 racers in 4 processes get exactly their 10 units", async () => {
    const id = await limited("bookings", 10);
    for (let n = 0; n < 10; n++) await context.ReservationService.reserve(id, "bookings", 1, 60);
    context.clock.advance(60_000);
    const answers = await race(id, 4);
    expect(answers.filter(({ status }) => status === "fulfilled")).toHaveLength(10);
    expect(await usageOf(id)).toMatchObject({ current: 10, reserved: 10 });
  });

  test("U13: two commits and a release at once end a reservation once", async () => {
    const id = await limited("bookings", 100);
    let used = 0;
    for (let round = 0; round < 5; round++) {
      const held = await context.ReservationService.reserve(id, "bookings", 4, 60);
      await Promise.allSettled([
        context.ReservationService.commit(id, "bookings", held.id, 3),
        context.ReservationService.release(id, "bookings", held.id),
        context.ReservationService.commit(id, "bookings", held.id, 3),
      ]);
      const ended = await context.ReservationService.get(id, held.id);
      used += ended?.status === "committed" ? 3 : 0;
      expect(await usageOf(id)).toMatchObject({ current: used, reserved: 0 });
    }
  });

  test("U13: reservations, commits, releases and counts of 6 processes at once add up, to the day", async () => {
    const random = seededRandom("U13 gauge");
    const stores = await context.racers(6);
    const id = await limited("storage", 1_000);
    let level = 0;
    await Promise.all(stores.map(async (store) => {
      const { ReservationService, UsageService } = context.over(store);
      for (let i = 0; i < 10; i++) {
        const held = await ReservationService.reserve(id, "storage", 1 + random.below(9));
        const used = random.below(held.amount + 1);
        if (random.below(2) === 0) await ReservationService.release(id, "storage", held.id);
        else {
          await ReservationService.commit(id, "storage", held.id, used);
          level += used;
        }
        if (random.below(3) > 0) continue;
        await UsageService.increment(id, "storage", 2);
        await UsageService.increment(id, "storage", -1);
        level += 1;
      }
    }));
    expect(await usageOf(id, "storage"), `seed ${random.seed}`).toMatchObject({
      current: level,
      reserved: 0,
      daily: { "2026-03-10": level },
    });
  });
});
