import { afterAll, beforeAll, expect, test } from "vitest";
import { read } from "../../architecture/sources.ts";
import { openTestContext } from "../../support/test-context.ts";

let context: Awaited<ReturnType<typeof openTestContext>>;
beforeAll(async () => void (context = await openTestContext()));
afterAll(() => context.close());

/** A `timeline` block of docs/billing.md. A line with an arrow is an audit entry; the others say what a person does. */
const timelines = [...read("docs/billing.md").matchAll(/^```timeline\n([\s\S]*?)\n```$/gm)].map(([, text = ""]) => text.split("\n"));

test("B25: docs/billing.md has time lines of renewals, trials, cancellations and unpaid invoices", () => {
  expect(timelines.length).toBeGreaterThanOrEqual(4);
});

test.each(timelines.map((lines) => [lines[0] ?? "", lines] as const))(
  "B25: the time line of docs/billing.md holds: %s",
  async (_, lines) => {
    let id = "";
    for (const line of lines) {
      const [date = "", what = ""] = line.split(/ {2}/);
      context.clock.set(`${date}T00:00:00.000Z`);
      if (!what.startsWith("→")) id = await act(what, id);
      await context.JobService.run("subscriptions");
    }
    expect(await entriesOf(id)).toEqual(lines.filter((line) => line.includes("→")));
  },
);

/** Does what a line says, and returns the tenant's id. */
async function act(what: string, id: string): Promise<string> {
  const [, plan] = /^create a tenant on (\w+)$/.exec(what) ?? [];
  const [, trial] = /^create a tenant on trial of (\w+)$/.exec(what) ?? [];
  const [, next] = /^continue on (\w+)$/.exec(what) ?? [];
  if (plan !== undefined) return (await context.tenant({ plan })).id;
  if (trial !== undefined) return (await context.tenant({ plan: trial, status: "trial" })).id;
  if (next !== undefined) {
    await context.TenantService.unsuspend(id);
    await context.SubscriptionService.reactivate(id);
    await context.SubscriptionService.upsert(id, { planId: next });
  } else if (what === "pay the invoice") {
    const [unpaid] = (await context.InvoiceService.list(id, { status: "pending" })).data;
    expect(await context.InvoiceService.markPaid(id, unpaid?.id ?? "")).not.toBeNull();
  } else if (what === "cancel at the end of the period") await context.SubscriptionService.cancel(id);
  else throw new Error(`the test does not know what "${what}" means`);
  return id;
}

interface Entry {
  readonly action: string;
  readonly timestamp: string;
  readonly data?: { readonly effectiveAt?: string };
  readonly resourceId: string;
}

/** What the job did, and what followed from payments, in the form of the page. */
async function entriesOf(id: string): Promise<string[]> {
  const entries = await context.auditOf(id) as unknown as Entry[];
  const events = (await context.dump("outbox")).map(({ value }) => value as unknown as Event);
  const isMeant = ({ action, data, resourceId }: Entry) =>
    data?.effectiveAt !== undefined ||
    events.some((one) => one.type === action && one.subject === resourceId && one.data.effectiveAt !== undefined);
  return entries.filter(isMeant).map(({ action, timestamp, data, resourceId }) => {
    const at = data?.effectiveAt ?? timestamp;
    const event = events.find((one) => one.type === action && one.subject === resourceId && (one.data.effectiveAt ?? one.createdAt) === at);
    return `${at.slice(0, 10)}  → ${action}${detailOf(event)}`;
  });
}

interface Event {
  readonly type: string;
  readonly subject: string;
  readonly createdAt: string;
  readonly data: {
    readonly effectiveAt?: string;
    readonly invoice?: { readonly total: number; readonly dueDate: string };
    readonly subscription?: { readonly status: string; readonly currentPeriodEnd: string };
  };
}

function detailOf(event: Event | undefined): string {
  if (event?.type === "invoice.created") {
    return ` ${((event.data.invoice?.total ?? 0) / 100).toFixed(2)}, due ${event.data.invoice?.dueDate.slice(0, 10)}`;
  }
  const { subscription } = event?.data ?? {};
  return subscription ? ` ${subscription.status} until ${subscription.currentPeriodEnd.slice(0, 10)}` : "";
}
