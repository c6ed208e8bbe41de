import type { JsonObject, JsonValue } from "../kernel/json.ts";
import type { Deadline } from "./deadline.ts";
import { pathOf } from "./path.ts";
import { LIMITS } from "./store.ts";
import type { WireAddition, WireMutation } from "./mutation.ts";

/** One blind single-key write on its way to the database. */
export interface WriteCall {
  readonly tenantId: string | null;
  readonly key: string;
  readonly mutation: WireMutation;
  readonly bytes: number;
  readonly deadline: Deadline;
}

/** Which calls may share a batch: those of other keys, and of one key counters that add up. */
export function joinsWrites(): (call: WriteCall) => boolean {
  const last = new Map<string, Mergeable>();
  let bytes = 0;
  return (call) => {
    const same = last.get(call.key);
    const next = mergeable(call);
    if (same ? !addUp(same, next) : last.size > 0 && bytes + call.bytes > LIMITS.commitBytes) return false;
    bytes += call.bytes;
    last.set(call.key, next);
    return true;
  };
}

/** Calls of one key alone. */
export function joinsSameKey(): (call: WriteCall) => boolean {
  let last: Mergeable | undefined;
  return (call) => {
    const next = mergeable(call);
    if (last && !(last.call.key === call.key && addUp(last, next))) return false;
    last = next;
    return true;
  };
}

/** A call with what decides whether it and another become one. */
interface Mergeable {
  readonly call: WriteCall;
  readonly form: string | null;
  /** Characters of the members it sets. */
  readonly merged: number;
}

function mergeable(call: WriteCall): Mergeable {
  const { merge } = call.mutation;
  const form = formOf(call.mutation);
  return { call, form, merged: form === null || merge === undefined ? 0 : JSON.stringify(merge).length };
}

/** The size limit looks at the record after the last call, so that must be the largest. */
function addUp(a: Mergeable, b: Mergeable): boolean {
  return a.call.tenantId === b.call.tenantId && a.form !== null && a.form === b.form && a.merged <= b.merged;
}

/** So many of these add up to a safe integer. */
const MAX_MERGED_BY = 2 ** 31;

/**
 * What calls must have in common to become one: the paths they add to and the members they set, so that each call's own
 * record follows from the last one's. Null for what stands alone: bounds belong to one call, and only integers can be
 * taken apart again.
 */
function formOf({ op, add = [], merge = {}, initial }: WireMutation): string | null {
  const isSum = ({ by, min, max }: WireAddition) =>
    Number.isSafeInteger(by) && Math.abs(by ?? 0) <= MAX_MERGED_BY && min === undefined && max === undefined;
  if (op !== "increment" || !add.every(isSum)) return null;
  const members = Object.keys(merge as JsonObject);
  if (add.some(({ path }) => members.includes(pathOf(path)[0] ?? ""))) return null;
  return JSON.stringify([add.map(({ path }) => path), members, initial !== undefined]);
}

export interface MergedWrite {
  readonly tenantId: string | null;
  readonly key: string;
  readonly mutation: WireMutation;
  /** Positions in the batch, in the order their calls came. */
  readonly calls: readonly number[];
}

/** One mutation a key: increments of the same counter are summed path by path. */
export function mergeWrites(batch: readonly WriteCall[]): MergedWrite[] {
  const positions = new Map<string, number[]>();
  for (const [i, { key }] of batch.entries()) {
    const known = positions.get(key);
    if (known) known.push(i);
    else positions.set(key, [i]);
  }
  return [...positions].map(([key, calls]) => {
    const mutations = calls.map((at) => (batch[at] as WriteCall).mutation);
    return { tenantId: batch[calls[0] ?? 0]?.tenantId ?? null, key, mutation: addTogether(mutations), calls };
  });
}

function addTogether(mutations: readonly WireMutation[]): WireMutation {
  const [first, ...others] = mutations;
  if (!first || others.length === 0) return first ?? { op: "increment" };
  const add = (first.add ?? []).map(({ path }, i) => {
    const amounts = mutations.map((mutation) => mutation.add?.[i]?.by ?? 0);
    // Whole and within these bounds, every sum on the way was a safe integer too; else each call goes alone.
    const max = Number.MAX_SAFE_INTEGER - amounts.reduce((sum, by) => sum + Math.abs(by), 0);
    return { path, by: amounts.reduce((sum, by) => sum + by, 0), min: -max, max, whole: true };
  });
  return { ...first, add, ...("merge" in first ? { merge: mutations.at(-1)?.["merge"] } : {}) };
}

/** Each call's own record: the last one's, less what came after the call, with the members the call set. */
export function takeApart(final: JsonObject, mutations: readonly WireMutation[]): JsonObject[] {
  const results: JsonObject[] = [];
  let value = final;
  for (const mutation of mutations.toReversed()) {
    results.unshift({ ...value, ...(mutation["merge"] as JsonObject | undefined) });
    if (results.length === mutations.length) break;
    for (const { path, by = 0 } of mutation.add ?? []) value = less(value, pathOf(path), by);
  }
  return results;
}

function less(value: JsonObject, path: readonly string[], by: number): JsonObject {
  const [head = "", ...rest] = path;
  const member: JsonValue | undefined = value[head];
  if (rest.length === 0) return { ...value, [head]: (typeof member === "number" ? member : 0) - by };
  return { ...value, [head]: less(isObject(member) ? member : {}, rest, by) };
}

function isObject(value: JsonValue | undefined): value is JsonObject {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}
