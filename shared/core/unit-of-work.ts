import canonicalize from "canonicalize";
import { jitteredPause } from "../kernel/backoff.ts";
import { isoTime } from "../kernel/clock.ts";
import type { Context, Idempotency } from "../kernel/context.ts";
import { errors, isInnkeepError } from "../kernel/errors.ts";
import { type IdPrefix, loadIds, newId, newNonce } from "../kernel/ids.ts";
import { type JsonObject, plainJson } from "../kernel/json.ts";
import { sha256Hex } from "../kernel/sha256.ts";
import type { Turns } from "../kernel/turns.ts";
import type { AnyEntity, RecordOf } from "../kv/define.ts";
import type { Check, CommitResult, Entry, Mutation, Store } from "../kv/store.ts";
import { isDerivedAction } from "./actions.ts";
import { auditEntry, auditEntryDraft } from "./audit-entry.ts";
import { Collection, parseInput } from "./collection.ts";
import { KeyedCall, type Outcome } from "./keyed-call.ts";
import { outboxEvent } from "./outbox-event.ts";
import { personalValues } from "./personal-data.ts";
import type { OpenDraft } from "./personal-keys.ts";
import type { Platform } from "./platform.ts";
import { previewOf } from "./preview.ts";
import { bounded, diff, eventData } from "./redaction.ts";
import type { AuditNote, Change, Decision, EventNote, Transaction } from "./transaction.ts";

export type { AuditNote, Change, Decision, EventNote, Outcome, Transaction };
const MAX_DECISIONS = 5;

/**
 * A caller's access to the store and its only write path. It commits record, claims, audit entry and outgoing event atomically,
 * so a change cannot skip the audit log. `audit: "none"` is the explicit exception.
 */
export class UnitOfWork {
  /** Entries that were read with the look-up of the caller. Each serves one read. */
  readonly #loaded: Map<string, Promise<Entry | null>>;
  #idempotency: Idempotency | undefined;
  #replayed = false;

  /** All callers of this process share `turns`. */
  constructor(
    readonly store: Store,
    readonly context: Context,
    readonly platform: Platform,
    private readonly turns: Turns,
    loaded: readonly (readonly [key: string, entry: Promise<Entry | null>])[] = [],
  ) {
    this.#loaded = new Map(loaded);
    this.#idempotency = context.idempotency;
  }

  /** Whether the entry was read with the caller, so that `read` takes no round trip. */
  isLoaded(key: string): boolean {
    return this.#loaded.has(key);
  }

  async read(key: string): Promise<Entry | null> {
    const loaded = this.#loaded.get(key);
    this.#loaded.delete(key);
    return await (loaded ?? this.store.get(key));
  }

  /** The current instant of the caller's clock, `YYYY-MM-DDTHH:mm:ss.sssZ`. */
  now(): string {
    return isoTime(this.context.clock.now());
  }

  /** A new id with this prefix. Call it only within a decision, before which `transact` loads the generator. */
  newId(prefix: IdPrefix): string {
    return newId(prefix, this.context.clock.now());
  }

  /**
   * Decides and commits. After a conflict it repeats both, up to `attempts` times in all, then throws `write_conflict`. Writers of this
   * process that lost take turns on the record, so that none of them starves. With an idempotency key, a repeated call returns
   * the recorded outcome.
   */
  async transact<R extends object>(
    decide: () => Promise<Decision<R>> | Decision<R>,
    idempotency: Idempotency | undefined = this.#takeIdempotency(),
  ): Promise<Outcome<R>> {
    await loadIds();
    const call = idempotency && await KeyedCall.of(this.store, this.context, idempotency);
    const first = await this.#attempt(decide, call, true);
    if (!("lostTo" in first)) return first.done;
    return await this.turns.run([first.lostTo, ...first.keys], async () => {
      let lostTo = first.lostTo;
      for (let attempt = 1; attempt < first.attempts; attempt++) {
        if (attempt > 1) await jitteredPause(attempt);
        const next = await this.#attempt(decide, call, false);
        if (!("lostTo" in next)) return next.done;
        lostTo = next.lostTo;
      }
      throw errors.writeConflict(lostTo);
    });
  }

  /** The same caller over a store that keeps what is written in memory: its services decide and refuse as they would. */
  preview(): UnitOfWork {
    const { idempotency: _, ...context } = this.context;
    const platform = { ...this.platform, personal: this.platform.personal.unsealed() };
    return new UnitOfWork(previewOf(this.store), context, platform, this.turns);
  }

  /** The request's idempotency key, until its first transaction uses it. */
  get idempotency(): Idempotency | undefined {
    return this.#idempotency;
  }

  /** Whether a transaction returned a recorded outcome instead of committing. */
  get replayed(): boolean {
    return this.#replayed;
  }

  #takeIdempotency(): Idempotency | undefined {
    const own = this.#idempotency;
    this.#idempotency = undefined;
    return own;
  }

  /** Decides and commits once, or returns the conflicting key. With `yields`, a key whose turn another writer has is a conflict too. */
  async #attempt<R extends object>(
    decide: () => Promise<Decision<R>> | Decision<R>,
    call: KeyedCall | undefined,
    yields: boolean,
  ): Promise<Attempt<R>> {
    const seen = await this.#seen<R>(call);
    if (seen) return seen;
    const decision = await this.#decideOrSee(decide, call);
    if (!("commit" in decision)) return decision;
    const changed = this.#checksOf(decision.commit);
    const keys = changed.map(({ key }) => key);
    const { attempts = MAX_DECISIONS } = decision.commit;
    const checks = [...decision.commit.checks ?? [], ...changed];
    const taken = yields && checks.find(({ key }) => this.turns.isTaken(key));
    if (taken) return { lostTo: taken.key, keys, attempts };
    // First, so that a concurrent send of the same call conflicts on this key and not on a name that both claim.
    if (call) checks.unshift(call.check);
    const kept = () => call?.mutations(decision.commit.result, decision.resultOf, true);
    const tenantId = createsTenant(decision.commit) ? null : decision.resultOf;
    const result = await unlessDeleted(tenantId, this.#commit(decision.commit, checks, kept));
    if (result.ok) return { done: outcome(decision.commit.result, result) };
    const refused = decision.commit.refuse?.(result.conflict, result.reason);
    if (refused) throw refused;
    return { lostTo: result.conflict, keys, attempts };
  }

  async #seen<R>(call: KeyedCall | undefined): Promise<{ readonly done: Outcome<R> } | null> {
    const seen = await call?.seen();
    if (!seen) return null;
    this.#replayed = true;
    return { done: seen as Outcome<R> };
  }

  /**
   * A result without changes is recorded under the idempotency key too, so that a repeated call changes nothing. An error is not
   * recorded. It may occur because another process has just made the same call; then that outcome is returned.
   */
  async #decideOrSee<R extends object>(
    decide: () => Promise<Decision<R>> | Decision<R>,
    call: KeyedCall | undefined,
  ): Promise<Extract<Decision<R>, { readonly commit: unknown }> | Attempt<R>> {
    let decision: Decision<R>;
    try {
      decision = await decide();
    } catch (error) {
      const seen = await this.#seen<R>(call);
      if (seen) return seen;
      throw error;
    }
    if ("commit" in decision) return decision;
    const { done } = decision;
    if (!call) return { done: outcome(done, NOTHING) };
    if (decision.isFailure) return await this.#seen<R>(call) ?? { done: outcome(done, NOTHING) };
    const result = await unlessDeleted(decision.resultOf, this.store.commit([call.check], call.mutations(done, decision.resultOf, false)));
    return result.ok ? { done: outcome(done, NOTHING) } : { lostTo: result.conflict, keys: [], attempts: MAX_DECISIONS };
  }

  /** The checks that the changed records still have the versions they were read with. */
  #checksOf({ changes = [] }: Pick<Transaction<unknown>, "changes">): Check[] {
    return changes.map(({ entity, before, after }) => (
      { key: new Collection(entity, this.store).keyOfRecord(after ?? before), version: before?.version ?? null }
    ));
  }

  async #commit(
    transaction: Transaction<object>,
    checks: readonly Check[],
    kept: () => readonly Mutation[] | undefined,
  ): Promise<CommitResult> {
    const { changes = [], audit, events = [] } = transaction;
    const collection = (entity: AnyEntity) => new Collection(entity, this.store);
    const mutations: Mutation[] = [...transaction.mutations ?? []];
    for (const { entity, before, after } of changes) {
      mutations.push(after ? collection(entity).set(after) : { op: "delete", key: collection(entity).keyOfRecord(before) });
    }
    const { personal } = this.platform;
    const { drafts, keys, remember } = await personal.seal(
      await Promise.all((audit === "none" ? [] : audit).map((note) => this.#draft(note))),
    );
    for (const draft of drafts) mutations.push(await this.#auditMutation(draft));
    mutations.push(...events.map((event, position) => this.#eventMutation(event, position)));
    mutations.push(...kept() ?? []);
    const isBound = this.store.tenantId !== null;
    if (isBound) await personal.store(keys);
    const result = await this.store.commit(checks, isBound ? mutations : [...mutations, ...keys])
      .finally(() => this.platform.records.forget(mutations));
    if (isBound || result.ok) remember();
    return result;
  }

  async #draft(note: AuditNote): Promise<OpenDraft> {
    const context = note.anonymous ? withoutPerson(this.context) : this.context;
    await this.#assertDeclared(note);
    const timestamp = this.now();
    const tenantId = note.tenantId ?? context.tenantId ?? undefined;
    const changes = (note.changes && { before: bounded(note.changes.before), after: bounded(note.changes.after) }) ??
      (note.of && diff(note.of.entity, note.of.before, note.of.after));
    const draft = plainJson({
      id: new Collection(auditEntry, this.store).key({ tenantId, timestamp, nonce: newNonce() }),
      action: note.action,
      actionVersion: note.actionVersion,
      resource: note.resource,
      resourceId: note.resourceId,
      tenantId,
      actor: context.actor,
      userId: context.actor.id,
      userEmail: context.actor.email,
      changes,
      data: note.data && bounded(note.data),
      reported: note.reported,
      ipAddress: context.ipAddress,
      userAgent: context.userAgent,
      requestId: context.requestId,
      timestamp,
    }) as JsonObject;
    return { draft, personal: await personalValues(draft, note, context.actor) };
  }

  async #auditMutation(draft: JsonObject): Promise<Mutation> {
    const { id, tenantId } = parseInput(auditEntryDraft, draft);
    // RFC 8785; the database adds seq, prevHash and hash under the lock of the chain's head.
    const contentHash = await sha256Hex(canonicalize(draft) ?? "");
    return { op: "set", key: id, value: { ...draft, contentHash }, tenantId: tenantId ?? null, cascades: false };
  }

  /** An undeclared action is a mistake of the program. An action with a version is declared by a record, which its writer has read. */
  async #assertDeclared({ action, of, actionVersion }: AuditNote): Promise<void> {
    const { actions, registry } = this.platform;
    if (actionVersion !== undefined || Object.hasOwn(actions, action) || (of && isDerivedAction(action, of.entity))) return;
    if ((await registry()).some((entity) => isDerivedAction(action, entity))) return;
    throw new Error(`The action ${action} is not declared. Add it to the actions of its feature in shared/features/index.ts.`);
  }

  #eventMutation(event: EventNote, position: number): Mutation {
    const createdAt = this.now();
    return new Collection(outboxEvent, this.store).set({
      id: event.id ?? this.newId("evt"),
      type: event.type,
      subject: event.subject,
      createdAt,
      queuedAt: createdAt,
      ...(position === 0 ? {} : { position }),
      data: eventData(plainJson(event.data) as JsonObject, plainJson(event.whole ?? {}) as JsonObject) as RecordOf<
        typeof outboxEvent
      >["data"],
      ...(event.tenantId === undefined ? {} : { tenantId: event.tenantId }),
    });
  }
}

/** The context without the personal data of its actor. */
function withoutPerson({ actor: { type, id }, ipAddress: _, userAgent: __, ...context }: Context): Context {
  return { ...context, actor: { type, id } };
}

type Attempt<R> = { readonly done: Outcome<R> } | Lost;
interface Lost {
  readonly lostTo: string;
  readonly keys: readonly string[];
  readonly attempts: number;
}
type Committed = Extract<CommitResult, { ok: true }>;

const NOTHING: Committed = { ok: true, versions: {}, values: {}, deleted: {} };

function createsTenant({ changes = [] }: Pick<Transaction<unknown>, "changes">): boolean {
  return changes.some(({ entity, before }) => entity.owner === "self" && before === null);
}

/** A commit for a tenant that was deleted since the decision. Throws `not_found`, like a decision after the deletion. */
export async function unlessDeleted<T>(tenantId: string | null, commit: Promise<T>): Promise<T> {
  try {
    return await commit;
  } catch (error) {
    throw tenantId !== null && isInnkeepError(error, "tenant_deleted") ? errors.notFound("tenant", tenantId) : error;
  }
}

/** The version of a commit, which all its writes share. */
function outcome<R>(result: R, { versions, values, deleted }: Committed): Outcome<R> {
  return { result, version: Object.values(versions)[0] ?? null, values, deleted };
}
