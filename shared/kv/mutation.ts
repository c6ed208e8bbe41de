import { errors, InnkeepError } from "../kernel/errors.ts";
import { findUnstorable } from "../kernel/json.ts";
import type { JsonValue } from "../kernel/json.ts";
import { isoTime } from "../kernel/clock.ts";
import { familyOf } from "./define.ts";
import { assertKey, isTimestamp, prefixRange, RESERVED_TENANT_IDS, splitKey } from "./key.ts";
import { pathLiteral } from "./path.ts";
import { wireSelection } from "./query-plan.ts";
import type { WireQuery } from "./query-plan.ts";
import { LIMITS } from "./store.ts";
import type { Addition, Check, Mutation, VersionCheck, WriteOptions } from "./store.ts";

/** A validated mutation, as the SQL functions expect it. */
export type WireMutation = {
  readonly op: string;
  readonly key?: string;
  readonly add?: readonly WireAddition[];
  readonly [member: string]: unknown;
};

/** An addition with its path as an array literal of text[]. */
export interface WireAddition {
  readonly path: string;
  readonly by?: number;
  readonly to?: number;
  readonly min?: number;
  readonly max?: number;
  readonly maxOf?: Addition["maxOf"];
  /** Set on merged calls: the result must be an integer. */
  readonly whole?: boolean;
}

/** A validated check, as the SQL functions expect it. */
export type WireCheck = VersionCheck | { readonly key: string; readonly query: WireQuery; readonly atMost: number };

/** Decimals are of intermediate versions of merged increments, which match no row. */
const VERSION = /^\d{1,18}(\.\d{3})?$/;

/** The maximum number of members of a path. */
const MAX_PATH = 32;

/** Validates a commit and encodes it for the SQL functions. Throws `invalid_key`, `validation_failed`, `payload_too_large`, `invalid_ttl`. */
export function encodeCommit(
  checks: readonly Check[],
  mutations: readonly Mutation[],
  tenantId: string | null,
  nowMs: number,
): { checks: WireCheck[]; mutations: WireMutation[]; bytes: number } {
  const count = mutations.length + checks.length;
  if (count > LIMITS.mutationsPerCommit) throw errors.tooLarge("A commit", count, LIMITS.mutationsPerCommit, "mutations and checks");
  if (mutations.filter(({ op }) => op === "deleteOwner").length > 1) {
    throw invalid("/mutations", "must not delete two tenants in one commit");
  }
  let bytes = 0;
  const seen = new Map<string, number>();
  const wire: WireMutation[] = [];
  for (const [i, mutation] of mutations.entries()) {
    const encoded = encodeMutation(mutation, tenantId, nowMs);
    bytes += encoded.bytes;
    const key = encoded.wire.key;
    const before = key === undefined ? undefined : seen.get(key);
    if (before === undefined) {
      if (key !== undefined) seen.set(key, wire.length);
      wire.push(encoded.wire);
    } else if (isPlain(encoded.wire) && isPlain(wire[before])) {
      wire[before] = encoded.wire; // The last write takes effect.
    } else {
      throw invalid(`/mutations/${i}/key`, `must not change ${key} twice in one commit`);
    }
  }
  if (bytes > LIMITS.commitBytes) throw errors.tooLarge("A commit", bytes, LIMITS.commitBytes);
  return { checks: checks.map((check) => encodeCheck(check, tenantId)), mutations: wire, bytes };
}

function encodeCheck(check: Check, tenantId: string | null): WireCheck {
  assertKey(check.key);
  if ("version" in check) {
    if (check.version !== null && !VERSION.test(check.version)) throw invalid("/checks/version", "must be a version");
    return check;
  }
  // Row-level security would hide records from the count.
  if (tenantId !== null) throw new InnkeepError("forbidden", "A tenant-bound store cannot check a count.");
  const { key, entity, where, atMost } = check;
  // JSON has no NaN: it would become null, which no count exceeds.
  if (!Number.isSafeInteger(atMost) || atMost < 0) throw invalid("/checks/atMost", "must be an integer of at least 0");
  return { key, query: wireSelection({ entity, where }, null), atMost };
}

function isPlain(wire: WireMutation | undefined): boolean {
  return wire?.op === "set" || wire?.op === "delete";
}

function encodeMutation(mutation: Mutation, tenantId: string | null, nowMs: number): { wire: WireMutation; bytes: number } {
  switch (mutation.op) {
    case "set": {
      assertKey(mutation.key);
      const { op, key, value, receipt } = mutation;
      return { wire: { op, key, value, ...(receipt ? { receipt } : {}), ...writeOptions(mutation, nowMs) }, bytes: valueBytes(value, "") };
    }
    case "delete":
      assertKey(mutation.key);
      return { wire: { op: "delete", key: mutation.key }, bytes: mutation.key.length };
    case "increment":
    case "append": {
      assertKey(mutation.key);
      const { initial, ...rest } = mutation;
      if (mutation.op === "increment") mutation.add.forEach((addition, i) => assertAddition(addition, `/add/${i}`));
      else assertAppend(mutation);
      const bytes = valueBytes(rest as unknown as JsonValue, "") + (initial ? valueBytes(initial.value, "/initial/value") : 0);
      const wire: WireMutation = mutation.op === "increment"
        ? { ...rest, add: mutation.add.map(({ path, ...addition }) => ({ path: pathLiteral(path), ...addition }) as WireAddition) }
        : { ...rest, add: [], path: pathLiteral(mutation.path) };
      return { wire: initial ? { ...wire, initial: { value: initial.value, ...writeOptions(initial, nowMs) } } : wire, bytes };
    }
    case "deletePrefix":
      return { wire: { op: "deletePrefix", ...prefixRange(mutation.prefix) }, bytes: mutation.prefix.length };
    case "deleteOwner":
      if (tenantId !== null) throw new InnkeepError("forbidden", "A tenant-bound store cannot delete a tenant.");
      assertTenantId(mutation.tenantId);
      return { wire: { op: "deleteOwner", tenantId: mutation.tenantId }, bytes: mutation.tenantId.length };
    case "purgeChain": {
      if (tenantId !== null) throw new InnkeepError("forbidden", "A tenant-bound store cannot delete audit entries.");
      const { entity, scope, ...rest } = mutation;
      return { wire: { ...rest, family: familyOf(entity), scope: scope ?? "" }, bytes: 0 };
    }
  }
}

/** Throws `invalid_key` unless the id is one segment and not reserved. */
export function assertTenantId(tenantId: string): void {
  const segments = splitKey(tenantId);
  if (segments.length !== 1 || isTimestamp(tenantId)) throw errors.invalidKey("must be one segment", "tenantId");
  if (RESERVED_TENANT_IDS.has(tenantId)) throw errors.invalidKey(`must not be ${tenantId}, which is reserved`, "tenantId");
}

function assertAddition(addition: Addition, at: string): void {
  assertPath(addition.path, `${at}/path`);
  if (!Number.isFinite(addition.by ?? addition.to)) throw invalid(`${at}/by`, "must be a finite number");
}

function assertAppend({ path, items, cap }: Extract<Mutation, { op: "append" }>): void {
  assertPath(path, "/path");
  if (!Array.isArray(items)) throw invalid("/items", "must be a list");
  if (cap !== undefined && !(Number.isSafeInteger(cap) && cap >= 1)) throw invalid("/cap", "must be an integer of at least 1");
}

function assertPath(path: readonly string[], at: string): void {
  if (path.length === 0) throw invalid(at, "must not be empty");
  if (path.length > MAX_PATH) throw invalid(at, `must have at most ${MAX_PATH} members`);
}

/** Without a tenant the database derives it: from the key's family, otherwise from the bound tenant. */
function writeOptions({ tenantId, cascades, expiresAt }: WriteOptions, nowMs: number): Record<string, unknown> {
  if (typeof tenantId === "string") assertTenantId(tenantId);
  if (expiresAt !== undefined && expiresAt !== null) assertExpiry(expiresAt, nowMs);
  return {
    ...(tenantId === undefined ? {} : { owner: tenantId }),
    ...(cascades === undefined ? {} : { cascades }),
    ...(expiresAt ? { expiresAt } : {}),
  };
}

function assertExpiry(expiresAt: string, nowMs: number): void {
  if (!isTimestamp(expiresAt)) throw invalid("/expiresAt", "must be a UTC instant with milliseconds");
  if (expiresAt > isoTime(nowMs)) return;
  throw new InnkeepError("invalid_ttl", `expiresAt must be in the future; ${expiresAt} is not.`, [
    { path: "/expiresAt", message: "must be in the future", code: "invalid_ttl" },
  ]);
}

function valueBytes(value: JsonValue, pointer: string): number {
  if (value === null || value === undefined) throw invalid(pointer, "must not be null; delete the key instead");
  const unstorable = findUnstorable(value, pointer);
  if (unstorable) throw errors.validation([unstorable]);
  const bytes = utf8Bytes(JSON.stringify(value));
  if (bytes > LIMITS.valueBytes) throw errors.tooLarge("A value", bytes, LIMITS.valueBytes);
  return bytes;
}

/** The fast path is for ASCII, in which characters are bytes. */
function utf8Bytes(text: string): number {
  // deno-lint-ignore no-control-regex
  return /^[\x00-\x7f]*$/.test(text) ? text.length : new TextEncoder().encode(text).length;
}

function invalid(path: string, message: string): InnkeepError {
  return errors.validation([{ path, message, code: "invalid" }]);
}
