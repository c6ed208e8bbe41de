import { afterAll, beforeAll, expect, test } from "vitest";
import { invoice } from "../../../shared/features/invoices/entity.ts";
import { isInnkeepError } from "../../../shared/kernel/errors.ts";
import { type Random, seededRandom } from "../../support/random.ts";
import { openTestContext } from "../../support/test-context.ts";
import { Oracle, type Price } from "./oracle.ts";

let context: Awaited<ReturnType<typeof openTestContext>>;
beforeAll(async () => void (context = await openTestContext()));
afterAll(() => context.close());

const DAY = 86_400_000;
const TENANTS = 4;
const STEPS = Number(process.env["STEPS"] ?? 40);
const INTERVALS = {
  Monthly: ["month", 1, { interval: "monthly" }],
  Cheap: ["month", 1, { interval: "monthly" }],
  Free: ["month", 1, { interval: "monthly" }],
  Quarterly: ["month", 3, { interval: "monthly", intervalCount: 3 }],
  Yearly: ["month", 12, { interval: "yearly" }],
  Weekly: ["day", 7, { interval: "weekly" }],
  Thirty: ["day", 30, { interval: "daily", intervalCount: 30 }],
} as const;
type Name = keyof typeof INTERVALS;
const NAMES = Object.keys(INTERVALS) as Name[];

/** A tenant with what it should owe. */
interface Customer {
  readonly id: string;
  readonly oracle: Oracle;
  readonly log: string[];
}

/** The plans of the walk, whose prices change. */
class Shop {
  readonly #prices = new Map<Name, number>();

  constructor(private readonly random: Random) {}

  async open(): Promise<void> {
    for (const name of NAMES) {
      const price = name === "Free" ? 0 : 1 + this.random.below(1e6);
      this.#prices.set(name, price);
      await context.PlanService.create({ name, price, currency: "USD", limits: {}, ...INTERVALS[name][2] });
    }
  }

  priceOf(name: Name): Price {
    const [unit, count] = INTERVALS[name];
    return { price: this.#prices.get(name) ?? 0, unit, count };
  }

  /** Sells a new version for another price. */
  async reprice(name: Name): Promise<void> {
    const price = 1 + this.random.below(1e6);
    await context.PlanService.update(name, { price });
    this.#prices.set(name, price);
  }
}

/** What is due, with each invoice paid at once. */
async function settle(): Promise<void> {
  for (let processed = 1; processed > 0;) {
    const report = await context.JobService.run("subscriptions");
    expect(report.errors).toEqual([]);
    processed = report.processed;
    const { entries } = await context.store.query({ entity: invoice, where: [{ field: "status", in: ["pending"] }], limit: 100 });
    for (const { id, tenantId } of entries.map(({ value }) => invoice.schema.parse(value))) {
      await context.InvoiceService.markPaid(tenantId, id);
    }
  }
}

async function migrate(id: string, planId: string, mode: "prorate" | "next_period" | "no_billing_change"): Promise<boolean> {
  const { PlanMigrationService } = context;
  const { id: migration } = await PlanMigrationService.create({ planId, mode, cohort: { tenantIds: [id] } });
  await PlanMigrationService.start(migration);
  for (let i = 0; i < 5; i++) await context.JobService.run("plan-migrations");
  return (await PlanMigrationService.get(migration))?.moved === 1;
}

/** One thing that a person does. The oracle follows if it was not refused. */
async function step(random: Random, shop: Shop, { id, oracle, log }: Customer): Promise<void> {
  const { SubscriptionService, TenantService } = context;
  const now = context.clock.now();
  const name = random.pick(NAMES);
  const steps: Record<string, () => Promise<void>> = {
    [`change to ${name}`]: async () => {
      const before = await SubscriptionService.get(id);
      await (random.below(2) === 0 ? SubscriptionService.upsert(id, { planId: name }) : TenantService.update(id, { plan: name }));
      if (before?.planId !== name) oracle.change(shop.priceOf(name), now);
    },
    "cancel at the end": async () => {
      await SubscriptionService.cancel(id);
      oracle.cancelAtEnd();
    },
    "cancel at once": async () => {
      await SubscriptionService.cancel(id, false);
      oracle.cancelNow();
    },
    "reactivate": async () => {
      await SubscriptionService.reactivate(id);
      oracle.reactivate(now);
    },
    "suspend": async () => {
      await TenantService.suspend(id, "a test");
      oracle.suspend();
    },
    "unsuspend": async () => {
      await TenantService.unsuspend(id);
      oracle.unsuspend(now);
    },
    "migrate": async () => {
      const planId = (await SubscriptionService.get(id))?.planId as Name;
      if (planId === "Free") return;
      await shop.reprice(planId);
      const mode = random.pick(["prorate", "next_period", "no_billing_change"] as const);
      log.push(mode);
      if (!await migrate(id, planId, mode)) return;
      if (mode === "prorate") oracle.change(shop.priceOf(planId), now);
      if (mode === "next_period") oracle.changeNext(shop.priceOf(planId));
    },
    "cancel and reactivate the tenant": async () => {
      if ((await TenantService.get(id))?.status === "trial") return;
      await TenantService.cancel(id);
      oracle.cancelNow();
      await TenantService.reactivate(id);
      oracle.isSuspended = false;
      oracle.reactivate(now);
    },
  };
  const what = random.pick(Object.keys(steps));
  log.push(`${context.clock.iso()} ${what}`);
  try {
    await steps[what]?.();
  } catch (error) {
    if (!isInnkeepError(error) || error.code === "internal") throw error;
    log.push(error.code);
  }
}

test("B12: whatever its users and the platform do, a tenant is charged the time-weighted price, to half a unit for each item", async () => {
  const random = seededRandom("billing oracle");
  const shop = new Shop(random);
  await shop.open();
  const customers = await Promise.all(Array.from({ length: TENANTS }, async (_, i): Promise<Customer> => {
    const name = random.pick(NAMES);
    const trialEndsAt = i % 2 === 0 ? null : context.clock.iso((1 + random.below(40)) * DAY);
    const { id } = await context.tenant({ plan: name, ...(trialEndsAt === null ? {} : { status: "trial", trialEndsAt }) });
    const oracle = new Oracle(shop.priceOf(name), context.clock.now(), trialEndsAt === null ? null : Date.parse(trialEndsAt));
    return { id, oracle, log: [`${context.clock.iso()} ${name} ${trialEndsAt}`] };
  }));
  await settle();
  for (let i = 0; i < STEPS; i++) {
    context.clock.advance(random.pick([0, 1, 60_000, DAY / 3, DAY, 3 * DAY, 11 * DAY, 40 * DAY]));
    const now = context.clock.now();
    await settle();
    for (const { id, oracle } of customers) {
      oracle.advance(now);
      // A trial that ends with a cancellation suspends its tenant.
      oracle.isSuspended = (await context.TenantService.get(id))?.status === "suspended";
    }
    await step(random, shop, random.pick(customers));
    await settle();
    for (const customer of customers) await compare(customer, `step ${i}, SEED=${random.seed}`);
  }
  const { data } = await context.RevenueService.movements();
  expect(data.at(-1)?.ending).toBe(await context.TenantService.calculateTotalMRR());
}, 300_000);

async function compare({ id, oracle, log }: Customer, when: string): Promise<void> {
  const invoices = (await context.dump(`invoice:${id}`)).map(({ value }) => invoice.schema.parse(value));
  const { pendingItems = [] } = await context.SubscriptionService.get(id) ?? {};
  const charged = invoices.reduce((sum, { total }) => sum + total, 0) + pendingItems.reduce((sum, { amount }) => sum + amount, 0);
  const items = invoices.reduce((sum, { lineItems }) => sum + lineItems.length, 0) + pendingItems.length;
  expect(Math.abs(charged - oracle.owed()), `${when}: ${charged} for ${oracle.owed()}\n${log.join("\n")}`).toBeLessThanOrEqual(
    items / 2 + 1e-3,
  );
}
