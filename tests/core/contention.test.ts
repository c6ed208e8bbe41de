import { afterAll, beforeAll, expect, it } from "vitest";
import { errors } from "../../shared/kernel/errors.ts";
import { Turns } from "../../shared/kernel/turns.ts";
import { UnitOfWork } from "../../shared/core/unit-of-work.ts";
import { codeOf } from "../support/store.ts";
import { ADMIN, openTestContext, userOf } from "../support/test-context.ts";

let context: Awaited<ReturnType<typeof openTestContext>>;
beforeAll(async () => void (context = await openTestContext()));
afterAll(() => context.close());

/** The services of one process, for a caller. */
function as(caller: Partial<ReturnType<typeof userOf>>) {
  return context.container.services({ actor: ADMIN, tenantId: null, requestId: "req_test", clock: context.clock, ...caller });
}

it.each(["suspend", "cancel", "delete"] as const)(
  "T08: 16 writers of a tenant that change it without a pause do not prevent its %s by the platform",
  async (step) => {
    const { id } = await context.tenant();
    const platform = as({}).TenantService;
    let running = true;
    let written = 0;
    const writers = Array.from({ length: 16 }, async (_, i) => {
      const own = as(userOf(id, `user-${i}`)).TenantService;
      for (let n = 0; running; n++) {
        const code = await codeOf(own.update(id, { settings: { n: `${i}-${n}` } }));
        if (code.startsWith("no error")) written++;
        else await new Promise((resolve) => setTimeout(resolve, 1));
      }
    });
    await expect.poll(() => written, { timeout: 30_000 }).toBeGreaterThan(32);
    const steps = {
      suspend: () => platform.suspend(id, "does not pay"),
      cancel: () => platform.cancel(id),
      delete: () => platform.delete(id),
    };
    expect(await codeOf(steps[step]())).toMatch(/^no error/);
    running = false;
    await Promise.all(writers);
    const after = await platform.get(id);
    expect(after?.status ?? "gone").toBe({ suspend: "suspended", cancel: "cancelled", delete: "gone" }[step]);
  },
);

it("H05: 64 concurrent changes of one record all succeed, and none is lost", async () => {
  const { id } = await context.tenant();
  const platform = as({}).TenantService;
  const codes = await Promise.all(
    Array.from({ length: 64 }, (_, i) => codeOf(platform.update(id, { settings: { [`m${i}`]: i } }))),
  );
  expect(codes.filter((code) => !code.startsWith("no error"))).toEqual([]);
  expect(Object.keys((await platform.get(id))?.settings ?? {})).toHaveLength(64);
});

it("H05: 64 concurrent changes of a tenant, by its record and by its subscription, all succeed", async () => {
  const services = as({});
  const plans = (await context.dump("plan")).map(({ value }) => (value as { id: string }).id);
  const plan = (i: number) => plans[i % plans.length] ?? "";
  for (let round = 0; round < 3; round++) {
    const { id } = await context.tenant();
    const codes = await Promise.all(Array.from({ length: 64 }, (_, i) =>
      codeOf(
        i % 2
          ? services.TenantService.update(id, { plan: plan(i), metadata: { [`m${i}`]: i } })
          : services.SubscriptionService.upsert(id, { planId: plan(i + 1) }),
      )));
    expect(codes.filter((code) => code === "write_conflict")).toEqual([]);
  }
});

it.each([[undefined, 4, true], [undefined, 5, false], [7, 6, true], [7, 7, false]])(
  "K31: a change with %s as its number of attempts that loses %i races is committed: %s",
  async (attempts, races, isCommitted) => {
    const { store } = context;
    const key = `raced:${attempts ?? "default"}-${races}`;
    const work = new UnitOfWork(
      store,
      { actor: ADMIN, tenantId: null, requestId: "req_test", clock: context.clock },
      context.container.platform,
      new Turns(),
    );
    let lost = 0;
    const code = await codeOf(work.transact(async () => {
      const version = (await store.get(key))?.version ?? null;
      if (lost++ < races) await store.set(key, { lost });
      const mutations = [{ op: "set" as const, key, value: { isMine: true } }];
      return { commit: { checks: [{ key, version }], mutations, audit: "none", result: {}, attempts }, resultOf: null };
    }));
    expect(code.startsWith("no error") ? "committed" : code).toBe(isCommitted ? "committed" : "write_conflict");
    expect((await store.get(key))?.value).toEqual(isCommitted ? { isMine: true } : { lost: races });
  },
);

it("K31: while one writer of a record hangs, the others write one after the other and none is refused", async () => {
  const turns = new Turns(100);
  const { store } = context;
  await store.set("turn:one", { n: 0 });
  const work = new UnitOfWork(
    store,
    { actor: ADMIN, tenantId: null, requestId: "req_test", clock: context.clock },
    context.container.platform,
    turns,
  );
  let end: () => void = () => undefined;
  const hung = turns.run(["turn:one"], () => new Promise<void>((resolve) => end = resolve));
  const codes = await Promise.all(Array.from({ length: 60 }, () =>
    codeOf(work.transact(async () => {
      const found = await store.get("turn:one");
      await new Promise((resolve) => setTimeout(resolve, 5));
      const n = (found?.value as { n: number }).n + 1;
      return {
        commit: {
          checks: [{ key: "turn:one", version: found?.version ?? null }],
          mutations: [{ op: "set", key: "turn:one", value: { n } }],
          audit: "none",
          result: { n },
        },
        resultOf: null,
      };
    }))));
  expect(codes.filter((code) => !code.startsWith("no error"))).toEqual([]);
  expect((await store.get("turn:one"))?.value).toEqual({ n: 60 });
  end();
  await hung;
});

it("K31: writers of a busy record take turns in the order of their requests, and a turn that never ends is passed on", async () => {
  const turns = new Turns(50);
  const order: string[] = [];
  const turn = (name: string, ms: number) =>
    turns.run(["record"], async () => {
      await new Promise((resolve) => setTimeout(resolve, ms));
      order.push(name);
    });
  await Promise.all([turn("first", 5), turn("second", 1), turn("third", 0)]);
  expect(order).toEqual(["first", "second", "third"]);
  expect(turns.isTaken("record")).toBe(false);
  const stuck = turn("stuck", 300);
  await turn("passes", 0);
  expect(order.at(-1)).toBe("passes");
  await stuck;
  await expect(turns.run(["record"], () => Promise.reject(new Error("fails")))).rejects.toThrow("fails");
  expect(turns.isTaken("record")).toBe(false);
});

it.each([
  ["usage:tn_1:rooms:2026-03", "usage"],
  ["tenant:tn_1", "tenant"],
  ["the record", "same"],
])("K31: a conflict on %s names the %s record and not its key", (key, name) => {
  expect(errors.writeConflict(key).message).toBe(`Another write changed the ${name} record. Read it and retry.`);
});
