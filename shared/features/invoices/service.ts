import type { Stored } from "../../core/collection.ts";
import { parseInput } from "../../core/collection.ts";
import { TenantReadService } from "../../core/entity-service.ts";
import type { CreateInput } from "../../core/fields.ts";
import { type Decided, Records } from "../../core/records.ts";
import type { UnitOfWork } from "../../core/unit-of-work.ts";
import { errors, InnkeepError, isInnkeepError } from "../../kernel/errors.ts";
import type { JsonObject } from "../../kernel/json.ts";
import type { ChangeOptions } from "../../kernel/version.ts";
import { issueChanges, settlementChanges } from "../subscriptions/settlement.ts";
import { shortTenantId } from "../tenants/entity.ts";
import { assertCurrency, assertPlatform, issuedInvoice, NUMBER_ATTEMPTS, NumberBlock } from "./changes.ts";
import { type CreditNote, creditNote, type Invoice, invoice, type Payment, payment } from "./entity.ts";
import * as rules from "./rules.ts";

export type StoredInvoice = Stored<typeof invoice>;
export type StoredCreditNote = Stored<typeof creditNote>;
export type InvoiceCreate = CreateInput<typeof invoice>;
export type CreditNoteCreate = CreateInput<typeof creditNote>;

/** The invoices of a tenant. There is no update and no delete: a credit note corrects an invoice. */
export class InvoiceService extends TenantReadService<typeof invoice> {
  constructor(work: UnitOfWork) {
    super(work, invoice);
  }

  /** Issues an invoice with the next number. Throws `validation_failed`, `already_exists`, `not_found`, `tenant_deleted`. */
  async create(tenantId: string, data: InvoiceCreate, options: ChangeOptions = {}): Promise<StoredInvoice> {
    assertPlatform(this.work);
    const input = this.records.checkCreate(data) as InvoiceCreate;
    const id = shortTenantId(tenantId);
    return await this.records.create(
      "invoice.created",
      async () => {
        const [issued] = await Promise.all([issuedInvoice(this.work, id, input), this.tenantOf(id)]);
        const { changes = [], ...owed } = await issueChanges(this.work, issued.record);
        return { ...issued, ...owed, changes: [...issued.changes, ...changes] };
      },
      options,
      { ...input, tenantId: id } as JsonObject,
    );
  }

  /** Null if there is no such invoice. Throws `validation_failed` for a payment in the future, `invalid_transition`. */
  async markPaid(tenantId: string, invoiceId: string, data: Payment = {}, options: ChangeOptions = {}): Promise<StoredInvoice | null> {
    const { paidAt } = parseInput(payment, data);
    const move = (before: StoredInvoice) => rules.moved(before, "paid", rules.paymentTime(paidAt, this.work.now()));
    return await this.#move(tenantId, invoiceId, "invoice.paid", move, options, paidAt === undefined ? {} : { paidAt });
  }

  /** Records a payment that failed. The invoice stays owed. Null if there is no such invoice. Throws `invalid_transition`. */
  async markFailed(tenantId: string, invoiceId: string, options: ChangeOptions = {}): Promise<StoredInvoice | null> {
    return await this.#move(tenantId, invoiceId, "invoice.failed", (before) => rules.moved(before, "failed", this.work.now()), options);
  }

  /** Voids an invoice that is not paid. It keeps its number. Null if there is no such invoice. Throws `invalid_transition`. */
  async void(tenantId: string, invoiceId: string, options: ChangeOptions = {}): Promise<StoredInvoice | null> {
    return await this.#move(tenantId, invoiceId, "invoice.voided", (before) => rules.moved(before, "void", this.work.now()), options);
  }

  /** Records a refund of the payment. Null if there is no such invoice. Throws `invalid_transition`. */
  async refund(tenantId: string, invoiceId: string, options: ChangeOptions = {}): Promise<StoredInvoice | null> {
    return await this.#move(tenantId, invoiceId, "invoice.refunded", (before) => rules.moved(before, "refunded", this.work.now()), options);
  }

  async #move(
    tenantId: string,
    invoiceId: string,
    action: string,
    move: (before: StoredInvoice) => Invoice,
    options: ChangeOptions,
    request: JsonObject = {},
  ): Promise<StoredInvoice | null> {
    assertPlatform(this.work);
    try {
      return await this.records.change(this.keyOf(tenantId, invoiceId), options, action, async (before) => {
        const record = move(before);
        return record === before ? { record } : { record, ...await settlementChanges(this.work, record) };
      }, request);
    } catch (error) {
      // Null stands for a missing invoice, so what is not found is the tenant.
      if (!isInnkeepError(error, "not_found")) throw error;
      const message = `Tenant ${shortTenantId(tenantId)} was deleted. You can read its invoices but no longer change them.`;
      throw new InnkeepError("tenant_deleted", message);
    }
  }
}

/** The credit notes of a tenant. They are never changed or deleted. */
export class CreditNoteService extends TenantReadService<typeof creditNote> {
  readonly #invoices: Records<typeof invoice>;

  constructor(work: UnitOfWork) {
    super(work, creditNote);
    this.#invoices = new Records(invoice, work);
  }

  /** Credits an invoice. Throws `validation_failed`, `credit_exceeds_invoice`, and `not_found` if the tenant does not exist. */
  async create(tenantId: string, data: CreditNoteCreate, options: ChangeOptions = {}): Promise<StoredCreditNote> {
    assertPlatform(this.work);
    const input = this.records.checkCreate(data) as CreditNoteCreate;
    const id = shortTenantId(tenantId);
    return await this.records.create(
      "credit-note.created",
      () => this.#decide(id, input),
      options,
      { ...input, tenantId: id } as JsonObject,
    );
  }

  async #decide(tenantId: string, input: CreditNoteCreate): Promise<Decided<CreditNote>> {
    const now = this.work.now();
    const numbers = new NumberBlock(this.work, "credit-note");
    const [found, number] = await Promise.all([
      this.#invoices.get(invoiceKey(tenantId, input.invoiceId)),
      numbers.take(now),
      this.tenantOf(tenantId),
    ]);
    if (!found) throw unknownInvoice(input.invoiceId);
    // Not the platform's, which may have changed since the invoice was issued.
    const { id: invoiceId, currency } = found;
    assertCurrency(input.currency, currency, "the invoice's currency");
    const sums = rules.summed(input as rules.SumsInput, currency);
    rules.assertCredits(sums);
    const after: Invoice = { ...rules.credited(found, sums.total), updatedAt: now };
    return {
      record: this.records.newRecord({ ...input, ...sums, invoiceId, currency, tenantId, number, issuedAt: now }),
      changes: [{ entity: invoice, before: found, after }, ...numbers.changes()],
      attempts: NUMBER_ATTEMPTS,
      data: { invoice: { before: { creditedTotal: found.creditedTotal }, after: { creditedTotal: after.creditedTotal } } },
    };
  }
}

/** Another tenant's full key results in a key without a record. */
function invoiceKey(tenantId: string, id: string): string {
  const prefix = `invoice:${tenantId}:`;
  return id.startsWith(prefix) ? id : `${prefix}${id}`;
}

function unknownInvoice(id: string) {
  return errors.validation([{
    path: "/invoiceId",
    message: `must be the id of an invoice of this tenant; ${id.slice(0, 100)} is not`,
    code: "unknown_invoice",
  }]);
}
