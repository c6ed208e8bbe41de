import process from "node:process";
import { createBackend, createContainer } from "../../shared/container.ts";
import { duePage } from "../../shared/core/due.ts";
import type { UnitOfWork } from "../../shared/core/unit-of-work.ts";
import { JobService } from "../../shared/features/jobs/service.ts";
import { BillingRun } from "../../shared/features/subscriptions/billing-run.ts";
import { subscription } from "../../shared/features/subscriptions/entity.ts";
import { isoTime, systemClock } from "../../shared/kernel/clock.ts";
import { systemContext } from "../../shared/kernel/context.ts";
import { silentLogger } from "../../shared/kernel/logger.ts";
import type { Store } from "../../shared/kv/store.ts";
import type { Cluster } from "../support/cluster.ts";
import { createDatabase, loadFast } from "./dataset.ts";
import { median } from "./measure.ts";
import { ms, type Row } from "./report.ts";

const RENEWALS = 10_000;
const ROUNDS = 5;
const HOUR_MS = 3_600_000;
const number = (value: number) => Math.round(value).toLocaleString("en-US");

/** Renewals with their invoices: half of them by the job, which commits 16 at a time, and half with a commit each. */
export async function renewalRows(cluster: Cluster, open: (url: string) => Store, report: (row: Row) => void): Promise<void> {
  const database = await createDatabase(cluster, "bench_renewals");
  const end = isoTime(Date.now() - HOUR_MS);
  await loadFast(database, async (client) => {
    await client.query(TENANTS, [RENEWALS]);
    await client.query(SUBSCRIPTIONS, [RENEWALS, isoTime(Date.now() - 30 * 24 * HOUR_MS), end]);
  });
  const store = open(database.appUrl);
  const options = { store, clock: systemClock, logger: silentLogger };
  const context = systemContext(systemClock, "bench", "jobs");
  const { PlanService } = (await createContainer(options)).services(context);
  await PlanService.create({ name: "Pro", price: 29_900, currency: "USD", interval: "monthly", limits: {} });
  const work = createBackend(options).bind(context);
  const jobs = new JobService(work);
  const rates: Record<"job" | "each", number[]> = { job: [], each: [] };
  let cpuMs = 0;
  for (let round = 0; round < ROUNDS; round++) {
    const before = process.cpuUsage();
    rates.job.push(await perSecond(async () => (await jobs.run("subscriptions")).processed));
    const { user, system } = process.cpuUsage(before);
    cpuMs = Math.max(cpuMs, (user + system) / 1_000);
    rates.each.push(await perSecond(() => oneByOne(work, RENEWALS / ROUNDS / 2)));
  }
  const [invoices, left] = [
    await store.count("invoice"),
    (await duePage({ work, cursor: null, limit: 1 }, subscription, "nextBillingAt")).entries.length,
  ];
  if (invoices !== RENEWALS || left > 0) throw new Error(`${invoices} of ${RENEWALS} invoices were issued`);
  report({
    operation: `${number(RENEWALS)} renewals, each with its invoice, audit entries and events`,
    callers: 1,
    store: `${number(median(rates.job))} renewals/s`,
    against: "the same with a commit for each",
    other: `${number(median(rates.each))} renewals/s`,
    ratio: median(rates.job.map((each, i) => each / (rates.each[i] ?? each))),
    target: null,
    note: `steps of 100, calls of 1,000; the call with the most CPU time took ${ms(cpuMs)} of it in the program`,
  });
}

async function oneByOne(work: UnitOfWork, count: number): Promise<number> {
  const run = new BillingRun(work, work.now());
  let done = 0;
  while (done < count) {
    const { entries } = await duePage({ work, cursor: null, limit: 100 }, subscription, "nextBillingAt");
    if (entries.length === 0) break;
    for (const item of await run.itemsOf(entries)) done += (await run.advance([item])).length;
  }
  return done;
}

async function perSecond(run: () => Promise<number>): Promise<number> {
  const started = performance.now();
  const done = await run();
  return done / ((performance.now() - started) / 1_000);
}

const ID = "'tn_' || lpad(i::text, 7, '0')";
const CREATED = "'2024-01-01T00:00:00.000Z'";

const TENANTS = `
  insert into kv.entries (key, value, version, owner, cascades, created_at, updated_at)
  select 'tenant:' || ${ID}, jsonb_build_object('id', ${ID}, 'name', 'Hotel ' || i, 'subdomain', 'h' || i, 'plan', 'Pro', 'status', 'active',
    'owner', 'owner@hotel.example', 'ownerName', 'Owner', 'mrr', 299, 'mrrSource', 'plan', 'created', '2024-01-01', 'createdAt', ${CREATED}),
    nextval('kv.versions'), ${ID}, true, now(), now()
  from generate_series(1, $1::int) i`;

const SUBSCRIPTIONS = `
  insert into kv.entries (key, value, version, owner, cascades, created_at, updated_at)
  select 'subscription:' || ${ID}, jsonb_build_object('id', 'sub_' || i, 'tenantId', ${ID}, 'planId', 'Pro', 'planVersion', 1, 'status', 'active',
    'currentPeriodStart', $2::text, 'currentPeriodEnd', $3::text, 'anchorDay', 1, 'invoicedUntil', $3::text, 'nextBillingAt', $3::text,
    'pendingItems', '[]'::jsonb, 'unpaidInvoices', '[]'::jsonb, 'cancelAtPeriodEnd', false, 'createdAt', ${CREATED}),
    nextval('kv.versions'), ${ID}, true, now(), now()
  from generate_series(1, $1::int) i`;
