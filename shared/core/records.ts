import { errors, InnkeepError } from "../kernel/errors.ts";
import type { JsonObject } from "../kernel/json.ts";
import { assertMatch, type ChangeOptions } from "../kernel/version.ts";
import { type AnyEntity, keyFromId, keyOf, type KeyParamsOf, matchKey, type RecordOf, tenantIdOf } from "../kv/define.ts";
import { isKey } from "../kv/key.ts";
import { Collection, isChecked, markChecked, parseInput, type Stored } from "./collection.ts";
import {
  type CreateInput,
  forbiddenFields,
  generatedId,
  inputsOf,
  keptFields,
  type PutInput,
  stampsOf,
  type UpdateInput,
} from "./fields.ts";
import { changedFields, mergePatch } from "./merge-patch.ts";
import { type Notes, notesOf } from "./notes.ts";
import type { Change, Outcome, Transaction, UnitOfWork } from "./unit-of-work.ts";

/** The result of a decision: the new record, and the other parts of the commit. */
export interface Decided<R> extends Pick<Transaction<unknown>, "changes" | "checks" | "mutations" | "refuse" | "attempts"> {
  readonly record: R;
  /** Data of the audit entry, in addition to the changed fields. */
  readonly data?: JsonObject | undefined;
  /** Members of the event beside the record, which are not shortened, such as the tenant's entitlements. */
  readonly eventData?: JsonObject | undefined;
  /** The audit entries and events of records that change with it. */
  readonly notes?: readonly Notes[] | undefined;
}

/** `isUnchanged`: the record is what holds without one, and is not stored. */
type PutDecision<E> = Decided<RecordOf<E>> & { readonly action: string; readonly isUnchanged?: boolean };

/** The result of a put, and whether it created the record. */
export interface Put<E> {
  readonly record: Stored<E>;
  readonly created: boolean;
}

/** The reads of one entity, and the write frame: `create`, `change` and `remove` load, decide and commit. */
export class Records<E extends AnyEntity> extends Collection<E> {
  constructor(entity: E, private readonly work: UnitOfWork) {
    super(entity, work.store);
  }

  /** By short id or full key; null if there is no such record or the id is invalid. */
  override async get(id: string): Promise<Stored<E> | null> {
    const key = keyFromId(this.entity, id);
    const entry = isKey(key) && matchKey(this.entity, key) ? await this.work.read(key) : null;
    return entry && this.read(entry);
  }

  /** Parses the body of a create. Throws `validation_failed`, and `forbidden` for fields that the caller may not set. */
  checkCreate(data: CreateInput<E>): Record<string, unknown> {
    const input = parseInput(inputsOf(this.entity).create, data) as Record<string, unknown>;
    this.#assertMaySet(input);
    return input;
  }

  /** Parses the body of a patch. Throws `validation_failed`, and `forbidden` for fields that the caller may not set. */
  checkUpdate(updates: UpdateInput<E>): Record<string, unknown> {
    const patch = parseInput(inputsOf(this.entity).update, updates) as Record<string, unknown>;
    this.#assertMaySet(patch);
    return patch;
  }

  /** A new record from checked input, with its id, times and defaults. Call it only within a decision. */
  newRecord(input: Readonly<Record<string, unknown>>): RecordOf<E> {
    const id = generatedId(this.entity);
    const naturalKey = this.entity.naturalKey ? keyOf(this.entity, input as unknown as KeyParamsOf<E>) : undefined;
    return parseInput(this.entity.schema, {
      ...input,
      ...this.#ownTenant(input),
      ...(id ? { [id.field]: input[id.field] ?? this.work.newId(id.prefix) } : {}),
      ...(naturalKey === undefined ? {} : { id: naturalKey }),
      ...this.#stamps("create"),
    }) as RecordOf<E>;
  }

  /** Decides on a new record and commits it with its audit entry and event. Throws `already_exists`, and what `decide` throws. */
  async create(
    action: string,
    decide: () => Decided<RecordOf<E>> | Promise<Decided<RecordOf<E>>>,
    options: ChangeOptions = {},
    request: JsonObject = {},
  ): Promise<Stored<E>> {
    const { result, version } = await this.#transact<{ readonly record: RecordOf<E> }>(options, action, request, async () => {
      const decided = await decide();
      const kept = { record: this.kept(decided.record) };
      return { commit: this.#transaction(action, null, decided, kept), resultOf: this.#tenantIdOf(decided.record) };
    });
    return { ...result.record, version } as Stored<E>;
  }

  /**
   * Loads the record, decides on a change, and commits it with its audit entry and event. Returns the record as it was if nothing
   * differs, and null if it does not exist. Throws `precondition_failed`, `write_conflict`, and what `decide` throws.
   */
  async change(
    id: string,
    options: ChangeOptions,
    action: string,
    decide: (before: Stored<E>) => Decided<RecordOf<E>> | Promise<Decided<RecordOf<E>>>,
    request: JsonObject = {},
  ): Promise<Stored<E> | null> {
    const { record } = await this.#loadAndDecide(
      id,
      options,
      action,
      request,
      async (before) => before && { action, ...await decide(before) },
    );
    return record;
  }

  /** Like `change`, but `decide` can also create the record. It names the action. */
  async put(
    id: string,
    options: ChangeOptions,
    decide: (before: Stored<E> | null) => PutDecision<E> | Promise<PutDecision<E>>,
    request: JsonObject = {},
  ): Promise<Put<E>> {
    const { record, created } = await this.#loadAndDecide(id, options, `${this.entity.name}.put`, request, decide);
    if (!record) throw errors.notFound(this.entity.name, id);
    return { record, created };
  }

  /** Creates the record, or replaces every field that the caller may set. Throws `invalid_key`, `validation_failed`, `forbidden`. */
  async replace(id: string, data: PutInput<E>, options: ChangeOptions = {}): Promise<Put<E>> {
    const key = matchKey(this.entity, keyFromId(this.entity, id));
    if (!key) throw errors.invalidKey(`must be the id of one ${this.entity.name}; got ${JSON.stringify(id.slice(0, 200))}`, "id");
    const input = parseInput(inputsOf(this.entity).put, data) as Record<string, unknown>;
    this.#assertMaySet(input);
    return await this.put(id, options, (before) => {
      if (!before) return { action: `${this.entity.name}.created`, record: this.newRecord({ ...input, ...key }) };
      const { version: _, ...record } = before;
      const kept = keptFields(this.entity, this.work.context, record);
      return { action: `${this.entity.name}.updated`, record: parseInput(this.entity.schema, { ...input, ...kept }) as RecordOf<E> };
    }, { data: input as JsonObject });
  }

  async #loadAndDecide(
    id: string,
    options: ChangeOptions,
    operation: string,
    request: JsonObject,
    decide: (before: Stored<E> | null) => PutDecision<E> | null | Promise<PutDecision<E> | null>,
  ): Promise<{ readonly record: Stored<E> | null; readonly created: boolean }> {
    type Found = { readonly record: RecordOf<E> | null; readonly created: boolean };
    const { result, version } = await this.#transact<Found>(options, operation, { id, ...request }, async () => {
      const before = await this.get(id);
      if (before) this.assertMatch(before, options);
      const decided = await decide(before);
      if (!decided) return { done: { record: null, created: false }, isFailure: true };
      if (decided.isUnchanged || (before && !differs(before, decided))) {
        const record = before ?? decided.record;
        return { done: { record: this.kept(record), created: false }, resultOf: this.#tenantIdOf(record) };
      }
      if (!before && options.ifMatch !== undefined) throw errors.preconditionFailed(null);
      const { action, isUnchanged: _, ...rest } = decided;
      const record = before ? this.changed(rest.record) : rest.record;
      // `isPut`: if another caller creates the record meanwhile, the decision is repeated on that record.
      const found = { record: this.kept(record), created: before === null };
      const commit = this.#transaction(action, before, { ...rest, record }, found, true);
      return { commit, resultOf: this.#tenantIdOf(record) };
    });
    // An unchanged record keeps the version it was read with.
    const record = result.record && (version === null ? result.record : { ...result.record, version });
    return { record: record as Stored<E> | null, created: result.created };
  }

  /** Changes the record by JSON merge patch (RFC 7396). `decide` can add to the result and the commit. Null if there is no record. */
  async patch(
    id: string,
    updates: UpdateInput<E>,
    options: ChangeOptions = {},
    decide: (after: RecordOf<E>, before: Stored<E>) => Decided<RecordOf<E>> | Promise<Decided<RecordOf<E>>> = (record) => ({ record }),
  ): Promise<Stored<E> | null> {
    const patch = this.checkUpdate(updates);
    const decideOn = (before: Stored<E>) => decide(this.patched(before, patch), before);
    return await this.change(id, options, `${this.entity.name}.updated`, decideOn, { patch: patch as JsonObject });
  }

  /** The record with a checked patch applied. Throws `validation_failed` if the result does not match the schema. */
  patched(before: Stored<E>, patch: Readonly<Record<string, unknown>>): RecordOf<E> {
    const { version: _, ...record } = before;
    return parseInput(this.entity.schema, mergePatch(record, patch)) as RecordOf<E>;
  }

  /** Deletes the record and commits the audit entry and event. Returns the record, or null if there was none. */
  async remove(
    id: string,
    options: ChangeOptions,
    action: string,
    decide: (before: Stored<E>) => Omit<Decided<never>, "record"> | Promise<Omit<Decided<never>, "record">> = () => ({}),
  ): Promise<Stored<E> | null> {
    const { result } = await this.#transact<{ readonly found: Stored<E> | null }>(options, action, { id }, async () => {
      const before = await this.get(id);
      if (!before) return { done: { found: null }, isFailure: true };
      this.assertMatch(before, options);
      const commit = this.#transaction(action, before, { ...await decide(before), record: null }, { found: before });
      return { commit, resultOf: this.#tenantIdOf(before) };
    });
    return result.found;
  }

  /** Throws `precondition_failed` unless the record satisfies the conditions. */
  protected assertMatch(before: Stored<E>, options: ChangeOptions): void {
    assertMatch(before.version, options);
  }

  /** What a change returns of the record, and records with an idempotency key. */
  protected kept<R extends RecordOf<E>>(record: R): R {
    return record;
  }

  /** The id of the record in audit entries and events. */
  subjectOf(record: RecordOf<E>): string {
    const key = this.keyOfRecord(record);
    if (this.entity.naturalKey) return key;
    const fields: Readonly<Record<string, unknown>> = record;
    return typeof fields["id"] === "string" ? fields["id"] : key.slice(key.indexOf(":") + 1);
  }

  async #transact<T extends object>(
    { idempotencyKey }: ChangeOptions,
    action: string,
    request: JsonObject,
    decide: Parameters<typeof this.work.transact<T>>[0],
  ): Promise<Outcome<T>> {
    if (idempotencyKey === undefined) return await this.work.transact(decide);
    return await this.work.transact(decide, { operation: action, key: idempotencyKey, request });
  }

  #transaction<T>(
    action: string,
    before: Stored<E> | null,
    { record: after, data, eventData, notes = [], changes = [], ...rest }: Decided<RecordOf<E> | null>,
    result: T,
    isPut = false,
  ): Transaction<T> {
    const record = after ?? before as RecordOf<E>;
    const change: Change = { entity: this.entity, before, after };
    const resourceId = this.subjectOf(record);
    const own = notesOf(action, resourceId, change, { auditData: data, eventData });
    const exists = before === null && !isPut && `The ${this.entity.name} ${resourceId} already exists. Choose another id.`;
    return {
      ...rest,
      changes: [change, ...changes],
      audit: [own, ...notes].map(({ audit }) => audit),
      events: [own, ...notes].map(({ event }) => event),
      refuse: (conflict, reason) => {
        const refused = rest.refuse?.(conflict, reason);
        if (refused || !exists || conflict !== this.keyOfRecord(record)) return refused;
        return new InnkeepError("already_exists", exists);
      },
      result,
    };
  }

  /** The tenant that owns the record; null for the platform. */
  #tenantIdOf(record: RecordOf<E>): string | null {
    return tenantIdOf(this.entity, record);
  }

  /** Sets the times of the change. They cannot break the schema, so a checked record need not be parsed again. */
  protected changed(decided: RecordOf<E>): RecordOf<E> {
    const record = { ...decided, ...this.#stamps("change") } as RecordOf<E>;
    return isChecked(this.entity.schema, decided) ? markChecked(this.entity.schema, record) : record;
  }

  /** Sets the tenant of a record that a tenant's user creates. Throws `not_found` for another tenant's id. */
  #ownTenant({ tenantId: given }: Readonly<Record<string, unknown>>): { readonly tenantId?: string } {
    const { tenantId } = this.work.context;
    if (tenantId === null || this.entity.owner !== "tenant") return {};
    if (given !== undefined && given !== tenantId) throw errors.notFound("tenant", String(given));
    return { tenantId };
  }

  #stamps(when: "create" | "change"): Record<string, string> {
    return Object.fromEntries(stampsOf(this.entity, when).map((field) => [field, this.work.now()]));
  }

  /** Throws `forbidden` for fields that the caller may not set. */
  #assertMaySet(body: Readonly<Record<string, unknown>>): void {
    const { tenantId, role } = this.work.context;
    const forbidden = tenantId === null ? [] : forbiddenFields(this.entity, role, body);
    if (forbidden.length > 0) throw errors.forbiddenFields(forbidden);
  }
}

function differs(before: object, { record, changes = [], mutations = [] }: Decided<object>): boolean {
  const { version: _, ...shown } = before as { version: string };
  const changed = changedFields(shown, record as Record<string, unknown>);
  return changes.length + mutations.length + Object.keys(changed.before).length + Object.keys(changed.after).length > 0;
}
