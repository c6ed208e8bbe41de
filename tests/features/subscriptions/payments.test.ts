import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { codeOf } from "../../support/store.ts";
import { openTestContext } from "../../support/test-context.ts";

let context: Awaited<ReturnType<typeof openTestContext>>;
beforeAll(async () => void (context = await openTestContext()));
afterAll(() => context.close());

const DAY = 86_400_000;

async function runAll(): Promise<void> {
  while ((await context.JobService.run("subscriptions")).processed > 0);
}

const invoicesOf = async (id: string) => (await context.InvoiceService.list(id, {}, "issuedAt")).data;
const stateOf = async (id: string) => {
  const subscription = await context.SubscriptionService.get(id);
  return `${subscription?.status} ${(await context.TenantService.get(id))?.status} ${subscription?.lastPaymentStatus}`;
};
const eventsOf = async (id: string) =>
  (await context.dump("outbox")).filter(({ tenantId }) => tenantId === id).map(({ value }) => String((value as { type: string }).type))
    .sort();

/** A tenant that has not paid its first invoice for so many days. */
async function debtor(days: number): Promise<{ readonly id: string; readonly invoiceId: string }> {
  const { id } = await context.tenant({ plan: "Basic" });
  await runAll();
  context.clock.advance(days * DAY);
  await runAll();
  const [first] = await invoicesOf(id);
  return { id, invoiceId: first?.id ?? "" };
}

describe("a payment", () => {
  test("B21: of the overdue invoice makes the subscription active and lifts the suspension, in one commit", async () => {
    const { id, invoiceId } = await debtor(29);
    expect(await stateOf(id)).toBe("past_due suspended pending");
    const audited = (await context.auditOf(id)).length;
    await context.InvoiceService.markFailed(id, invoiceId);
    expect(await stateOf(id)).toBe("past_due suspended failed");
    await context.InvoiceService.markPaid(id, invoiceId);
    expect(await stateOf(id)).toBe("active active paid");
    expect(await context.TenantService.get(id)).toMatchObject({ unsuspendedAt: context.clock.iso() });
    const entries = (await context.auditOf(id)).slice(audited);
    expect(entries.map(({ action }) => action)).toEqual(["invoice.failed", "invoice.paid", "subscription.recovered", "tenant.unsuspended"]);
    expect(entries[1]?.["data"]).toMatchObject({ subscription: { after: { status: "active", unpaidInvoices: [] } } });
    const keys = [`invoice:${id}:${invoiceId}`, `subscription:${id}`, `tenant:${id}`];
    expect(new Set((await context.store.mget(keys)).map((entry) => entry?.version)).size).toBe(1);
    const movements = (await context.dump("movement")).filter(({ tenantId }) => tenantId === id);
    expect(movements.map(({ value }) => (value as { kind: string }).kind).sort()).toEqual(["churn", "new", "reactivation"]);
  });

  test("B21: that is repeated, or of an invoice that is not overdue, changes nothing but the last payment", async () => {
    const { id, invoiceId } = await debtor(3);
    await context.InvoiceService.markPaid(id, invoiceId);
    expect(await stateOf(id)).toBe("active active paid");
    const before = await context.SubscriptionService.get(id);
    await context.InvoiceService.markPaid(id, invoiceId);
    expect(await context.SubscriptionService.get(id)).toEqual(before);
    await context.InvoiceService.refund(id, invoiceId);
    expect(await stateOf(id)).toBe("active active refunded");
    expect(await eventsOf(id)).toEqual(["invoice.created", "invoice.paid", "invoice.refunded", "tenant.created"]);
  });

  test("B21: of one of two overdue invoices leaves the suspension, which ends with the other one voided", async () => {
    const { id, invoiceId } = await debtor(1);
    const subscriptionId = (await context.SubscriptionService.get(id))?.id ?? "";
    const other = await context.InvoiceService.create(id, { subscriptionId, lineItems: [{ description: "Set-up", unitAmount: 500 }] });
    context.clock.advance(30 * DAY);
    await runAll();
    expect(await stateOf(id)).toBe("past_due suspended pending");
    await context.InvoiceService.markPaid(id, invoiceId);
    expect(await stateOf(id)).toBe("past_due suspended paid");
    await context.InvoiceService.void(id, other.id);
    expect(await stateOf(id)).toBe("active active paid");
  });

  test("B21: does not lift a suspension for another reason", async () => {
    const { id, invoiceId } = await debtor(29);
    await context.TenantService.suspend(id, "Abuse");
    await context.InvoiceService.markPaid(id, invoiceId);
    expect(await stateOf(id)).toBe("active suspended paid");
  });

  test("B21: an unpaid invoice that names no subscription, or another one, is not followed up", async () => {
    const { id } = await context.tenant({ plan: "Basic" });
    await runAll();
    for (const { id: invoiceId } of await invoicesOf(id)) await context.InvoiceService.markPaid(id, invoiceId);
    const lineItems = [{ description: "A visit", unitAmount: 500 }];
    await context.InvoiceService.create(id, { lineItems });
    await context.InvoiceService.create(id, { lineItems, subscriptionId: "sub_other" });
    context.clock.advance(29 * DAY);
    await runAll();
    expect(await stateOf(id)).toBe("active active paid");
  });

  test("B21: that races with the suspension ends with an active tenant, whichever is first", async () => {
    const processes = (await context.racers(2)).map((store) => context.over(store));
    for (let round = 0; round < 10; round++) {
      const { id, invoiceId } = await debtor(27);
      context.clock.advance(DAY);
      await Promise.all([
        codeOf(processes[0]?.InvoiceService.markPaid(id, invoiceId) ?? Promise.resolve()),
        codeOf(processes[1]?.JobService.run("subscriptions") ?? Promise.resolve()),
      ]);
      await runAll();
      expect(await stateOf(id), `round ${round}`).toBe("active active paid");
      expect(await context.AuditService.verify(id)).toMatchObject({ ok: true });
    }
  });

  test("T10: of a deleted tenant's invoice is refused, and no job looks for it any more", async () => {
    const { id, invoiceId } = await debtor(1);
    await context.TenantService.delete(id);
    context.clock.advance(40 * DAY);
    await runAll();
    expect(await codeOf(context.InvoiceService.markPaid(id, invoiceId))).toBe("tenant_deleted");
    expect((await context.InvoiceService.get(id, invoiceId))?.status).toBe("pending");
  });
});
