import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { createContainer } from "../../../shared/container.ts";
import type { InvoiceCreate } from "../../../shared/features/invoices/service.ts";
import { systemContext } from "../../../shared/kernel/context.ts";
import { InnkeepError } from "../../../shared/kernel/errors.ts";
import { silentLogger } from "../../../shared/kernel/logger.ts";
import type { Store } from "../../../shared/kv/store.ts";
import { codeOf } from "../../support/store.ts";
import { openTestContext, userOf } from "../../support/test-context.ts";

let context: Awaited<ReturnType<typeof openTestContext>>;
beforeAll(async () => void (context = await openTestContext()));
afterAll(() => context.close());

const basket = (unitAmount = 29900, more: Partial<InvoiceCreate> = {}): InvoiceCreate => ({
  lineItems: [{ description: "Pro, March 2026", unitAmount }],
  ...more,
});

interface Numbered {
  readonly number: string;
  readonly tenantId: string;
  readonly issuedAt: string;
}
const stored = async (family: "invoice" | "creditnote") => (await context.dump(family)).map(({ value }) => value as unknown as Numbered);

/** Every number of the series that is stored, in order, must be 1 to n. */
async function expectNoGaps(family: "invoice" | "creditnote", year = "2026"): Promise<number> {
  const numbers = (await stored(family)).map(({ number }) => number.split("-")).filter(([, of]) => of === year).map(([, , n]) => Number(n));
  expect(numbers.sort((a, b) => a - b)).toEqual(Array.from({ length: numbers.length }, (_, i) => i + 1));
  const name = `${family === "invoice" ? "invoice" : "credit-note"}-${year}`;
  const last = ((await context.store.get(`counter:${name}`))?.value as { last: number } | undefined)?.last ?? 0;
  expect(last).toBe(numbers.length);
  return numbers.length;
}

describe("the number of an invoice", () => {
  test("B14: has no gap and no duplicate after 20 rounds of 8 concurrent creations, of which some are refused and some are killed", async () => {
    const { id } = await context.tenant();
    const processes = (await context.racers(8)).map((store) => {
      const failing = failingStore(store);
      return { create: context.over(failing.store).InvoiceService, fail: failing.fail };
    });
    const before = await expectNoGaps("invoice");
    const outcomes: Record<string, number> = {};
    for (let round = 0; round < 20; round++) {
      const codes = await Promise.all(processes.map(async ({ create, fail }, i) => {
        fail(FAILURES[(round + i) % 11]);
        const wrong = (round + i) % 7 === 0 ? { total: 1 } : {};
        const code = await codeOf(create.create(id, basket(100, wrong)));
        return code.startsWith("no error") ? "created" : code;
      }));
      for (const code of codes) outcomes[code] = (outcomes[code] ?? 0) + 1;
    }
    expect(Object.keys(outcomes).sort()).toEqual(["commit_unknown", "created", "store_unavailable", "validation_failed"]);
    expect(await expectNoGaps("invoice") - before).toBe((outcomes["created"] ?? 0) + (outcomes["commit_unknown"] ?? 0));
  });

  test("B14: has no gap after 8 processes issue 20 each without a pause, and no creation fails", async () => {
    const tenants = await Promise.all(Array.from({ length: 8 }, () => context.tenant()));
    const stores = await context.racers(8);
    const before = await expectNoGaps("invoice");
    const codes = await Promise.all(stores.flatMap((store, i) => {
      const services = context.over(store);
      return Array.from({ length: 20 }, () => codeOf(services.InvoiceService.create(tenants[i]?.id ?? "", basket())));
    }));
    expect(codes.filter((code) => !code.startsWith("no error"))).toEqual([]);
    expect(await expectNoGaps("invoice") - before).toBe(160);
  });

  test("B14: is given to each of 64 concurrent creations in one process", async () => {
    const { id } = await context.tenant();
    const codes = await Promise.all(Array.from({ length: 64 }, () => codeOf(context.InvoiceService.create(id, basket()))));
    expect(codes.filter((code) => !code.startsWith("no error"))).toEqual([]);
    expect((await context.InvoiceService.list(id)).pagination.total).toBe(64);
    await expectNoGaps("invoice");
  });

  test("B14: is not used by a refused creation, and begins at 1 in each year in UTC", async () => {
    const { id } = await context.tenant();
    const { number } = await context.InvoiceService.create(id, basket(1, { id: "inv_twice" }));
    expect(await codeOf(context.InvoiceService.create(id, basket(1, { id: "inv_twice" })))).toBe("already_exists");
    expect(await codeOf(context.InvoiceService.create("tn_none", basket()))).toBe("not_found");
    const next = await context.InvoiceService.create(id, basket());
    expect(Number(next.number.slice(9)) - Number(number.slice(9))).toBe(1);
    const start = context.clock.iso();
    context.clock.set("2027-01-01T00:00:00.000Z");
    expect((await context.InvoiceService.create(id, basket())).number).toBe("INV-2027-000001");
    context.clock.set("2026-12-31T23:59:59.999Z"); // The clock was set back.
    expect((await context.InvoiceService.create(id, basket())).number).toMatch(/^INV-2026-/);
    context.clock.set(start);
    await expectNoGaps("invoice");
    await expectNoGaps("invoice", "2027");
  });

  test("B14: is the same for a repeated call with an idempotency key", async () => {
    const { id } = await context.tenant();
    const calls = await Promise.all(
      Array.from({ length: 4 }, () => context.as().InvoiceService.create(id, basket(), { idempotencyKey: "once" }).catch((error) => error)),
    );
    const made = calls.filter((call) => !(call instanceof InnkeepError));
    expect(new Set(made.map(({ number }) => number as string)).size).toBe(1);
    expect((await context.InvoiceService.list(id)).data).toHaveLength(1);
    await expectNoGaps("invoice");
  });
});

/** In every 11 creations, one process is killed before its commit and one after it. */
const FAILURES = { 0: "before", 5: "after" } as Readonly<Record<number, "before" | "after" | undefined>>;

/** The store of a process that is killed before its commit is sent, or after it, when the result is lost. */
function failingStore(store: Store) {
  let when: "before" | "after" | undefined;
  const commit: Store["commit"] = async (...args) => {
    if (when === "before") throw new InnkeepError("store_unavailable", "The process was killed before the commit.");
    const result = await store.commit(...args);
    if (when === "after" && result.ok) throw new InnkeepError("commit_unknown", "The process was killed after the commit.");
    return result;
  };
  const proxy = new Proxy(store, { get: (target, name) => name === "commit" ? commit : Reflect.get(target, name, target) as unknown });
  return { store: proxy, fail: (next: typeof when) => void (when = next) };
}

describe("an invoice", () => {
  test("B14: is pending, then paid, then refunded, each with its time, its audit entry and its event", async () => {
    const { id } = await context.tenant();
    const made = await context.InvoiceService.create(id, basket(100, { tax: 8, metadata: { order: 7 } }));
    expect(made).toMatchObject({ amount: 100, tax: 8, total: 108, currency: "USD", status: "pending", creditedTotal: 0 });
    expect([made.issuedAt, made.dueDate]).toEqual([context.clock.iso(), context.clock.iso(14 * 86_400_000)]);
    const paidAt = context.clock.iso(-1_000);
    expect(await context.InvoiceService.markPaid(id, made.id, { paidAt })).toMatchObject({ status: "paid", paidAt });
    const again = await context.InvoiceService.markPaid(`tenant:${id}`, `invoice:${id}:${made.id}`);
    expect(again).toMatchObject({ status: "paid", paidAt });
    expect(await codeOf(context.InvoiceService.void(id, made.id))).toBe("invalid_transition");
    expect(await context.InvoiceService.refund(id, made.id)).toMatchObject({ status: "refunded", refundedAt: context.clock.iso() });
    const actions = ["invoice.created", "invoice.paid", "invoice.refunded"];
    expect((await context.auditOf(id)).map(({ action }) => action).filter((action) => String(action).startsWith("invoice"))).toEqual(
      actions,
    );
    const events = (await context.dump("outbox")).map(({ value }) => value as { type: string; subject: string });
    expect(events.filter(({ subject }) => subject === made.id).map(({ type }) => type).sort()).toEqual(actions);
  });

  test("B14: whose payment failed can be paid or voided, and a voided one keeps its number", async () => {
    const { id } = await context.tenant();
    const [first, second] = [await context.InvoiceService.create(id, basket()), await context.InvoiceService.create(id, basket())];
    expect(await context.InvoiceService.markFailed(id, first.id)).toMatchObject({ status: "failed", failedAt: context.clock.iso() });
    expect(await context.InvoiceService.markPaid(id, first.id)).toMatchObject({ status: "paid" });
    await context.InvoiceService.markFailed(id, second.id);
    expect(await context.InvoiceService.void(id, second.id)).toMatchObject({ status: "void", number: second.number });
    expect(await codeOf(context.InvoiceService.markPaid(id, second.id))).toBe("invalid_transition");
    expect(await context.InvoiceService.markPaid(id, "inv_none")).toBeNull();
    await expectNoGaps("invoice");
  });

  test("B14: whose total is 0 is paid when it is issued", async () => {
    const { id } = await context.tenant();
    expect(await context.InvoiceService.create(id, basket(0))).toMatchObject({ status: "paid", paidAt: context.clock.iso(), total: 0 });
  });

  test("B16: cannot be edited or deleted by any method", () => {
    for (const name of ["put", "update", "delete"]) expect(name in context.InvoiceService, name).toBe(false);
    for (const name of ["put", "update", "delete"]) expect(name in context.CreditNoteService, name).toBe(false);
  });

  test("B14: is issued, changed and credited by the platform only, also by library calls", async () => {
    const { id } = await context.tenant();
    const made = await context.InvoiceService.create(id, basket());
    const own = context.as(userOf(id));
    const note = { invoiceId: made.id, lineItems: made.lineItems, reason: "x" };
    const codes = await Promise.all([
      codeOf(own.InvoiceService.create(id, basket())),
      codeOf(own.InvoiceService.markPaid(id, made.id)),
      codeOf(own.InvoiceService.refund(id, made.id)),
      codeOf(own.CreditNoteService.create(id, note)),
    ]);
    expect(codes).toEqual(Array(4).fill("forbidden"));
    expect(await own.InvoiceService.get(id, made.id)).toEqual(await context.InvoiceService.get(id, made.id));
  });

  test.each([["JPY", 1e12], ["KWD", 1e14]])(
    "B14: of a platform in %s is in the minor unit of the currency, and at most %d",
    async (currency, highest) => {
      const { id } = await context.tenant();
      const { store, clock } = context;
      const services = (await createContainer({ store, clock, logger: silentLogger, currency })).services(systemContext(clock));
      expect(await services.InvoiceService.create(id, basket(highest))).toMatchObject({ currency, total: highest });
      expect(await codeOf(services.InvoiceService.create(id, basket(highest, { tax: 1 })))).toBe("validation_failed");
      expect(await codeOf(services.InvoiceService.create(id, basket(1, { currency: "USD" })))).toBe("validation_failed");
    },
  );

  test("B14: that two payments and a void race for becomes either paid or void, once", async () => {
    const { id } = await context.tenant();
    const services = (await context.racers(3)).map((store) => context.over(store).InvoiceService);
    for (let round = 0; round < 20; round++) {
      const { id: invoiceId } = await context.InvoiceService.create(id, basket());
      const codes = await Promise.all([
        codeOf(services[0]?.markPaid(id, invoiceId) ?? Promise.resolve()),
        codeOf(services[1]?.markPaid(id, invoiceId) ?? Promise.resolve()),
        codeOf(services[2]?.void(id, invoiceId) ?? Promise.resolve()),
      ]);
      const after = await context.InvoiceService.get(id, invoiceId);
      expect(codes.map((code) => code.startsWith("no error"))).toEqual(
        after?.status === "paid" ? [true, true, false] : [false, false, true],
      );
    }
  });
});

describe("an invoice of a deleted tenant", () => {
  test("T10: stays readable for the platform, is in no other tenant's list, and can no longer be changed", async () => {
    const [leaving, staying] = [await context.tenant({ id: "tn_7" }), await context.tenant({ id: "tn_70" })];
    const kept = await context.InvoiceService.create(leaving.id, basket());
    const note = await context.CreditNoteService.create(leaving.id, {
      invoiceId: kept.id,
      lineItems: [{ description: "x", unitAmount: 1 }],
      reason: "y",
    });
    const other = await context.InvoiceService.create(staying.id, basket());
    await context.TenantService.delete(leaving.id);
    expect(await context.InvoiceService.get(leaving.id, kept.id)).toMatchObject({ number: kept.number, creditedTotal: 1 });
    expect((await context.InvoiceService.list(leaving.id)).data.map(({ id }) => id)).toEqual([kept.id]);
    expect((await context.CreditNoteService.list(leaving.id)).data.map(({ id }) => id)).toEqual([note.id]);
    expect((await context.InvoiceService.list(staying.id)).data.map(({ id }) => id)).toEqual([other.id]);
    expect((await context.as(userOf(staying.id)).InvoiceService.list(staying.id)).data.map(({ id }) => id)).toEqual([other.id]);
    expect(await codeOf(context.InvoiceService.list("tn_none"))).toBe("not_found");
    expect(await codeOf(context.InvoiceService.create(leaving.id, basket()))).toBe("not_found");
    expect(await codeOf(context.InvoiceService.markPaid(leaving.id, kept.id))).toBe("tenant_deleted");
    await expectNoGaps("invoice");
  });

  test("T10: is issued before the deletion or not at all, when both race", async () => {
    const stores = await context.racers(2);
    const [issuing, deleting] = stores.map((store) => context.over(store));
    for (let round = 0; round < 20; round++) {
      const { id } = await context.tenant();
      const [code] = await Promise.all([
        codeOf(issuing?.InvoiceService.create(id, basket()) ?? Promise.resolve()),
        codeOf(deleting?.TenantService.delete(id) ?? Promise.resolve()),
      ]);
      expect(code.startsWith("no error") || code === "tenant_deleted" || code === "not_found", code).toBe(true);
      expect((await stored("invoice")).filter(({ tenantId }) => tenantId === id)).toHaveLength(code.startsWith("no error") ? 1 : 0);
    }
    await expectNoGaps("invoice");
  });
});

describe("a credit note", () => {
  const credit = (invoiceId: string, unitAmount: number) => ({
    invoiceId,
    lineItems: [{ description: "Credit", unitAmount }],
    reason: "The service was down.",
  });

  test("B16: reduces what is owed, up to the total, and leaves the status of its invoice", async () => {
    const { id } = await context.tenant();
    const made = await context.InvoiceService.create(id, basket(100));
    await context.InvoiceService.markPaid(id, made.id);
    const note = await context.CreditNoteService.create(id, credit(made.id, 60));
    expect(note).toMatchObject({ number: expect.stringMatching(/^CN-2026-\d{6}$/) as string, total: 60, invoiceId: made.id });
    const refused = context.CreditNoteService.create(id, credit(made.id, 41));
    await expect(refused).rejects.toMatchObject({ code: "credit_exceeds_invoice", details: { remaining: 40 } });
    await context.CreditNoteService.create(id, credit(made.id, 40));
    expect(await context.InvoiceService.get(id, made.id)).toMatchObject({ status: "paid", creditedTotal: 100 });
    expect(await codeOf(context.CreditNoteService.create(id, credit(made.id, 0)))).toBe("validation_failed");
    const entries = (await context.auditOf(id)).filter(({ action }) => action === "credit-note.created");
    expect(entries.map(({ data }) => data)).toEqual([
      { invoice: { before: { creditedTotal: 0 }, after: { creditedTotal: 60 } } },
      { invoice: { before: { creditedTotal: 60 }, after: { creditedTotal: 100 } } },
    ]);
    await expectNoGaps("creditnote");
  });

  test("B16: is in the currency of its invoice, also after the platform's currency changed", async () => {
    const { id } = await context.tenant();
    const made = await context.InvoiceService.create(id, basket(100));
    const { store, clock } = context;
    const later = (await createContainer({ store, clock, logger: silentLogger, currency: "JPY" })).services(systemContext(clock));
    expect(await later.CreditNoteService.create(id, credit(made.id, 60))).toMatchObject({ currency: "USD", total: 60 });
    const refused = later.CreditNoteService.create(id, { ...credit(made.id, 1), currency: "JPY" });
    await expect(refused).rejects.toMatchObject({ fields: [{ path: "/currency", message: "must be the invoice's currency, USD" }] });
    await expectNoGaps("creditnote");
  });

  test("B16: is refused for another tenant's invoice, for a voided and for a refunded one", async () => {
    const [{ id }, neighbour] = [await context.tenant(), await context.tenant()];
    const foreign = await context.InvoiceService.create(neighbour.id, basket(100));
    expect(await codeOf(context.CreditNoteService.create(id, credit(foreign.id, 1)))).toBe("validation_failed");
    const made = await context.InvoiceService.create(id, basket(100));
    await context.InvoiceService.void(id, made.id);
    expect(await codeOf(context.CreditNoteService.create(id, credit(made.id, 1)))).toBe("credit_exceeds_invoice");
    await expectNoGaps("creditnote");
  });

  test("B16: of 30 for an invoice of 100 is issued to three of 8 concurrent processes, in each of 10 rounds", async () => {
    const { id } = await context.tenant();
    const processes = (await context.racers(8)).map((store) => context.over(store).CreditNoteService);
    for (let round = 0; round < 10; round++) {
      const made = await context.InvoiceService.create(id, basket(100));
      const codes = await Promise.all(processes.map((service) => codeOf(service.create(id, credit(made.id, 30)))));
      expect(codes.map((code) => code.startsWith("no error") ? "created" : code).sort())
        .toEqual([...Array<string>(3).fill("created"), ...Array<string>(5).fill("credit_exceeds_invoice")]);
      expect(await context.InvoiceService.get(id, made.id)).toMatchObject({ creditedTotal: 90, status: "pending" });
    }
    await expectNoGaps("creditnote");
  });
});
