import { expect } from "vitest";
import { type Invoice, invoice } from "../../../shared/features/invoices/entity.ts";
import type { JobReport } from "../../../shared/features/jobs/service.ts";
import { openTestContext } from "../../support/test-context.ts";

type Context = Awaited<ReturnType<typeof openTestContext>>;

const DAY_MS = 86_400_000;
/** The last day of a month, so that the anchor is 31. */
const START = "2026-01-31T09:00:00.000Z";
const LIMITS = { users: 5 };

/** An event of the year as a line of the golden list: instant, tenant, type, and an amount or date. */
interface Line {
  readonly at: string;
  readonly tenant: string;
  readonly type: string;
  readonly detail: string;
}

/** Tenants that are billed for 400 days on a clock that a test moves. */
export class Year {
  readonly #lines = new Map<string, Line>();
  readonly #names = new Map<string, string>();
  readonly #debts = new Set<string>();

  private constructor(readonly context: Context) {}

  static async open(): Promise<Year> {
    const year = new Year(await openTestContext());
    year.context.clock.set(START);
    await year.#populate();
    return year;
  }

  get names(): ReadonlyMap<string, string> {
    return this.#names;
  }

  idOf(name: string): string {
    const [id] = [...this.#names].find(([, known]) => known === name) ?? [];
    if (id === undefined) throw new Error(`there is no tenant ${name}`);
    return id;
  }

  async #populate(): Promise<void> {
    const { PlanService, SubscriptionService, RetentionService } = this.context;
    const plan = (name: string, price: number, more: object) =>
      PlanService.create({ name, price, currency: "USD", interval: "monthly", limits: LIMITS, ...more });
    await plan("Yearly", 299_000, { interval: "yearly" });
    await plan("Fortnight", 15_000, { interval: "weekly", intervalCount: 2 });
    await plan("Thirty", 30_000, { interval: "daily", intervalCount: 30 });
    await plan("TryPro", 29_900, { trialDays: 14 });
    await RetentionService.put("events", { type: "outbox-event", retentionDays: 60, enabled: true });
    const plans = {
      "monthly": { plan: "Pro" },
      "yearly": { plan: "Yearly" },
      "fortnightly": { plan: "Fortnight" },
      "thirty-days": { plan: "Thirty" },
      "trial-of-pro": { plan: "TryPro", status: "trial" },
      "free-trial": { plan: "Trial", status: "trial" },
      "leaving": { plan: "Pro" },
      "late-payer": { plan: "Pro" },
      "upgrading": { plan: "Pro" },
      "held": { plan: "Basic", metadata: { legalHold: true } },
    } as const;
    for (const [name, given] of Object.entries(plans)) {
      const { id } = await this.context.tenant({ subdomain: name, ...given });
      this.#names.set(id, name);
    }
    this.#debts.add(this.idOf("late-payer"));
    await SubscriptionService.cancel(this.idOf("leaving"));
  }

  /** Moves the clock to a day, and does what is due. Before each run of the job, the payments until then are recorded. */
  async goTo(day: number): Promise<void> {
    this.context.clock.set(new Date(Date.parse(START) + day * DAY_MS).toISOString());
    for (let left: number | null = 1; left !== 0;) {
      await this.#pay();
      const { processed, remaining, errors } = await this.#run("subscriptions");
      expect(errors).toEqual([]);
      left = processed + (remaining ?? 0);
    }
  }

  /** What a person does on day 45, in every walk. */
  async upgrade(): Promise<void> {
    await this.context.SubscriptionService.upsert(this.idOf("upgrading"), { planId: "Enterprise" });
  }

  /** Deletes what is older than its policy. The events are read before. */
  async cleanUp(): Promise<void> {
    await this.#collect();
    while (!(await this.#run("cleanup")).complete);
  }

  async #run(job: string): Promise<JobReport> {
    return await this.context.as({ actor: { type: "system", id: "jobs" } }).JobService.run(job);
  }

  /** Invoices are paid two days after they are issued. The late payer pays its first one five days after its suspension. */
  async #pay(): Promise<void> {
    const { store, clock, InvoiceService, TenantService } = this.context;
    const { entries } = await store.query({ entity: invoice, where: [{ field: "status", in: ["pending"] }], limit: 100 });
    for (const { id, tenantId, issuedAt } of entries.map(({ value }) => value as unknown as Invoice)) {
      const isLate = this.#debts.has(tenantId);
      const since = isLate ? (await TenantService.get(tenantId))?.suspendedAt : issuedAt;
      const paidAt = since && new Date(Date.parse(since) + (isLate ? 5 : 2) * DAY_MS).toISOString();
      if (paidAt === undefined || paidAt > clock.iso()) continue;
      await InvoiceService.markPaid(tenantId, id, { paidAt });
      this.#debts.delete(tenantId);
    }
  }

  async #collect(): Promise<void> {
    for (const { key, value } of await this.context.dump("outbox")) {
      const { type, data, createdAt, tenantId } = value as unknown as OutboxEvent;
      const tenant = this.#names.get(tenantId ?? "");
      if (tenant === undefined || this.#lines.has(key)) continue;
      const at = data.effectiveAt ?? data.invoice?.paidAt ?? createdAt;
      this.#lines.set(key, { at, tenant, type, detail: detailOf(type, data) });
    }
  }

  /** The golden list: one event a line, in the order of their instants. */
  async lines(): Promise<string[]> {
    await this.#collect();
    return [...this.#lines.values()].map(({ at, tenant, type, detail }) =>
      `${at}  ${tenant.padEnd(12)}  ${type.padEnd(24)}  ${detail}`.trim()
    )
      .sort();
  }
}

interface OutboxEvent {
  readonly type: string;
  readonly tenantId?: string;
  readonly createdAt: string;
  readonly data: {
    readonly effectiveAt?: string;
    readonly invoice?: Partial<Invoice>;
    readonly subscription?: { readonly status: string; readonly currentPeriodEnd: string; readonly planId: string };
    readonly tenant?: { readonly status: string };
  };
}

function detailOf(type: string, { invoice, subscription, tenant }: OutboxEvent["data"]): string {
  if (type.startsWith("invoice.")) return `${((invoice?.total ?? 0) / 100).toFixed(2)} USD, due ${invoice?.dueDate?.slice(0, 10) ?? ""}`;
  if (type.startsWith("tenant.")) return tenant?.status ?? "";
  return `${subscription?.planId} ${subscription?.status}, until ${subscription?.currentPeriodEnd.slice(0, 10)}`;
}
