import { createContainer } from "../../shared/container.ts";
import type { Container, Services } from "../../shared/container.ts";
import { ADMIN_ROLES } from "../../shared/core/scopes.ts";
import { DEFAULT_METRICS } from "../../shared/features/metrics/default-metrics.ts";
import type { MetricKind } from "../../shared/features/metrics/entity.ts";
import { usageRecord } from "../../shared/features/usage/entity.ts";
import { isoTime, systemClock } from "../../shared/kernel/clock.ts";
import type { Clock } from "../../shared/kernel/clock.ts";
import { systemContext } from "../../shared/kernel/context.ts";
import type { JsonObject } from "../../shared/kernel/json.ts";
import { silentLogger } from "../../shared/kernel/logger.ts";
import { Collection } from "../../shared/core/collection.ts";
import { keyOf } from "../../shared/kv/define.ts";
import { postgresDriver } from "../../shared/kv/drivers/postgres.ts";
import { createStore } from "../../shared/kv/sql-store.ts";
import type { Mutation, Store } from "../../shared/kv/store.ts";
import { addDays, addInterval, dayOf, periodEnd, periodOf, periodStart } from "../../shared/core/periods.ts";
import { markMutation } from "../../shared/features/usage/marks.ts";
import { limitOf } from "../../shared/features/usage/rules.ts";
import { seedFlags } from "./flags.ts";
import { HOTELS, usageOn } from "./hotels.ts";
import type { Hotel } from "./hotels.ts";
import { LOCAL_ADMINS } from "./people.ts";

const MONTHS = 6;

interface Seeding {
  readonly store: Store;
  /** The services, called by the system at an instant of the past. */
  readonly at: (iso: string) => Services;
  readonly nowMs: number;
}

interface SeedOptions {
  readonly databaseUrl: string;
  readonly demo: boolean;
  /** False for the database of DATABASE_URL, which is not seeded if it contains data. */
  readonly ownDatabase: boolean;
  readonly say: (line: string) => void;
}

/**
 * Creates the metrics, the plans, the administrators of `local.json` and, with `demo`, the hotels. Each step creates only what is
 * missing, so the next start completes an interrupted one. Returns the tenant of the local tenant tokens.
 */
export async function seedStack(options: SeedOptions): Promise<string | null> {
  let atMs = systemClock.now();
  const clock: Clock = { now: () => atMs };
  const store = createStore(postgresDriver({ connectionString: options.databaseUrl, max: 4 }), { clock });
  const container = await createContainer({ store, clock, logger: silentLogger });
  const seeding: Seeding = {
    store,
    nowMs: atMs,
    at(iso) {
      atMs = Date.parse(iso);
      return container.services(systemContext(clock, "seed", "seed"));
    },
  };
  try {
    const present = isoTime(seeding.nowMs);
    if (!options.ownDatabase && await store.count("audit") > 0) {
      options.say("the database contains data and was not seeded");
      const demo = await seeding.at(present).TenantService.resolve(HOTELS[0]?.subdomain ?? "");
      return demo?.id ?? null;
    }
    const opening = options.demo ? addDays(`${firstPeriod(seeding.nowMs)}-01T08:00:00.000Z`, -20) : present;
    await seeding.at(opening).MetricService.seedDefaults();
    await seeding.at(opening).PlanService.seedDefaults();
    await seedAdmins(seeding.at(opening));
    options.say(options.demo ? "plans and administrators are ready" : "plans and administrators are ready; no tenants (--seed none)");
    if (!options.demo) return null;
    const ids: string[] = [];
    for (const [i, hotel] of HOTELS.entries()) {
      const { joinedDaysAgo } = hotel;
      const joined = joinedDaysAgo === undefined ? addDays(opening, i + 1) : addDays(present, -joinedDaysAgo);
      ids.push(await seedHotel(seeding, hotel, joined));
    }
    await payInvoices(seeding, ids);
    await settleUsage(seeding, container, ids);
    await seedFlags(seeding.at(opening), ids[0] ?? "");
    options.say(`${HOTELS.length} hotels with ${MONTHS} months of usage are ready`);
    return ids[0] ?? null;
  } finally {
    await store.close();
  }
}

async function seedAdmins({ AdminUserService }: Services): Promise<void> {
  for (const role of ADMIN_ROLES) {
    const { userId, email, name } = LOCAL_ADMINS[role];
    if (!await AdminUserService.get(userId)) await AdminUserService.create({ userId, email, name, role });
  }
}

/** Creates a hotel with its history: an upgrade for some, a renewal this month, a suspension or cancellation for some. */
async function seedHotel(seeding: Seeding, hotel: Hotel, joined: string): Promise<string> {
  const { nowMs } = seeding;
  const { TenantService } = seeding.at(joined);
  const found = await TenantService.resolve(hotel.subdomain);
  const { id } = found ?? await TenantService.create({
    name: hotel.name,
    subdomain: hotel.subdomain,
    region: hotel.region,
    plan: hotel.upgradedFrom ?? hotel.plan,
    owner: `owner@${hotel.subdomain}.example`,
    ownerName: hotel.ownerName,
    ...(hotel.customDomain ? { customDomain: hotel.customDomain } : {}),
    ...(hotel.plan === "Trial" ? { trialEndsAt: addDays(isoTime(nowMs), 9) } : {}),
  });
  if (hotel.upgradedFrom) await seeding.at(addDays(joined, 70)).TenantService.update(id, { plan: hotel.plan });
  await seedUsage(seeding, hotel, id, joined);
  const start = monthStart(nowMs);
  if (hotel.plan !== "Trial") {
    await seeding.at(start).SubscriptionService.put(id, {
      currentPeriodStart: start,
      currentPeriodEnd: addInterval(start, { interval: "monthly" }),
      paymentMethod: "card",
    });
  }
  const ended = seeding.at(isoTime(nowMs));
  if (hotel.ending === "suspended") await ended.TenantService.suspend(id, "The last two invoices are unpaid");
  if (hotel.ending === "cancelled") await ended.TenantService.cancel(id);
  return id;
}

/** Issues the invoices of this month and pays them: otherwise the hotels would be overdue, and suspended from the 29th on. */
async function payInvoices({ at, nowMs }: Seeding, ids: readonly string[]): Promise<void> {
  const start = monthStart(nowMs);
  const { JobService, InvoiceService } = at(start);
  await JobService.run("subscriptions");
  for (const id of ids) {
    const { data } = await InvoiceService.list(id);
    const paidAt = isoTime(Math.min(nowMs, Date.parse(addDays(start, 2))));
    for (const invoice of data.filter(({ status }) => status === "pending")) await at(paidAt).InvoiceService.markPaid(id, invoice.id);
  }
  // The job has run at the start of the month. Without a run now, it would be overdue.
  await at(isoTime(nowMs)).JobService.run("subscriptions");
}

/** The records of usage were written without the service: the marks let the job compute percentages, alerts and levels. */
async function settleUsage({ store, at, nowMs }: Seeding, { bind }: Container, ids: readonly string[]): Promise<void> {
  const { JobService } = at(isoTime(nowMs));
  const work = bind(systemContext({ now: () => nowMs }, "seed", "seed"));
  await store.commit([], ids.flatMap((id) => periods(nowMs).map((period) => markMutation(work, id, period))));
  await JobService.run("usage");
}

function monthStart(nowMs: number): string {
  return `${periodOf(nowMs)}-01T00:00:00.000Z`;
}

/**
 * Metering is not audited, so the months of one hotel are one commit of records. Existing records are not replaced, because
 * they may have been incremented since.
 */
async function seedUsage({ store, at, nowMs }: Seeding, hotel: Hotel, tenantId: string, joined: string): Promise<void> {
  // The creation of the tenant has written the record of one month, without usage.
  const first = await store.get(keyOf(usageRecord, { tenantId, metric: "users", period: periodOf(Date.parse(joined)) }));
  if (await store.count(`usage:${tenantId}:users`) > 1 || Number((first?.value as JsonObject | undefined)?.["current"] ?? 0) > 0) return;
  const plan = await at(isoTime(nowMs)).PlanService.get(hotel.plan);
  const records = new Collection(usageRecord, store);
  const mutations: Mutation[] = periods(nowMs).filter((period) => period >= joined.slice(0, 7)).flatMap((period) =>
    DEFAULT_METRICS.map(({ id: metric, kind }) => {
      const days = daysOf(period, nowMs).filter((day) => day >= joined.slice(0, 10));
      const daily = Object.fromEntries(days.map((day) => [day, usageOn(hotel, metric, day)]));
      return records.set({
        id: keyOf(usageRecord, { tenantId, metric, period }),
        tenantId,
        metric,
        period,
        current: total(kind, Object.values(daily)),
        reserved: 0,
        limit: plan && limitOf(plan.limits, metric),
        daily,
        createdAt: periodStart(period),
        updatedAt: isoTime(nowMs),
      });
    })
  );
  await store.commit([], mutations);
}

/** The value of a month: the sum of the days for a counter, the last value for a gauge. */
function total(kind: MetricKind, days: readonly number[]): number {
  return kind === "counter" ? days.reduce((sum, amount) => sum + amount, 0) : days.at(-1) ?? 0;
}

/** The last six months, oldest first, with the current one. */
function periods(nowMs: number): string[] {
  const [year = 0, month = 0] = periodOf(nowMs).split("-").map(Number);
  return Array.from({ length: MONTHS }, (_, i) => isoTime(Date.UTC(year, month - MONTHS + i, 1)).slice(0, 7));
}

function firstPeriod(nowMs: number): string {
  return periods(nowMs)[0] ?? periodOf(nowMs);
}

/** The days of the period up to today. */
function daysOf(period: string, nowMs: number): string[] {
  const last = Math.min(Date.parse(periodEnd(period)) - 1, nowMs);
  const days: string[] = [];
  for (let dayMs = Date.parse(periodStart(period)); dayMs <= last; dayMs += 86_400_000) days.push(dayOf(dayMs));
  return days;
}
