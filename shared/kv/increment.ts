import type { JsonObject, JsonValue } from "../kernel/json.ts";
import type { Deadline } from "./deadline.ts";
import { pathOf } from "./path.ts";
import { LIMITS } from "./store.ts";
import type { WireAddition, WireMutation } from "./mutation.ts";

/** A single-key write without checks. */
export interface WriteCall {
  readonly tenantId: string | null;
  readonly key: string;
  readonly mutation: WireMutation;
  readonly bytes: number;
  readonly deadline: Deadline;
}

/** The join test of a batch: calls of different keys may join, and calls of one key if they can be merged. */
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

/** The join test of a batch for one key. */
export function joinsSameKey(): (call: WriteCall) => boolean {
  let last: Mergeable | undefined;
  return (call) => {
    const next = mergeable(call);
    if (last && !(last.call.key === call.key && addUp(last, next))) return false;
    last = next;
    return true;
  };
}

/** A call with the properties that determine whether it can be merged with another. */
interface Mergeable {
  readonly call: WriteCall;
  readonly form: string | null;
  /** The length of the JSON of the members that it sets. */
  readonly merged: number;
}

function mergeable(call: WriteCall): Mergeable {
  const { merge } = call.mutation;
  const form = formOf(call.mutation);
  const text = form === null || merge === undefined ? "" : JSON.stringify(merge);
  return { call, form: LONGER_WHEN_STORED.test(text) ? null : form, merged: text.length };
}

/** Characters of several bytes, and exponents, which the database stores as digits. Other JSON is as long there. */
const LONGER_WHEN_STORED = /[^ -~]|\de[+-]\d/;

/** Whether two calls of one key can be merged. Only the last record is checked for its size, so it must be the largest. */
function addUp(a: Mergeable, b: Mergeable): boolean {
  return a.call.tenantId === b.call.tenantId && a.form !== null && a.form === b.form && a.merged <= b.merged;
}

/** The maximum amount of a merged call: the sum of a batch remains a safe integer. */
const MAX_MERGED_BY = 2 ** 31;

/**
 * Calls with the same form can be merged: they add to the same paths and set the same members, so each call's record can be computed
 * from the last one. Null if a call cannot be merged: only integer sums can be separated again, and of bounds only one upper bound of
 * amounts that are not negative: if their sum is within it, so is each intermediate result.
 */
function formOf({ op, add = [], merge = {}, initial }: WireMutation): string | null {
  const isSum = ({ by = NaN, min, max, maxOf }: WireAddition) =>
    Number.isSafeInteger(by) && Math.abs(by) <= MAX_MERGED_BY && min === undefined && (max === undefined && maxOf === undefined || by >= 0);
  if (op !== "increment" || !add.every(isSum)) return null;
  const members = Object.keys(merge as JsonObject);
  const heads = add.map(({ path }) => pathOf(path)[0] ?? "");
  if (heads.some((head) => members.includes(head))) return null;
  if (add.some(({ maxOf }) => maxOf && (heads.includes(maxOf.member) || members.includes(maxOf.member)))) return null;
  return JSON.stringify([add.map(({ path, max = null, maxOf = null }) => [path, max, maxOf]), members, initial !== undefined]);
}

export interface MergedWrite {
  readonly tenantId: string | null;
  readonly key: string;
  readonly mutation: WireMutation;
  /** The positions of its calls in the batch, in order of arrival. */
  readonly calls: readonly number[];
}

/** One mutation per key. The amounts of merged increments are summed per path. */
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
  const add = (first.add ?? []).map(({ path, max: bound = Infinity, maxOf }, i) => {
    const amounts = mutations.map((mutation) => mutation.add?.[i]?.by ?? 0);
    // With an integer result in these bounds, each intermediate sum is a safe integer. Otherwise calls are sent separately.
    const max = Number.MAX_SAFE_INTEGER - amounts.reduce((sum, by) => sum + Math.abs(by), 0);
    return {
      path,
      by: amounts.reduce((sum, by) => sum + by, 0),
      min: -max,
      max: Math.min(max, bound),
      whole: true,
      ...(maxOf === undefined ? {} : { maxOf }),
    };
  });
  return { ...first, add, ...("merge" in first ? { merge: mutations.at(-1)?.["merge"] } : {}) };
}

/** The record after each call: the last record minus the amounts of later calls, with the members that the call set. */
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
