import type { InnkeepError } from "../kernel/errors.ts";
import type { JsonObject } from "../kernel/json.ts";
import type { AnyEntity, RecordOf } from "../kv/define.ts";
import type { Check, Mutation } from "../kv/store.ts";
import type { Stored } from "./collection.ts";

/** A record before and after. The commit checks the version of `before`; null means that the record must not exist. */
export interface Change {
  readonly entity: AnyEntity;
  readonly before: Stored<AnyEntity> | null;
  readonly after: RecordOf<AnyEntity> | null;
}

/** The content of an audit entry. `of` is the change whose fields it shows. */
export interface AuditNote {
  readonly action: string;
  /** The version of an action that is declared by a record, not by the program. */
  readonly actionVersion?: number;
  /** What another service says of it: its id there, the time and the actor. */
  readonly reported?: JsonObject;
  readonly resource: string;
  readonly resourceId: string;
  /** The tenant of the chain. Default: the caller's own tenant, else the platform. */
  readonly tenantId?: string | undefined;
  readonly of?: Change;
  /** Whose personal fields `changes` and `data` have. Default: that of `of`. */
  readonly entity?: AnyEntity | undefined;
  readonly changes?: { readonly before: JsonObject; readonly after: JsonObject };
  readonly data?: JsonObject;
  /** Without the actor's personal data: of an erasure, which may be the actor's own. */
  readonly anonymous?: boolean;
}

/** An outgoing event: a row of the outbox, committed with the change. */
export interface EventNote {
  /** The id, if a record of the commit names the event. */
  readonly id?: string | undefined;
  readonly type: string;
  readonly subject: string;
  readonly tenantId?: string | undefined;
  /** Long members are replaced by their size. */
  readonly data: JsonObject;
  /** Members that receivers need whole. */
  readonly whole?: JsonObject | undefined;
}

/** One decided transaction. */
export interface Transaction<R> {
  readonly changes?: readonly Change[];
  /** Versions that the decision depends on, of entries that it does not write. */
  readonly checks?: readonly Check[];
  readonly mutations?: readonly Mutation[];
  readonly audit: readonly AuditNote[] | "none";
  readonly events?: readonly EventNote[];
  /** Returns the error for a conflict that a repeated decision cannot resolve, else undefined. */
  readonly refuse?: ((conflict: string, reason: "version" | "bounds") => InnkeepError | undefined) | undefined;
  /** Decisions in all before `write_conflict`. Default: 5. More for a record that many processes change, such as a counter. */
  readonly attempts?: number | undefined;
  /** The result, as JSON. An idempotency key stores it and returns it again, so it must not contain what is shown only once. */
  readonly result: R;
}

/**
 * A commit, or a result without one. `resultOf`: the tenant that the result belongs to (null: the platform), with which the recorded
 * result is deleted. `isFailure`: the caller reports an error, so the idempotency key does not record the result.
 */
export type Decision<R> =
  | { readonly commit: Transaction<R>; readonly resultOf: string | null }
  | { readonly done: R; readonly resultOf: string | null; readonly isFailure?: false }
  | { readonly done: R; readonly isFailure: true };
