import { Collection, type Stored } from "../../core/collection.ts";
import type { CreateInput } from "../../core/fields.ts";
import type { JobItem } from "../../core/job.ts";
import { type Notes, notesOf } from "../../core/notes.ts";
import { diff } from "../../core/redaction.ts";
import type { Change, Transaction, UnitOfWork } from "../../core/unit-of-work.ts";
import { errors } from "../../kernel/errors.ts";
import type { JsonObject } from "../../kernel/json.ts";
import type { Check, Entry } from "../../kv/store.ts";
import { entitlementChanges } from "../entitlements/changes.ts";
import { issuedInvoice, NUMBER_ATTEMPTS, NumberBlock } from "../invoices/changes.ts";
import { type Invoice, invoice } from "../invoices/entity.ts";
import type { PlanVersion } from "../plans/entity.ts";
import { soldTerms, versionKey } from "../plans/versions.ts";
import { movementChanges } from "../revenue/changes.ts";
import { tenant } from "../tenants/entity.ts";
import { type Billed, owing, without } from "./dunning.ts";
import { type Subscription, subscription } from "./entity.ts";
import { needsTerms, nextStep, type Step } from "./renewals.ts";
import { assertPeriod, fitted } from "./rules.ts";

type StoredInvoice = Stored<typeof invoice>;
type State = Billed<Stored<typeof subscription>, Stored<typeof tenant>>;

/** A subscription with something due. `state`: as it was read, which can be old. */
export interface DueItem extends JobItem {
  readonly tenantId: string;
  readonly state: State | null;
}

/** What a commit did to one subscription. `next`: the item after it. */
export interface Advanced {
  readonly next: DueItem;
  readonly step: Step;
  readonly invoice: Invoice | null;
}

/** A decided step with everything that its commit contains. */
interface Decided extends Pick<Transaction<unknown>, "changes" | "checks" | "mutations"> {
  readonly before: State;
  readonly step: Step;
  readonly invoice: Invoice | null;
  readonly after: Billed;
  readonly notes: readonly Notes[];
}

/** Does what is due of subscriptions, one step of each in a commit. A step that was decided on an old state is decided again. */
export class BillingRun {
  readonly #subscriptions: Collection<typeof subscription>;
  readonly #tenants: Collection<typeof tenant>;
  readonly #invoices: Collection<typeof invoice>;
  /** Versions of plans are never changed. */
  readonly #terms = new Map<string, PlanVersion>();

  /** What is due after `until` is left to the next run. */
  constructor(private readonly work: UnitOfWork, private readonly until: string) {
    this.#subscriptions = new Collection(subscription, work.store);
    this.#tenants = new Collection(tenant, work.store);
    this.#invoices = new Collection(invoice, work.store);
  }

  /** The items of due subscriptions. Those that cannot be read, or whose tenant cannot, have no state: each fails as an item. */
  async itemsOf(entries: readonly Entry[]): Promise<DueItem[]> {
    const owned = entries.flatMap((entry) => entry.tenantId === null ? [] : [{ entry, tenantId: entry.tenantId }]);
    const tenants = await this.work.store.mget(owned.map(({ tenantId }) => this.#tenants.key({ id: tenantId })));
    return owned.map(({ entry, tenantId }, i) => {
      const found = tenants[i] ?? null;
      const [record, owner] = [this.#subscriptions.readIfValid(entry), found && this.#tenants.readIfValid(found)];
      return { id: entry.key, tenantId, state: record && owner ? { subscription: record, tenant: owner } : null };
    });
  }

  /** The next step of an item as it was read, without writing it. Null if there is none. Throws what the step would. */
  async preview(item: DueItem): Promise<Step | null> {
    const state = item.state ?? (await this.#load([item]))[0] ?? null;
    return state && nextStep(state, await this.#termsOf(state.subscription), this.until);
  }

  /** Does the next step of each item in one commit. Returns those that had one. */
  async advance(items: readonly DueItem[]): Promise<Advanced[]> {
    let isFirst = true;
    let decided: Decided[] = [];
    const { version } = await this.work.transact(async () => {
      const states = isFirst ? items.map(({ state }) => state) : await this.#load(items);
      // An item without a tenant may have been deleted since the page was read.
      const current = states.includes(null) && isFirst ? await this.#load(items) : states;
      isFirst = false;
      const numbers = new NumberBlock(this.work, "invoice");
      const each = await Promise.all(current.map((state) => state && this.#decide(state, numbers)));
      decided = each.filter((one) => one !== null);
      if (decided.length === 0) return { done: {}, resultOf: null };
      const notes = decided.flatMap((one) => one.notes);
      const [only] = items.length === 1 ? items : [];
      return {
        commit: {
          changes: [...decided.flatMap(({ changes = [] }) => changes), ...numbers.changes()],
          checks: decided.flatMap(({ checks = [] }) => checks),
          mutations: decided.flatMap(({ mutations = [] }) => mutations),
          audit: notes.map(({ audit }) => audit),
          events: notes.map(({ event }) => event),
          attempts: NUMBER_ATTEMPTS,
          result: {},
        },
        resultOf: only?.tenantId ?? null,
      };
    });
    return version === null ? [] : decided.map((one) => advanced(one, version, this.#subscriptions.key(one.before.subscription)));
  }

  /** Null for a subscription that was deleted. Throws `not_found` for one without its tenant, which only an import can cause. */
  async #load(items: readonly DueItem[]): Promise<(State | null)[]> {
    const [subscriptions, tenants] = await Promise.all([
      this.#subscriptions.getMany(items.map(({ tenantId }) => this.#subscriptions.key({ tenantId }))),
      this.#tenants.getMany(items.map(({ tenantId }) => this.#tenants.key({ id: tenantId }))),
    ]);
    return items.map(({ tenantId }, i) => {
      const [record, owner] = [subscriptions[i], tenants[i]];
      if (!record) return null;
      if (!owner) throw errors.notFound("tenant", tenantId);
      return { subscription: record, tenant: owner };
    });
  }

  async #decide(before: State, numbers: NumberBlock): Promise<Decided | null> {
    const { tenantId } = before.subscription;
    const step = nextStep(before, await this.#termsOf(before.subscription), this.until);
    if (!step) return null;
    const [issued, unpaid] = await Promise.all([
      step.lines.length === 0 ? null : this.#issue(before.subscription, step, numbers),
      step.dunning ? this.#invoices.get(this.#invoices.key({ tenantId, id: step.dunning.invoiceId })) : null,
    ]);
    if (step.dunning && !unpaid) return this.#forgotten(before, step);
    const now = this.work.now();
    const owed = issued ? owing(step.subscription, issued) : step.subscription;
    const after: Billed = {
      subscription: { ...fitted(owed, step.at), updatedAt: now },
      tenant: step.tenant === before.tenant ? step.tenant : { ...step.tenant, updatedAt: now },
    };
    assertPeriod(after.subscription);
    return await this.#decided(before, step, after, issued, unpaid);
  }

  /** An unpaid invoice whose record was deleted, by its retention after 7 years, is no longer dunned. */
  #forgotten(before: State, step: Step): Promise<Decided> {
    const kept = without(before.subscription, step.dunning?.invoiceId ?? "");
    const after = { subscription: { ...fitted(kept, step.at), updatedAt: this.work.now() }, tenant: before.tenant };
    return this.#decided(before, { at: step.at, actions: ["subscription.updated"], lines: [], ...after }, after, null, null);
  }

  async #decided(before: State, step: Step, after: Billed, issued: Invoice | null, unpaid: StoredInvoice | null): Promise<Decided> {
    const renewed: Change = { entity: subscription, before: before.subscription, after: after.subscription };
    const moved: Change | null = after.tenant === before.tenant ? null : { entity: tenant, before: before.tenant, after: after.tenant };
    const made: Change | null = issued && { entity: invoice, before: null, after: issued };
    const isEntitled = moved !== null || after.subscription.status !== before.subscription.status;
    const entitled = isEntitled ? await entitlementChanges(this.work, after) : null;
    const eventData: JsonObject = { ...entitled?.eventData, effectiveAt: step.at };
    const about: JsonObject = unpaid ? { ...eventData, invoice: shownInvoice(unpaid) } : eventData;
    const changes = diff(subscription, before.subscription, after.subscription);
    // Without an entry of the subscription's own, the entry of its invoice or reminder shows how it changed.
    const isShown = step.actions.some((action) => action.startsWith("subscription."));
    const auditData: JsonObject = { effectiveAt: step.at, ...(isShown ? {} : { subscription: { ...changes } as JsonObject }) };
    const actions = step.actions.length + step.lines.length === 0 ? ["subscription.updated"] : step.actions;
    const notes = actions.map((action) => {
      if (action.startsWith("tenant.")) return notesOf(action, after.tenant.id, moved ?? renewed, { auditData, eventData: about });
      if (!action.startsWith("invoice.") || !unpaid) {
        return notesOf(action, after.subscription.id, renewed, { auditData, eventData: about });
      }
      return notesOf(action, unpaid.id, { entity: invoice, before: unpaid, after: unpaid }, { auditData, eventData });
    });
    return {
      before,
      step,
      after,
      invoice: issued,
      changes: [
        renewed,
        ...(moved ? [moved, ...await movementChanges(this.work, before.tenant, after.tenant)] : []),
        ...(made ? [made] : []),
        ...entitled?.changes ?? [],
      ],
      mutations: entitled?.mutations ?? [],
      checks: moved ? [] : [this.#check(before)],
      notes: [
        ...notes,
        ...(made && issued ? [notesOf("invoice.created", issued.id, made, { auditData, eventData: { effectiveAt: step.at } })] : []),
      ],
    };
  }

  #check({ tenant: { id, version } }: State): Check {
    return { key: this.#tenants.key({ id }), version };
  }

  async #issue({ id, tenantId }: Subscription, { lines, at, currency }: Step, numbers: NumberBlock): Promise<Invoice> {
    const input = { subscriptionId: id, lineItems: [...lines], ...(currency === undefined ? {} : { currency }) };
    return (await issuedInvoice(this.work, tenantId, input as CreateInput<typeof invoice>, { at, numbers })).record;
  }

  /** Null if the next step does not depend on them. Throws `not_found` for a version that does not exist. */
  async #termsOf(record: Subscription): Promise<PlanVersion | null> {
    if (!needsTerms(record)) return null;
    const { planId, planVersion: n } = record;
    const key = versionKey(record);
    const terms = this.#terms.get(key) ?? await soldTerms(this.work, { planId, planVersion: n });
    this.#terms.set(key, terms);
    return { ...terms, ...record.keptPrice };
  }
}

/** The item after its step. All records of a commit have one version. */
function advanced({ before, after, step, invoice }: Decided, version: string, id: string): Advanced {
  const tenant = after.tenant === before.tenant ? before.tenant : { ...after.tenant, version };
  return { next: { id, tenantId: before.tenant.id, state: { subscription: { ...after.subscription, version }, tenant } }, step, invoice };
}

function shownInvoice({ id, number, dueDate, total, status }: Invoice): JsonObject {
  return { id, number, dueDate, total, status };
}
