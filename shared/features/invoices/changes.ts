import type { Stored } from "../../core/collection.ts";
import type { CreateInput } from "../../core/fields.ts";
import { Records } from "../../core/records.ts";
import type { Change, UnitOfWork } from "../../core/unit-of-work.ts";
import { errors, InnkeepError } from "../../kernel/errors.ts";
import { counter, type Invoice, invoice } from "./entity.ts";
import { counterName, dueDateOf, numberOf, type Series, summed, type SumsInput } from "./rules.ts";

/** How often a creation is decided again when another one took its number. Enough for 8 processes that issue without a pause. */
export const NUMBER_ATTEMPTS = 40;

interface Issued<R> {
  readonly record: R;
  /** The counter, which must be in the same commit as the record. */
  readonly changes: readonly Change[];
  readonly attempts: number;
}

/** When an invoice is issued, and the numbers of its commit. */
export interface IssueOptions {
  /** Default: now. A job that is late sets the instant at which the invoice was due to be issued. */
  readonly at?: string;
  /** Default: one number, whose change is returned. A commit with several invoices passes the block, and adds its changes itself. */
  readonly numbers?: NumberBlock;
}

/**
 * A new invoice of a tenant with the next number, for the commit of a service or job. Call it only within a decision. The input must
 * be checked. Throws `validation_failed` for amounts that do not sum, and for another currency than the platform's.
 */
export async function issuedInvoice(
  work: UnitOfWork,
  tenantId: string,
  input: CreateInput<typeof invoice>,
  { at = work.now(), numbers }: IssueOptions = {},
): Promise<Issued<Invoice>> {
  const { currency } = work.platform;
  assertCurrency(input.currency, currency, "the platform's currency");
  const fields = { ...input, ...summed(input as SumsInput, currency), currency, dueDate: dueDateOf(input.dueDate, at) };
  const block = numbers ?? new NumberBlock(work, "invoice");
  const number = await block.take(at);
  const isFree = fields.total === 0;
  const record = new Records(invoice, work).newRecord({
    ...fields,
    tenantId,
    number,
    status: isFree ? "paid" : "pending",
    ...(isFree ? { paidAt: at } : {}),
    issuedAt: at,
  });
  return { record, changes: numbers ? [] : block.changes(), attempts: NUMBER_ATTEMPTS };
}

type StoredCounter = Stored<typeof counter>;

/** The next numbers of a series, for one commit. A commit that is refused takes none. */
export class NumberBlock {
  /** By name: a commit at the turn of the year can take numbers of both years. */
  readonly #taken = new Map<string, { readonly before: Promise<StoredCounter | null>; count: number }>();
  readonly #changes = new Map<string, Change>();

  constructor(private readonly work: UnitOfWork, private readonly series: Series) {}

  async take(at: string): Promise<string> {
    const name = counterName(this.series, at);
    const taken = this.#taken.get(name) ?? { before: new Records(counter, this.work).get(name), count: 0 };
    this.#taken.set(name, taken);
    const own = ++taken.count;
    const before = await taken.before;
    const now = this.work.now();
    const first = before?.last ?? 0;
    const after = { ...(before ?? { name, createdAt: now }), last: first + taken.count, updatedAt: now };
    this.#changes.set(name, { entity: counter, before, after });
    return numberOf(this.series, at, first + own);
  }

  /** The changes of the counters, which must be in the commit. */
  changes(): Change[] {
    return [...this.#changes.values()];
  }
}

/** Also for library callers, which no route checks. Throws `forbidden` for a tenant's own user. */
export function assertPlatform({ context: { tenantId } }: UnitOfWork): void {
  if (tenantId === null) return;
  throw new InnkeepError("forbidden", "Only the platform issues, changes and credits invoices. Ask the platform's support.");
}

/** Throws `validation_failed` if the caller sends another currency: sums never mix currencies. */
export function assertCurrency(sent: string | undefined, currency: string, whose: string): void {
  if (sent === undefined || sent === currency) return;
  throw errors.validation([{ path: "/currency", message: `must be ${whose}, ${currency}`, code: "other_currency" }]);
}
