import { afterAll, beforeAll, expect, test } from "vitest";
import { cleanup, DAY_MS, events, left, log, program, seqs, taskOf, usage } from "../../support/retention.ts";
import { codeOf } from "../../support/store.ts";
import { openTestContext } from "../../support/test-context.ts";

let context: Awaited<ReturnType<typeof openTestContext>>;
beforeAll(async () => void (context = await openTestContext()));
afterAll(() => context.close());

/** A process whose clock moves by `stepMs` each time it is read. */
async function moving(stepMs: number) {
  let offset = 0;
  return await program(context, { clock: { now: () => context.clock.now() + (offset += stepMs) } });
}

test("C15: all pages of a run are read while the clock goes on", async () => {
  const keys = await events(context, 31 * DAY_MS, 350);
  const tenants = await Promise.all(Array.from({ length: 3 }, () => context.tenant({ metadata: { legalHold: true } })));
  for (const { id } of tenants) await log(context, id, 200);
  context.clock.advance(731 * DAY_MS);
  const tasks = await cleanup(await moving(1));
  expect(tasks.filter(({ error }) => error !== null)).toEqual([]);
  expect(await left(context, keys)).toBe(0);
  // Nothing is deleted of tenants on hold, and a page has 500 entries.
  expect(taskOf(tasks, "audit-entry")?.scanned).toBeGreaterThan(600);
});

test("C16: a clock that jumps back an hour in the middle of a run deletes nothing early", async () => {
  const { id } = await context.tenant();
  const old = await events(context, 31 * DAY_MS, 120);
  const young = await events(context, 30 * DAY_MS + 10 * 60_000, 120);
  const [oldUsage, youngUsage] = [await usage(context, id, 731 * DAY_MS, 5), await usage(context, id, 730 * DAY_MS + 10 * 60_000, 5)];
  let reads = 0;
  const jobs = await program(context, { clock: { now: () => context.clock.now() - (++reads > 5 ? 3_600_000 : 0) } });
  await cleanup(jobs);
  expect([await left(context, old), await left(context, oldUsage)]).toEqual([0, 0]);
  expect([await left(context, young), await left(context, youngUsage)]).toEqual([120, 5]);
});

test("C16: entries written while the clock was a year ahead keep what follows them in the chain, and nothing else", async () => {
  const [{ id }, other] = [await context.tenant(), await context.tenant()];
  context.clock.advance(365 * DAY_MS);
  await log(context, id, 1);
  context.clock.advance(-365 * DAY_MS);
  for (const each of [id, other.id]) await log(context, each, 5);
  context.clock.advance(731 * DAY_MS);
  await cleanup(await program(context));
  expect(await seqs(context, id)).toEqual([2, 3, 4, 5, 6, 7]);
  expect(await seqs(context, other.id)).toEqual([6]);
  expect(await context.AuditService.verify(id)).toMatchObject({ ok: true, deletedTo: 1 });
  context.clock.advance(365 * DAY_MS);
  await cleanup(await program(context));
  expect(await seqs(context, id)).toEqual([7]);
});

test("C16: while the clocks of program and database differ by more than 5 minutes, nothing is deleted; then the run goes on", async () => {
  // The server's clock is the real one.
  const old = new Date(Date.now() - 40 * DAY_MS).toISOString();
  await context.store.set("outbox:evt_skew", { id: "evt_skew", type: "x.y", subject: "s", data: {}, createdAt: old });
  const withClock = async (offsetMs: number) => {
    const clock = { now: () => Date.now() + offsetMs };
    return await program(context, { clock, maxClockSkewMs: 5 * 60_000 });
  };
  for (const offsetMs of [6 * 60_000, 365 * DAY_MS, -6 * 60_000, -365 * DAY_MS]) {
    const { RetentionService } = await withClock(offsetMs);
    expect([offsetMs, await codeOf(RetentionService.run())]).toEqual([offsetMs, "clock_skew"]);
    expect((await RetentionService.run({ dryRun: true })).dryRun).toBe(true);
    expect(await left(context, ["outbox:evt_skew"])).toBe(1);
  }
  expect((await (await withClock(4 * 60_000)).RetentionService.run()).complete).toBe(true);
  expect(await left(context, ["outbox:evt_skew"])).toBe(0);
});
