import { afterAll, beforeAll, describe, expect, test } from "vitest";
import type { Job } from "../../../shared/core/job.ts";
import { type Logger, silentLogger } from "../../../shared/kernel/logger.ts";
import type { JsonObject } from "../../../shared/kernel/json.ts";
import { openTestContext } from "../../support/test-context.ts";
import { counting, ids, processOf } from "./support.ts";

type Context = Awaited<ReturnType<typeof openTestContext>>;
let context: Context;

beforeAll(async () => {
  context = await openTestContext();
});
afterAll(() => context.close());

function logged(): { readonly lines: string[]; readonly logger: Logger } {
  const lines: string[] = [];
  return { lines, logger: { ...silentLogger, error: (event, fields) => void lines.push(`${event} ${fields?.["job"]}`) } };
}

describe("a schedule that was changed in the database", () => {
  test.each<[string, object]>([
    ["a time that is no instant", { dueAt: "infinity" }],
    ["a time of the right length that is no instant", { dueAt: "9999-99-99T99:99:99.999Z" }],
    ["a lease until the year 9999", { dueAt: "9999-12-31T23:59:59.999Z", leaseId: "lease" }],
    ["a next run in the year 9999", { nextRunAt: "9999-12-31T23:59:59.999Z", dueAt: "2020-01-01T00:00:00.000Z" }],
    ["no next run", { nextRunAt: null, dueAt: "2020-01-01T00:00:00.000Z" }],
    ["a cursor that is no object", { cursor: [], dueAt: "2020-01-01T00:00:00.000Z" }],
    ["a negative number of failures", { failures: -1 }],
    ["the name of another job", { job: "beside", dueAt: "2020-01-01T00:00:00.000Z" }],
  ])("O07: with %s stops no job: its own begins anew, and is listed", async (title, damage) => {
    const name = `damaged-${title.replaceAll(" ", "-")}`;
    const { lines, logger } = logged();
    const { jobs, lateness } = processOf(context, [counting(name, ids(2)), counting(`${name}-beside`, ids(2))], { logger });
    await jobs.runDue();
    context.clock.advance(2 * 3_600_000);
    const entry = await context.store.get(`schedule:${name}`);
    await context.store.set(`schedule:${name}`, { ...entry?.value as object, ...damage });
    expect((await lateness()).ageSeconds).toBeGreaterThan(0);
    const listed = await jobs.list();
    expect(listed.map((job) => job.name)).toEqual([name, `${name}-beside`]);
    expect(listed[0]?.nextRunAt.slice(0, 4)).not.toBe("9999");
    expect((await jobs.runDue()).map((report) => [report.job, report.complete]).sort()).toEqual([[name, true], [`${name}-beside`, true]]);
    expect(lines.every((line) => line === `schedule_invalid ${name}`), lines.join()).toBe(true);
    expect(await jobs.runDue()).toEqual([]);
    expect(await jobs.list()).toMatchObject([{ name, running: false, failures: 0, overdue: false }, { overdue: false }]);
  });

  test.each([["that is missing", null], ["that is damaged", { job: "ticking" }]])(
    "O07: %s is due at once, by a clock that goes on with every reading",
    async (title, stored) => {
      const name = `ticking-${title.length}`;
      let ms = context.clock.now();
      const clock = Object.assign(Object.create(context.clock), { now: () => ms++ }) as typeof context.clock;
      const { jobs } = processOf({ store: context.store, clock }, [counting(name, ids(2))]);
      if (stored) await context.store.set(`schedule:${name}`, stored);
      expect(await jobs.runDue({ dryRun: true })).toMatchObject([{ job: name, processed: 2 }]);
      expect(await jobs.runDue()).toMatchObject([{ job: name, processed: 2, complete: true }]);
      expect(await jobs.runDue()).toEqual([]);
    },
  );

  test("O07: can be run by name", async () => {
    const { jobs } = processOf(context, [counting("named", ids(2))]);
    await context.store.set("schedule:named", { job: "named" });
    expect(await jobs.run("named")).toMatchObject({ processed: 2, complete: true });
  });

  test("O05: with a cursor that the job cannot read fails eight times, and then begins from the beginning", async () => {
    const strict: Job = counting("strict", ids(150));
    const job: Job = {
      ...strict,
      step: async (run) => {
        if (run.cursor && typeof run.cursor["from"] !== "number") throw new TypeError("from");
        return await strict.step(run);
      },
    };
    const { jobs } = processOf(context, [job]);
    await jobs.runDue({ budget: { items: 100, ms: 60_000 } });
    const entry = await context.store.get("schedule:strict");
    await context.store.set("schedule:strict", { ...entry?.value as object, cursor: { page: "of another version" } });
    for (let failure = 1; failure <= 8; failure++) {
      expect(await jobs.run("strict")).toMatchObject({ complete: false, errors: [{ item: "*", code: "internal" }] });
      expect(await jobs.list()).toMatchObject([{ failures: failure }]);
    }
    expect(await jobs.run("strict")).toMatchObject({ processed: 150, complete: true, errors: [] });
    expect(await jobs.list()).toMatchObject([{ failures: 0, backlog: { count: 0 } }]);
  });
});

describe("a dead letter that was changed in the database", () => {
  test("O05: and cannot be read does not stop the job: its item is tried again, and the letter is replaced or deleted", async () => {
    let isBroken = true;
    const fail = ({ id }: { readonly id: string }) => isBroken && id === "i1" ? Promise.reject(new TypeError("x")) : Promise.resolve();
    const { jobs, dead } = processOf(context, [counting("letters", ids(3), fail)]);
    await jobs.run("letters");
    const damage = async () => {
      const [letter] = (await dead.list({})).data.filter(({ job }) => job === "letters");
      await context.store.set(`dead:${letter?.id}`, { ...letter, status: "wild", attempts: -1 } as object as JsonObject);
    };
    await damage();
    expect(await jobs.run("letters")).toMatchObject({ complete: true, processed: 2, errors: [{ item: "i1", code: "internal" }] });
    expect((await dead.list({})).data.filter(({ job }) => job === "letters")).toMatchObject([{
      item: "i1",
      status: "retrying",
      attempts: 1,
    }]);
    await damage();
    isBroken = false;
    expect(await jobs.run("letters")).toMatchObject({ complete: true, processed: 3, errors: [] });
    expect((await dead.list({})).data.filter(({ job }) => job === "letters")).toEqual([]);
  });
});
