import type { JsonObject, JsonValue } from "../kernel/json.ts";
import type { Condition } from "./condition.ts";
import type { AnyEntity } from "./define.ts";

/**
 * The key must have this version; null means that it must be absent or expired. The check holds until the commit. Exception: a
 * tenant-bound check of a platform record is protected against commits, but not against a plain `set` or `increment` of it.
 */
export interface VersionCheck {
  readonly key: string;
  readonly version: string | null;
}

/**
 * At most so many records of the entity may match before the commit. They are counted under the lock of the key, which need not
 * exist: no commit that checks or writes the same key comes between the count and the end of this one. Service level only.
 */
export interface CountCheck {
  readonly key: string;
  readonly entity: AnyEntity;
  readonly where?: readonly Condition[];
  readonly atMost: number;
}

export type Check = VersionCheck | CountCheck;

export interface WriteOptions {
  /** The ISO instant at which the entry expires. It must be in the future (`invalid_ttl`). */
  readonly expiresAt?: string | null;
  /** Default: derived from the key's declaration, otherwise the bound tenant, otherwise the platform. */
  readonly tenantId?: string | null;
  /** Whether the entry is deleted with its tenant. Default: as declared, otherwise true. */
  readonly cascades?: boolean;
}

/** Adds `by` to the number at `path` (0 if missing), or sets it `to` a value, for gauges. */
export type Addition =
  & {
    readonly path: readonly string[];
    /** Bounds of the result, else `conflict` with the reason "bounds". `maxOf`: `percent` (100) of a top-level number, to 6 decimals. */
    readonly min?: number;
    readonly max?: number;
    readonly maxOf?: { readonly member: string; readonly percent?: number };
  }
  & ({ readonly by: number; readonly to?: never } | { readonly to: number; readonly by?: never });

export interface IncrementOptions {
  /** The value to start from if the key is absent. */
  readonly initial?: { readonly value: JsonObject } & WriteOptions;
  /** Top-level members to set in the same step, e.g. `updatedAt`. */
  readonly merge?: JsonObject;
}

export type Mutation =
  /**
   * The value, an object, gets a member `receipt` with `values` of the commit's result, where an increment asks for it, and
   * `deleted`. The limit of a value's size does not count it.
   */
  | ({ readonly op: "set"; readonly key: string; readonly value: JsonValue; readonly receipt?: boolean } & WriteOptions)
  | { readonly op: "delete"; readonly key: string }
  /** `receipt`: receipts of the commit show the record. */
  | ({ readonly op: "increment"; readonly key: string; readonly add: readonly Addition[]; readonly receipt?: boolean } & IncrementOptions)
  /** Appends to the array at `path`, which is created if missing, and keeps the last `cap` items. */
  | ({
    readonly op: "append";
    readonly key: string;
    readonly path: readonly string[];
    readonly items: readonly JsonValue[];
    readonly cap?: number;
  } & IncrementOptions)
  /** Deletes everything under a prefix of whole segments in one statement. */
  | { readonly op: "deletePrefix"; readonly prefix: string }
  /** The cascade: deletes the tenant's entries and marks its id as deleted for good. Service level only. */
  | { readonly op: "deleteOwner"; readonly tenantId: string }
  /**
   * Deletes the oldest entries of one audit chain, up to `seq`, at most 1,000. Refused with `append_only` unless the entry `seq`
   * has this hash, is below the head, and all of them are older than `before`. Service level only.
   */
  | {
    readonly op: "purgeChain";
    readonly entity: AnyEntity;
    /** The tenant; null for the platform. */
    readonly scope: string | null;
    readonly seq: number;
    readonly hash: string;
    readonly before: string;
  };

export type CommitResult =
  | {
    readonly ok: true;
    /** The version of every written key. All keys of a commit have the same version. */
    readonly versions: Readonly<Record<string, string>>;
    /** The records after `increment` and `append` by key; null if the key was absent and had no `initial`. */
    readonly values: Readonly<Record<string, JsonObject | null>>;
    /** The number of deleted live entries by entity, or by the first segment of undeclared keys. */
    readonly deleted: Readonly<Record<string, number>>;
  }
  | { readonly ok: false; readonly conflict: string; readonly reason: "version" | "bounds" };
