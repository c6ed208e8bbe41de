import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { LEASE_MS } from "../../../shared/features/jobs/rules.ts";
import type { JobReport } from "../../../shared/features/jobs/service.ts";
import type { Mutation, Store } from "../../../shared/kv/store.ts";
import { openTestContext } from "../../support/test-context.ts";

let context: Awaited<ReturnType<typeof openTestContext>>;
beforeAll(async () => void (context = await openTestContext()));
afterAll(() => context.close());

const DAY = 86_400_000;
const LIMITS = { users: 5 };

async function run(services: { JobService: (typeof context)["JobService"] } = context): Promise<JobReport> {
  return await services.JobService.run("subscriptions");
}

/** Runs until nothing is left. */
async function runAll(): Promise<void> {
  while ((await run()).processed > 0);
}

const subscriptionOf = async (id: string) => {
  const subscription = await context.SubscriptionService.get(id);
  if (!subscription) throw new Error("the subscription is gone");
  return subscription;
};
const invoicesOf = async (id: string) => (await context.InvoiceService.list(id, {}, "issuedAt")).data;
/** The events of a tenant from the job, by type. */
const eventsOf = async (id: string) =>
  (await context.dump("outbox")).filter(({ tenantId }) => tenantId === id).map(({ value }) => String((value as { type: string }).type))
    .sort();
const actionsOf = async (id: string) => (await context.auditOf(id)).map(({ action }) => String(action));

/** A store over which `happens` runs before the first commit that writes a key of the tenant's family. */
function before(happens: () => Promise<unknown>): Store {
  let happened: Promise<unknown> | undefined;
  return new Proxy(context.store, {
    get: (real, name: keyof Store) => {
      const member = real[name];
      if (name !== "commit") return typeof member === "function" ? (member as () => unknown).bind(real) : member;
      return async (checks: Parameters<Store["commit"]>[0], mutations: readonly Mutation[]) => {
        if (mutations.some(isOfSubscription)) await (happened ??= happens());
        return await real.commit(checks, mutations);
      };
    },
  });
}

/** The store of a process that is killed before or after its nth commit of the job: that call never returns. */
function killedAt(nth: number, when: "before" | "after"): { readonly store: Store; readonly killed: Promise<void> } {
  let commits = 0;
  let kill: () => void = () => undefined;
  const killed = new Promise<void>((resolve) => kill = resolve);
  const never = () => new Promise<never>(() => kill());
  const store = new Proxy(context.store, {
    get: (real, name: keyof Store) => {
      const member = real[name];
      if (name !== "commit") return typeof member === "function" ? (member as () => unknown).bind(real) : member;
      return async (...commit: Parameters<Store["commit"]>) => {
        const isIt = commit[1].some(isOfSubscription) && ++commits === nth;
        if (isIt && when === "before") return await never();
        const result = await real.commit(...commit);
        return isIt ? await never() : result;
      };
    },
  });
  return { store, killed };
}

function isOfSubscription(mutation: Mutation): boolean {
  return "key" in mutation && mutation.key.startsWith("subscription:");
}

describe("the job subscriptions", () => {
  test("T09: ends a trial of a paid plan at its instant and not before, with one event, one audit entry and the first invoice", async () => {
    await context.PlanService.create({
      name: "TryPro",
      price: 29_900,
      currency: "USD",
      interval: "monthly",
      limits: LIMITS,
      trialDays: 14,
    });
    const { id } = await context.tenant({ plan: "TryPro", status: "trial" });
    const { currentPeriodEnd: end } = await subscriptionOf(id);
    context.clock.advance(14 * DAY - 1);
    await run();
    expect(await subscriptionOf(id)).toMatchObject({ status: "trialing" });
    context.clock.advance(1);
    expect(await run()).toMatchObject({ processed: 1, report: { trialsEnded: 1, invoices: 1, invoiced: 29_900 }, remaining: 0 });
    expect(await run()).toMatchObject({ processed: 0 });
    expect(await context.TenantService.get(id)).toMatchObject({ status: "active" });
    expect(await subscriptionOf(id)).toMatchObject({ status: "active", currentPeriodStart: end, anchorDay: 15 });
    expect(await eventsOf(id)).toEqual(["invoice.created", "subscription.trial_ended", "tenant.created", "tenant.updated"]);
    const entries = (await context.auditOf(id)).slice(1);
    expect(entries.map(({ action }) => action)).toEqual(["subscription.trial_ended", "tenant.updated", "invoice.created"]);
    expect(await invoicesOf(id)).toMatchObject([{ issuedAt: end, total: 29_900, lineItems: [{ kind: "plan", periodStart: end }] }]);
  });

  test("T09: ends a free trial by cancelling the subscription and suspending the tenant, and a paid plan can follow", async () => {
    const { id } = await context.tenant({ plan: "Trial", status: "trial" });
    const { currentPeriodEnd: end } = await subscriptionOf(id);
    context.clock.advance(15 * DAY);
    await run();
    expect(await subscriptionOf(id)).toMatchObject({ status: "cancelled", cancelledAt: end });
    expect(await context.TenantService.get(id)).toMatchObject({
      status: "suspended",
      suspendedAt: end,
      suspensionReason: "The trial ended",
    });
    await context.TenantService.unsuspend(id);
    await context.SubscriptionService.reactivate(id);
    await context.SubscriptionService.upsert(id, { planId: "Pro" });
    await runAll();
    expect((await context.TenantService.get(id))?.status).toBe("active");
    expect(await subscriptionOf(id)).toMatchObject({ status: "active", planId: "Pro" });
    expect(await invoicesOf(id)).toMatchObject([{ total: 29_900, issuedAt: context.clock.iso() }]);
  });

  test("B10: ends an extended or shortened trial at its new end", async () => {
    const [longer, shorter] = [
      await context.tenant({ plan: "Trial", status: "trial" }),
      await context.tenant({ plan: "Trial", status: "trial" }),
    ];
    await context.TenantService.update(longer.id, { trialEndsAt: context.clock.iso(20 * DAY) });
    await context.TenantService.update(shorter.id, { trialEndsAt: context.clock.iso(DAY) });
    const states: string[] = [];
    for (const days of [1, 13, 6]) {
      context.clock.advance(days * DAY);
      await run();
      states.push(`${(await subscriptionOf(longer.id)).status} ${(await subscriptionOf(shorter.id)).status}`);
    }
    expect(states).toEqual(["trialing cancelled", "trialing cancelled", "cancelled cancelled"]);
  });

  test("B06: renews a month from 31 January on 28 February and 31 March, at the same time of day", async () => {
    const start = context.clock.iso();
    context.clock.set("2027-01-31T08:30:00.000Z");
    const { id } = await context.tenant();
    const ends: string[] = [];
    for (let month = 0; month < 4; month++) {
      await run();
      ends.push((await subscriptionOf(id)).currentPeriodEnd);
      for (const { id: invoiceId, status } of await invoicesOf(id)) {
        if (status === "pending") await context.InvoiceService.markPaid(id, invoiceId);
      }
      context.clock.set(ends.at(-1) ?? start);
    }
    expect(ends.map((end) => end.slice(0, 16))).toEqual(["2027-02-28T08:30", "2027-03-31T08:30", "2027-04-30T08:30", "2027-05-31T08:30"]);
  });

  test("B09: cancels at the end of the period in the millisecond in which it is over, and the charges that are left get an invoice", async () => {
    const { id } = await context.tenant();
    await run();
    context.clock.advance(DAY);
    await context.SubscriptionService.upsert(id, { planId: "Enterprise" });
    await context.SubscriptionService.cancel(id);
    const { currentPeriodEnd: end, pendingItems } = await subscriptionOf(id);
    for (const { id: invoiceId } of await invoicesOf(id)) await context.InvoiceService.markPaid(id, invoiceId);
    context.clock.set(new Date(Date.parse(end) - 1).toISOString());
    await run();
    expect((await subscriptionOf(id)).status).toBe("active");
    expect(await context.EntitlementService.get(id)).toMatchObject({ active: true });
    context.clock.set(end);
    await runAll();
    expect(await subscriptionOf(id)).toMatchObject({ status: "cancelled", cancelledAt: end, pendingItems: [] });
    const [, last] = await invoicesOf(id);
    expect(last).toMatchObject({ issuedAt: end, total: pendingItems.reduce((sum, { amount }) => sum + amount, 0) });
    expect((await eventsOf(id)).filter((type) => type === "subscription.cancelled")).toHaveLength(1);
    expect(await context.EntitlementService.get(id)).toMatchObject({ active: false });
    expect((await context.TenantService.get(id))?.status).toBe("active");
  });

  test("B21: makes an unpaid subscription past due, reminds, and suspends its tenant, each on its day and once", async () => {
    context.clock.set("2027-07-01T00:00:00.000Z");
    const { id } = await context.tenant();
    const start = context.clock.iso();
    await run();
    const at = (days: number) => new Date(Date.parse(start) + days * DAY).toISOString();
    const states: string[] = [];
    for (const days of [13, 14, 20, 21, 27, 28, 30]) {
      context.clock.set(at(days));
      await run();
      await run();
      states.push(`${days} ${(await subscriptionOf(id)).status} ${(await context.TenantService.get(id))?.status}`);
    }
    expect(states).toEqual([
      "13 active active",
      "14 past_due active",
      "20 past_due active",
      "21 past_due active",
      "27 past_due active",
      "28 past_due suspended",
      "30 past_due suspended",
    ]);
    const types = ["invoice.created", "invoice.overdue", "subscription.past_due", "tenant.created", "tenant.suspended"];
    expect(await eventsOf(id)).toEqual(types);
    expect((await actionsOf(id)).toSorted()).toEqual(types);
    expect(await context.TenantService.get(id)).toMatchObject({ suspendedAt: at(28), suspensionReason: "Payment overdue" });
  });

  test("O07: does nothing while the clock is set back an hour, and everything once when it has caught up", async () => {
    const { id } = await context.tenant();
    await run();
    const { currentPeriodEnd: end } = await subscriptionOf(id);
    const [first] = await invoicesOf(id);
    await context.InvoiceService.markPaid(id, first?.id ?? "");
    context.clock.set(end);
    await run();
    const renewed = await subscriptionOf(id);
    context.clock.advance(-3_600_000);
    expect(await run()).toMatchObject({ processed: 0, errors: [] });
    expect(await subscriptionOf(id)).toEqual(renewed);
    context.clock.advance(3_600_000);
    expect(await run()).toMatchObject({ processed: 0, errors: [] });
    expect(await invoicesOf(id)).toHaveLength(2);
  });

  test("B25: does three missed days of a daily plan with an invoice a day, each issued at its own instant", async () => {
    await context.PlanService.create({ name: "Daily", price: 100, currency: "USD", interval: "daily", limits: LIMITS });
    const { id } = await context.tenant({ plan: "Daily" });
    const start = context.clock.now();
    await runAll();
    context.clock.advance(3 * DAY);
    await runAll();
    expect((await invoicesOf(id)).map(({ issuedAt }) => issuedAt)).toEqual(
      [0, 1, 2, 3].map((day) => new Date(start + day * DAY).toISOString()),
    );
    expect(await subscriptionOf(id)).toMatchObject({ currentPeriodStart: new Date(start + 3 * DAY).toISOString() });
    await context.SubscriptionService.cancel(id, false);
  });

  test("O07: of two schedulers at once does everything once", async () => {
    const ids = await Promise.all(Array.from({ length: 40 }, async () => (await context.tenant()).id));
    const processes = (await context.racers(2)).map((store) => context.over(store));
    await Promise.allSettled(processes.map((services) => run(services)));
    await runAll();
    for (const id of ids) expect(await eventsOf(id), id).toEqual(["invoice.created", "tenant.created"]);
  });

  test("O04: killed before or after any of its commits, is repeated with one effect", async () => {
    const ids = await Promise.all(Array.from({ length: 40 }, async () => (await context.tenant()).id));
    const kills = [[1, "before"], [1, "before"], [1, "after"], [2, "before"], [1, "after"]] as const;
    let killed = 0;
    for (const [commit, when] of kills) {
      const process = killedAt(commit, when);
      await Promise.race([process.killed.then(() => killed++), run(context.over(process.store))]);
      context.clock.advance(LEASE_MS);
    }
    expect(killed).toBe(kills.length);
    await runAll();
    for (const id of ids) {
      expect(await eventsOf(id), id).toEqual(["invoice.created", "tenant.created"]);
      expect(await context.AuditService.verify(id)).toMatchObject({ ok: true, checked: 2 });
    }
    const numbers = (await context.dump("invoice")).map(({ value }) => String((value as { number: string }).number)).sort();
    expect(new Set(numbers).size).toBe(numbers.length);
  });
});

describe("a tenant that changes while its subscription is renewed", () => {
  test("T10: is deleted: nothing is left, and no item fails", async () => {
    const [gone, stays] = [await context.tenant(), await context.tenant()];
    const report = await run(context.over(before(() => context.TenantService.delete(gone.id))));
    expect(report.errors).toEqual([]);
    expect(await context.SubscriptionService.get(gone.id)).toBeNull();
    expect((await context.dump("invoice")).filter(({ tenantId }) => tenantId === gone.id)).toEqual([]);
    expect(await invoicesOf(stays.id)).toHaveLength(1);
  });

  test("C14: is put under legal hold: it is billed, and keeps its hold", async () => {
    const { id } = await context.tenant();
    await run(context.over(before(() => context.TenantService.update(id, { metadata: { legalHold: true } }))));
    expect(await invoicesOf(id)).toHaveLength(1);
    expect((await context.TenantService.get(id))?.metadata).toEqual({ legalHold: true });
  });

  test("B21: is suspended at the start of a period: the period has no invoice, and the next one has", async () => {
    const { id } = await context.tenant();
    await run();
    const [first] = await invoicesOf(id);
    await context.InvoiceService.markPaid(id, first?.id ?? "");
    context.clock.set((await subscriptionOf(id)).currentPeriodEnd);
    await run(context.over(before(() => context.TenantService.suspend(id, "a test"))));
    expect(await invoicesOf(id)).toHaveLength(1);
    const { currentPeriodEnd: end, invoicedUntil } = await subscriptionOf(id);
    expect(invoicedUntil).toBe(end);
    // Nobody paid for the period, so a cheaper plan gives no credit for it.
    expect(await context.SubscriptionService.upsert(id, { planId: "Basic" })).toMatchObject({ planId: "Basic", pendingItems: [] });
    context.clock.set(end);
    await context.TenantService.unsuspend(id);
    await run();
    expect((await invoicesOf(id)).map(({ issuedAt }) => issuedAt)).toEqual([first?.issuedAt, end]);
  });

  test("B02: loses its plan's version before a renewal: the item is a dead letter with a clear error, and the others go on", async () => {
    await context.PlanService.create({ name: "Vanishing", price: 1, currency: "USD", interval: "monthly", limits: LIMITS });
    const [lost, fine] = [await context.tenant({ plan: "Vanishing" }), await context.tenant()];
    await context.store.del("planversion:Vanishing:1");
    const message = "Version 1 of plan Vanishing was not found. A platform admin must create the plan again.";
    expect((await run()).errors).toEqual([{ item: `subscription:${lost.id}`, code: "not_found", message }]);
    expect(await invoicesOf(fine.id)).toHaveLength(1);
    for (let attempt = 2; attempt <= 8; attempt++) {
      context.clock.advance(3_600_000 * 6);
      await run();
    }
    context.clock.advance(DAY);
    expect((await run()).errors).toEqual([]);
    expect(await invoicesOf(lost.id)).toEqual([]);
    expect(await actionsOf(lost.id)).toEqual(["tenant.created"]);
    await context.SubscriptionService.cancel(lost.id, false);
  });
});

test("O07: a dry run reports what would be done and writes nothing, and the backlog has the oldest due item", async () => {
  await runAll();
  const oldest = context.clock.iso();
  await context.tenant();
  context.clock.advance(1_000);
  await context.tenant({ plan: "Basic" });
  const before = (await context.dump()).map(({ key, version }) => `${key} ${version}`);
  const report = await context.JobService.run("subscriptions", { dryRun: true });
  expect(report).toMatchObject({ dryRun: true, processed: 2, remaining: 2, report: { invoices: 2, invoiced: 39_800, failing: 0 } });
  expect((await context.dump()).map(({ key, version }) => `${key} ${version}`)).toEqual(before);
  const state = (await context.JobService.list()).find(({ name }) => name === "subscriptions");
  expect(state?.backlog).toEqual({ count: 2, oldestAt: oldest });
});
