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
    const next = mergeable(call, same);
    if (same ? !next.joins : last.size > 0 && bytes + call.bytes > LIMITS.commitBytes) return false;
    bytes += call.bytes;
    last.set(call.key, next);
    return true;
  };
}

/** The join test of a batch for one key. */
export function joinsSameKey(): (call: WriteCall) => boolean {
  let last: Mergeable | undefined;
  return (call) => {
    if (last && last.call.key !== call.key) return false;
    const next = mergeable(call, last);
    if (last && !next.joins) return false;
    last = next;
    return true;
  };
}

/** A call with the properties that determine whether the next call of its key can be merged with it. */
interface Mergeable {
  readonly call: WriteCall;
  readonly isSum: boolean;
  /** The length of the JSON of the members that it sets. */
  readonly merged: number;
  /** Whether it can be merged with the call before it. Only the last record is checked for its size, so it must be the largest. */
  readonly joins: boolean;
}

function mergeable(call: WriteCall, before: Mergeable | undefined): Mergeable {
  const { tenantId, mutation } = call;
  const isAlike = before !== undefined && before.call.tenantId === tenantId && hasSameForm(before.call.mutation, mutation);
  // A call of the same form has the same paths and members as the one before it, which was checked.
  const isSum = isAlike ? before.isSum && (mutation.add ?? []).every(isIntegerSum) : isSeparable(mutation);
  const text = isSum && mutation["merge"] !== undefined ? JSON.stringify(mutation["merge"]) : "";
  const next = { call, isSum: isSum && !LONGER_WHEN_STORED.test(text), merged: text.length };
  return { ...next, joins: isAlike && next.isSum && before.merged <= next.merged };
}

/** Characters of several bytes, and exponents, which the database stores as digits. Other JSON is as long there. */
const LONGER_WHEN_STORED = /[^ -~]|\de[+-]\d/;

/** The maximum amount of a merged call: the sum of a batch remains a safe integer. */
const MAX_MERGED_BY = 2 ** 31;

/**
 * Only integer sums can be separated again, and of bounds only one upper bound of amounts that are not negative: if their sum is within
 * it, so is each intermediate result.
 */
function isIntegerSum({ by = NaN, min, max, maxOf }: WireAddition): boolean {
  return Number.isSafeInteger(by) && Math.abs(by) <= MAX_MERGED_BY && min === undefined &&
    (max === undefined && maxOf === undefined || by >= 0);
}

/** Whether the records of merged calls of this form can be computed from the last one: no member depends on a sum in another way. */
function isSeparable({ op, add = [], merge = {} }: WireMutation): boolean {
  if (op !== "increment" || !add.every(isIntegerSum)) return false;
  const members = Object.keys(merge as JsonObject);
  const heads = add.map(({ path }) => pathOf(path)[0] ?? "");
  if (heads.some((head) => members.includes(head))) return false;
  return !add.some(({ maxOf }) => maxOf && (heads.includes(maxOf.member) || members.includes(maxOf.member)));
}

/** Whether both add to the same paths within the same bounds, and set the same members. */
function hasSameForm(a: WireMutation, b: WireMutation): boolean {
  const [adds, others] = [a.add ?? [], b.add ?? []];
  if (a.op !== b.op || adds.length !== others.length || (a["initial"] === undefined) !== (b["initial"] === undefined)) return false;
  const isSame = ({ path, max, maxOf }: WireAddition, other: WireAddition | undefined) =>
    path === other?.path && max === other.max && maxOf?.member === other.maxOf?.member && maxOf?.percent === other.maxOf?.percent;
  if (!adds.every((addition, i) => isSame(addition, others[i]))) return false;
  const [members, itsMembers] = [Object.keys(a["merge"] ?? {}), Object.keys(b["merge"] ?? {})];
  return members.length === itsMembers.length && members.every((name, i) => name === itsMembers[i]);
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
  const results = new Array<JsonObject>(mutations.length);
  // Merged calls add to the same paths.
  const paths = mutations.length > 1 ? (mutations[0]?.add ?? []).map(({ path }) => pathOf(path)) : [];
  let value = final;
  for (let at = mutations.length - 1; at >= 0; at--) {
    results[at] = value;
    for (const [i, path] of paths.entries()) value = less(value, path, mutations[at]?.add?.[i]?.by ?? 0);
    const merge = mutations[at - 1]?.["merge"] as JsonObject | undefined;
    if (merge) value = { ...value, ...merge };
  }
  return results;
}

function less(value: JsonObject, path: readonly string[], by: number, depth = 0): JsonObject {
  const head = path[depth] ?? "";
  const member: JsonValue | undefined = value[head];
  if (depth === path.length - 1) return { ...value, [head]: (typeof member === "number" ? member : 0) - by };
  return { ...value, [head]: less(isObject(member) ? member : {}, path, by, depth + 1) };
}

function isObject(value: JsonValue | undefined): value is JsonObject {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}
