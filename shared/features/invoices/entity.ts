import { z } from "zod";
import { byServer, changedInstant, createdInstant, createOnly, generated, given } from "../../core/fields.ts";
import { currency, instant, MAX_MINOR_UNITS, metadata, minorUnits, segment } from "../../core/values.ts";
import { defineEntity, type RecordOf } from "../../kv/define.ts";

export const INVOICE_STATUSES = ["pending", "paid", "failed", "refunded", "void"] as const;
export type InvoiceStatus = (typeof INVOICE_STATUSES)[number];

const STATUS_MEANING =
  "`pending`: issued and not paid. `failed`: a payment failed, and it is still owed. `paid`. `refunded`: the payment was " +
  "returned. `void`: cancelled before it was paid.";

const MAX_LINES = 250;
/** Characters of a full key. */
const MAX_KEY = 512;
const MINOR = "in the minor unit of `currency`";

/** An amount of a line. A negative one is a credit, such as the unused part of a period. */
const signedMinorUnits = z.int().min(-MAX_MINOR_UNITS).max(MAX_MINOR_UNITS);
const description = z.string().min(1).max(500);
const quantity = z.int().min(1).max(1e9).meta({ description: "A whole number of units." });
const unitAmount = signedMinorUnits.meta({ description: `The price of one unit, ${MINOR}. A negative price is a credit.` });
const kind = z.enum(["plan", "proration", "usage", "other"]).meta({ description: "What the line is for. It does not affect the sums." });
const linePeriod = {
  periodStart: instant.optional().meta({ description: "The start of the period that the line is for, inclusive." }),
  periodEnd: instant.optional().meta({ description: "The end of the period that the line is for, exclusive." }),
};

export const lineItem = z.looseObject({
  description,
  quantity,
  unitAmount,
  amount: signedMinorUnits.meta({ description: `quantity × unitAmount, ${MINOR}.` }),
  kind: kind.default("other"),
  ...linePeriod,
});
const lineInput = z.strictObject({
  description,
  quantity: quantity.default(1),
  unitAmount,
  amount: signedMinorUnits.optional().meta({ description: `If sent, it must be quantity × unitAmount, ${MINOR}.` }),
  kind: kind.default("other"),
  ...linePeriod,
});

/** The currency. If a caller sends it, it must be the one that applies. */
const currencyOf = (whose: string) =>
  createOnly(given(
    currency.meta({ description: "ISO 4217 code." }),
    currency.optional().meta({ description: `ISO 4217 code. If sent, it must be ${whose} currency.` }),
  ));

const at = (what: string) => byServer(instant.optional().meta({ description: what }));

/** The fields that an invoice and a credit note share. */
const sums = {
  lineItems: createOnly(given(z.array(lineItem).min(1).max(MAX_LINES), z.array(lineInput).min(1).max(MAX_LINES))),
  amount: createOnly(given(
    minorUnits.meta({ description: `The sum of the line items, ${MINOR}.` }),
    minorUnits.optional().meta({ description: `If sent, it must be the sum of the line items, ${MINOR}.` }),
  )),
  tax: createOnly(given(
    minorUnits.meta({ description: `The tax, ${MINOR}.` }),
    minorUnits.default(0).meta({ description: `The tax, ${MINOR}.` }),
  )),
  total: createOnly(given(
    minorUnits.meta({ description: `amount + tax, ${MINOR}.` }),
    minorUnits.optional().meta({ description: `If sent, it must be amount + tax, ${MINOR}.` }),
  )),
};

const EXAMPLE_SUMS = {
  currency: "USD",
  lineItems: [{
    description: "Pro, January 2026",
    quantity: 1,
    unitAmount: 29900,
    amount: 29900,
    kind: "plan" as const,
    periodStart: "2026-01-01T00:00:00.000Z",
    periodEnd: "2026-02-01T00:00:00.000Z",
  }],
  amount: 29900,
  tax: 2392,
  total: 32292,
};

export const invoice = defineEntity({
  name: "invoice",
  summary: "What a tenant owes for a period. Its amounts never change; a credit note corrects them.",
  key: "invoice:{tenantId}:{id}",
  schema: z.looseObject({
    id: generated("inv", segment),
    tenantId: byServer(segment),
    subscriptionId: createOnly(
      segment.optional().meta({
        description:
          "The subscription that the invoice is for. If it is the tenant's, an unpaid invoice makes it past due. It is not checked.",
      }),
    ),
    number: byServer(z.string().regex(/^INV-\d{4}-\d{6,}$/).meta({ description: "Without gaps in a year, over all tenants." })),
    currency: currencyOf("the platform's"),
    ...sums,
    creditedTotal: byServer(minorUnits.default(0).meta({ description: `The total of the invoice's credit notes, ${MINOR}.` })),
    status: byServer(z.enum(INVOICE_STATUSES).meta({ description: STATUS_MEANING })),
    issuedAt: byServer(instant.meta({ description: "When it was issued." })),
    dueDate: createOnly(given(
      instant.meta({ description: "When the payment is due." }),
      instant.optional().meta({ description: "When the payment is due: at most 3,650 days from now. Default: 14 days from now." }),
    )),
    paidAt: at("When it was paid."),
    failedAt: at("When a payment failed. It stays after a later payment."),
    voidedAt: at("When it was voided."),
    refundedAt: at("When the refund was recorded."),
    metadata: createOnly(metadata.optional()),
    createdAt: createdInstant(instant),
    updatedAt: changedInstant(instant.optional()),
  }),
  owner: "tenant",
  // Invoices must be kept for the tax authorities, also after the tenant is deleted.
  onTenantDelete: "retain",
  keptBecause: "Accounting records must be kept by tax and commercial law (GDPR, Article 17(3)(b)).",
  retention: { days: 2_555, after: "issuedAt" },
  filterable: ["status", "number", "subscriptionId", "issuedAt", "dueDate"],
  sortable: ["issuedAt", "dueDate", "total", "number"],
  defaultSort: "-issuedAt",
  indexes: [["@tenantId", "issuedAt"], ["status", "dueDate"], ["issuedAt"]],
  exported: true,
  example: {
    id: "inv_1767225600000_a1b2c3d4e5f6",
    tenantId: "tn_1767225600000_a1b2c3d4e5f6",
    subscriptionId: "sub_1767225600000_a1b2c3d4e5f6",
    number: "INV-2026-000123",
    ...EXAMPLE_SUMS,
    creditedTotal: 0,
    status: "pending",
    issuedAt: "2026-01-01T00:00:00.000Z",
    dueDate: "2026-01-15T00:00:00.000Z",
    createdAt: "2026-01-01T00:00:00.000Z",
  },
});

export const creditNote = defineEntity({
  name: "credit-note",
  summary: "An amount by which an invoice is reduced. It is never changed.",
  key: "creditnote:{tenantId}:{id}",
  schema: z.looseObject({
    id: generated("cn", segment),
    tenantId: byServer(segment),
    invoiceId: createOnly(
      given(segment, z.string().min(1).max(MAX_KEY).meta({ description: "The invoice's id, short or as its full key." })),
    ),
    number: byServer(z.string().regex(/^CN-\d{4}-\d{6,}$/).meta({ description: "Without gaps in a year, over all tenants." })),
    currency: currencyOf("the invoice's"),
    ...sums,
    reason: createOnly(z.string().min(1).max(500).meta({ description: "Why the invoice is credited." })),
    issuedAt: byServer(instant.meta({ description: "When it was issued." })),
    createdAt: createdInstant(instant),
  }),
  owner: "tenant",
  onTenantDelete: "retain",
  keptBecause: "Accounting records must be kept by tax and commercial law (GDPR, Article 17(3)(b)).",
  retention: { days: 2_555, after: "issuedAt" },
  filterable: ["invoiceId", "number", "issuedAt"],
  sortable: ["issuedAt", "total", "number"],
  defaultSort: "-issuedAt",
  indexes: [["@tenantId", "issuedAt"], ["issuedAt"]],
  exported: true,
  example: {
    id: "cn_1767225600000_a1b2c3d4e5f6",
    tenantId: "tn_1767225600000_a1b2c3d4e5f6",
    invoiceId: "inv_1767225600000_a1b2c3d4e5f6",
    number: "CN-2026-000007",
    ...EXAMPLE_SUMS,
    reason: "The plan was cancelled on the first day.",
    issuedAt: "2026-01-02T00:00:00.000Z",
    createdAt: "2026-01-02T00:00:00.000Z",
  },
});

export const counter = defineEntity({
  name: "counter",
  summary: "The last number of a series without gaps, such as the invoices of a year.",
  key: "counter:{name}",
  schema: z.looseObject({
    name: byServer(segment),
    last: byServer(z.int().min(1)),
    createdAt: createdInstant(instant),
    updatedAt: changedInstant(instant),
  }),
  owner: "platform",
  frequentUpdates: true,
  example: {
    name: "invoice-2026",
    last: 123,
    createdAt: "2026-01-01T00:00:00.000Z",
    updatedAt: "2026-01-31T00:00:00.000Z",
  },
});

export type Invoice = RecordOf<typeof invoice>;
export type CreditNote = RecordOf<typeof creditNote>;
export type LineItem = Invoice["lineItems"][number];
/** A line as a caller sends it. `quantity` and `kind` have defaults, and `amount` follows from the others. */
export type LineInput = z.input<typeof lineInput>;

/** The body of a payment. */
export const payment = z.strictObject({
  paidAt: instant.optional().meta({ description: "When it was paid: from 2000-01-01 on, and not in the future. Default: now." }),
});
export type Payment = z.input<typeof payment>;
