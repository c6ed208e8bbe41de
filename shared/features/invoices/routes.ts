import { crud } from "../../core/crud.ts";
import { type Route, verb } from "../../core/route.ts";
import { recordOf } from "../../core/schemas.ts";
import { subscription } from "../subscriptions/entity.ts";
import { tenant } from "../tenants/entity.ts";
import { creditNote, invoice, payment } from "./entity.ts";
import { CreditNoteService, InvoiceService } from "./service.ts";

const path = "/v1/tenants/:tenantId/invoices";
const one = `${path}/:invoiceId` as const;
const step = {
  service: InvoiceService,
  scope: "write:invoices",
  output: recordOf(invoice),
  loads: [invoice, subscription, tenant],
  errors: ["invalid_transition", "tenant_deleted"],
} as const;
const line = { description: "Pro, one month", quantity: 1, unitAmount: 29900 };
/** The id that the sample of a credit note names. */
const SAMPLE_INVOICE = "inv_sample";

/** A tenant's users read their own invoices. Only the platform issues and changes them. */
export const routes: readonly Route[] = [
  ...crud(invoice, {
    path,
    scope: "invoices",
    service: InvoiceService,
    only: ["list", "create", "get"],
    openWhenSuspended: ["list", "get"],
    errors: { create: ["tenant_deleted"] },
    descriptions: {
      create: "Issues the invoice with the next number. Omitted sums are computed; sums that you send are checked. " +
        "An invoice whose total is 0 is paid when it is issued.",
    },
    sample: { create: (n) => ({ lineItems: [{ ...line, description: `Pro, month ${n}` }], tax: 2392 }) },
  }),
  verb(`POST ${one}/pay`, {
    ...step,
    operationId: "payInvoice",
    summary: "Record that an invoice was paid",
    description: "Only of a pending or failed invoice. One that is paid already is not changed, and keeps its `paidAt`.",
    input: payment,
    inputOptional: true,
    run: async ({ service, params, body, options }) => await service.markPaid(params.tenantId, params.invoiceId, body, options),
  }),
  verb(`POST ${one}/fail`, {
    ...step,
    operationId: "failInvoice",
    summary: "Record that the payment of an invoice failed",
    description: "Only of a pending invoice. The tenant still owes it: it can be paid or voided later.",
    run: async ({ service, params, options }) => await service.markFailed(params.tenantId, params.invoiceId, options),
  }),
  verb(`POST ${one}/void`, {
    ...step,
    operationId: "voidInvoice",
    summary: "Void an invoice that is not paid",
    description: "Only of a pending or failed invoice. It keeps its number, so the series has no gap.",
    run: async ({ service, params, options }) => await service.void(params.tenantId, params.invoiceId, options),
  }),
  verb(`POST ${one}/refund`, {
    ...step,
    operationId: "refundInvoice",
    summary: "Record that the payment of an invoice was returned",
    description: "Only of a paid invoice. Returns what its credit notes have not: `total` - `creditedTotal`.",
    sample: { prepare: (service, { tenantId = "", invoiceId = "" }) => service.markPaid(tenantId, invoiceId) },
    run: async ({ service, params, options }) => await service.refund(params.tenantId, params.invoiceId, options),
  }),
  ...crud(creditNote, {
    path: "/v1/tenants/:tenantId/credit-notes",
    scope: "invoices",
    service: CreditNoteService,
    only: ["list", "create", "get"],
    openWhenSuspended: ["list", "get"],
    errors: { create: ["credit_exceeds_invoice", "tenant_deleted"] },
    descriptions: { create: "Issues a credit note with the next number. The credit notes of an invoice never sum to more than its total." },
    sample: {
      create: { invoiceId: SAMPLE_INVOICE, lineItems: [{ description: "One day", unitAmount: 100 }], reason: "The service was down." },
      prepare: (_, { tenantId = "" }, use) => use(InvoiceService).create(tenantId, { id: SAMPLE_INVOICE, lineItems: [line] }),
    },
  }),
];
