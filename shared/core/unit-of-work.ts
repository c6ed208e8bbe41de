import canonicalize from "canonicalize";
import { jitteredPause } from "../kernel/backoff.ts";
import { isoTime } from "../kernel/clock.ts";
import type { Context, Idempotency } from "../kernel/context.ts";
import { errors, InnkeepError } from "../kernel/errors.ts";
import { type IdPrefix, loadIds, newId, newNonce } from "../kernel/ids.ts";
import type { JsonObject, JsonValue } from "../kernel/json.ts";
import { sha256Hex } from "../kernel/sha256.ts";
import type { Turns } from "../kernel/turns.ts";
import type { AnyEntity, RecordOf } from "../kv/define.ts";
import type { Check, CommitResult, Entry, Mutation, Store } from "../kv/store.ts";
import { auditEntry, auditEntryDraft } from "./audit-entry.ts";
import { Collection, parseInput, type Stored } from "./collection.ts";
import { idempotencyRecord } from "./idempotency-record.ts";
import { outboxEvent } from "./outbox-event.ts";
import type { Platform } from "./platform.ts";
import { bounded, diff } from "./redaction.ts";

/** A record before and after: the version read is checked in the commit, null means it must be absent. */
export interface Change {
  readonly entity: AnyEntity;
  readonly before: Stored<AnyEntity> | null;
  readonly after: RecordOf<AnyEntity> | null;
}

/** What the audit log says of a change; `of` is the change whose fields it shows. */
export interface AuditNote {
  readonly action: string;
  readonly resource: string;
  readonly resourceId: string;
  /** The chain it goes to; left out: the caller's own tenant's, else the platform's. */
  readonly tenantId?: string | undefined;
  readonly of?: Change;
  readonly changes?: { readonly before: JsonObject; readonly after: JsonObject };
  readonly data?: JsonObject;
}

/** An outgoing event: a row of the outbox, committed with the change. */
export interface EventNote {
  readonly type: string;
  readonly subject: string;
  readonly tenantId?: string | undefined;
  readonly data: JsonObject;
}

/** One decided transaction. What is returned is made from the versions the commit gave. */
export interface Transaction<T> {
  readonly changes?: readonly Change[];
  /** Versions the decision rests on although it does not write them. */
  readonly checks?: readonly Check[];
  readonly mutations?: readonly Mutation[];
  readonly audit: readonly AuditNote[] | "none";
  readonly events?: readonly EventNote[];
  /** A conflict on a key that reading again cannot resolve, as a typed error. */
  readonly refuse?: ((conflict: string, reason: "version" | "bounds") => InnkeepError | undefined) | undefined;
  readonly result: (committed: Extract<CommitResult, { ok: true }>) => T;
}

/** What a decision comes to: a commit, or a result that needs none. */
export type Decision<T> = { readonly commit: Transaction<T> } | { readonly done: T };

export const MAX_DECISIONS = 5;
export const IDEMPOTENCY_HOURS = 24;

/**
 * One caller's way to the store: what it may see, and the one write path. Record, claims, audit entry and outgoing event go into
 * one atomic commit. Nothing else writes, so auditing cannot be forgotten; `audit: "none"` is the visible exception.
 */
export class UnitOfWork {
  /** Entries read together with the look-up of the caller, each for its first use. */
  readonly #loaded: Map<string, Promise<Entry | null>>;
  #idempotency: Idempotency | undefined;

  /** `turns` are those of all callers of this process. */
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

  async read(key: string): Promise<Entry | null> {
    const loaded = this.#loaded.get(key);
    this.#loaded.delete(key);
    return await (loaded ?? this.store.get(key));
  }

  /** The present instant of this caller's clock, ISO. */
  now(): string {
    return isoTime(this.context.clock.now());
  }

  /** A new id of this kind. Only within a decision. */
  newId(prefix: IdPrefix): string {
    return newId(prefix, this.context.clock.now());
  }

  /**
   * Loads, decides and commits; a lost race is decided again on what is there now, up to 5 times in all, then
   * `write_conflict`. Who lost takes turns with the others who want the same record, so that many writers of
   * one do not keep another from its change. With an idempotency key, a call seen before returns what it returned then.
   */
  async transact<T extends JsonValue | object>(
    decide: () => Promise<Decision<T>> | Decision<T>,
    idempotency: Idempotency | undefined = this.#takeIdempotency(),
  ): Promise<T> {
    await loadIds();
    const first = await this.#attempt(decide, idempotency, true);
    if (!("lostTo" in first)) return first.done;
    return await this.turns.run([first.lostTo, ...first.keys], async () => {
      let lostTo = first.lostTo;
      for (let attempt = 1; attempt < MAX_DECISIONS; attempt++) {
        if (attempt > 1) await jitteredPause(attempt);
        const next = await this.#attempt(decide, idempotency, false);
        if (!("lostTo" in next)) return next.done;
        lostTo = next.lostTo;
      }
      throw errors.writeConflict(lostTo);
    });
  }

  /** A request's key is that of its first transaction. */
  #takeIdempotency(): Idempotency | undefined {
    const own = this.#idempotency;
    this.#idempotency = undefined;
    return own;
  }

  /** One decision and its commit, or the key it lost to and those it would change; `yields` to who has the turn for one of them. */
  async #attempt<T extends JsonValue | object>(
    decide: () => Promise<Decision<T>> | Decision<T>,
    idempotency: Idempotency | undefined,
    yields: boolean,
  ): Promise<{ readonly done: T } | { readonly lostTo: string; readonly keys: readonly string[] }> {
    const seen = idempotency && await this.#idempotencyRecord(idempotency);
    if (seen?.replay !== undefined) return { done: seen.replay as T };
    const decision = await decide();
    if ("done" in decision) return decision;
    const changed = this.#checksOf(decision.commit);
    const keys = changed.map(({ key }) => key);
    const checks = [...decision.commit.checks ?? [], ...changed];
    const taken = yields && checks.find(({ key }) => this.turns.isTaken(key));
    if (taken) return { lostTo: taken.key, keys };
    const result = await this.#commit(decision.commit, checks, seen);
    if (result.ok) return { done: decision.commit.result(result) };
    const refused = decision.commit.refuse?.(result.conflict, result.reason);
    if (refused) throw refused;
    return { lostTo: result.conflict, keys };
  }

  /** That the records which change are still as they were read. */
  #checksOf({ changes = [] }: Pick<Transaction<unknown>, "changes">): Check[] {
    return changes.map(({ entity, before, after }) => (
      { key: new Collection(entity, this.store).keyOfRecord(after ?? before), version: before?.version ?? null }
    ));
  }

  async #commit<T>(
    transaction: Transaction<T>,
    checks: Check[],
    idempotency: PendingIdempotency | undefined,
  ): Promise<CommitResult> {
    const { changes = [], audit, events = [] } = transaction;
    const collection = (entity: AnyEntity) => new Collection(entity, this.store);
    const mutations: Mutation[] = [...transaction.mutations ?? []];
    for (const { entity, before, after } of changes) {
      mutations.push(after ? collection(entity).set(after) : { op: "delete", key: collection(entity).keyOfRecord(before) });
    }
    for (const note of audit === "none" ? [] : audit) mutations.push(await this.#auditMutation(note));
    for (const event of events) mutations.push(this.#eventMutation(event));
    if (idempotency) {
      // The result is kept as the caller will see it, so it is built as if committed; versions are read again on replay.
      const result = transaction.result({ ok: true, versions: {}, values: {}, deleted: {} });
      const mutation = collection(idempotencyRecord).set({ ...idempotency.record, result: plainJson(result) }, {
        expiresAt: idempotency.expiresAt,
      });
      // First, so that a racing send of the same call meets itself here and not at the name it claimed.
      checks.unshift({ key: mutation.key, version: null });
      mutations.push(mutation);
    }
    return await this.store.commit(checks, mutations);
  }

  async #auditMutation(note: AuditNote): Promise<Mutation> {
    const { context } = this;
    const timestamp = this.now();
    const tenantId = note.tenantId ?? context.tenantId ?? undefined;
    const changes = (note.changes && { before: bounded(note.changes.before), after: bounded(note.changes.after) }) ??
      (note.of && diff(note.of.entity, note.of.before, note.of.after));
    const draft = plainJson({
      id: new Collection(auditEntry, this.store).key({ tenantId, timestamp, nonce: newNonce() }),
      action: note.action,
      resource: note.resource,
      resourceId: note.resourceId,
      tenantId,
      actor: context.actor,
      userId: context.actor.id,
      userEmail: context.actor.email,
      changes,
      data: note.data && bounded(note.data),
      ipAddress: context.ipAddress,
      userAgent: context.userAgent,
      requestId: context.requestId,
      timestamp,
    }) as JsonObject & { readonly id: string };
    parseInput(auditEntryDraft, draft);
    // RFC 8785; the database adds seq, prevHash and hash under the lock of the chain's head.
    const contentHash = await sha256Hex(canonicalize(draft) ?? "");
    return { op: "set", key: draft.id, value: { ...draft, contentHash }, tenantId: tenantId ?? null, cascades: false };
  }

  #eventMutation(event: EventNote): Mutation {
    const createdAt = this.now();
    return new Collection(outboxEvent, this.store).set({
      id: this.newId("evt"),
      type: event.type,
      subject: event.subject,
      createdAt,
      data: bounded(plainJson(event.data) as JsonObject) as RecordOf<typeof outboxEvent>["data"],
      ...(event.tenantId === undefined ? {} : { tenantId: event.tenantId }),
    });
  }

  async #idempotencyRecord(idempotency: Idempotency): Promise<PendingIdempotency> {
    if (idempotency.key.length < 1 || idempotency.key.length > 255) {
      throw errors.validation([{ path: "/idempotencyKey", message: "must be 1 to 255 characters", code: "invalid" }]);
    }
    const { actor, tenantId, clock } = this.context;
    const records = new Collection(idempotencyRecord, this.store);
    const record = {
      callerHash: await sha256Hex(`${actor.type}:${actor.id}:${tenantId ?? ""}`),
      keyHash: await sha256Hex(`${idempotency.operation}:${idempotency.key}`),
      ...(tenantId === null ? {} : { tenantId }),
      requestHash: await sha256Hex(canonicalize(idempotency.request) ?? ""),
      createdAt: this.now(),
    };
    const [seen] = await records.getMany([records.key(record)]);
    if (!seen) return { record, expiresAt: isoTime(clock.now() + IDEMPOTENCY_HOURS * 3_600_000) };
    if (seen.requestHash !== record.requestHash) {
      throw new InnkeepError(
        "idempotency_mismatch",
        "This idempotency key was used with another request. Use a new key for a new request.",
      );
    }
    return { record, expiresAt: "", replay: seen.result };
  }
}

interface PendingIdempotency {
  readonly record: Omit<RecordOf<typeof idempotencyRecord>, "result">;
  readonly expiresAt: string;
  readonly replay?: JsonValue;
}

/** What JSON makes of a value: members that are undefined go. */
function plainJson(value: unknown): JsonValue {
  return JSON.parse(JSON.stringify(value)) as JsonValue;
}
