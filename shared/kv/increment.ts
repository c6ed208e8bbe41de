import type { JsonObject, JsonValue } from "../kernel/json.ts";
import { LIMITS } from "./store.ts";
import type { Addition } from "./store.ts";
import type { WireMutation } from "./mutation.ts";

/** One blind single-key write on its way to the database. */
export interface WriteCall {
  readonly tenantId: string | null;
  readonly key: string;
  readonly mutation: WireMutation;
  readonly bytes: number;
}

/** Whether a write may share a commit with those already in the batch: other keys, or a counter they can add to together. */
export function joinsWrites(batch: readonly WriteCall[], call: WriteCall): boolean {
  if (batch.reduce((sum, { bytes }) => sum + bytes, call.bytes) > LIMITS.commitBytes) return batch.length === 0;
  const same = batch.find((other) => other.key === call.key && other.tenantId === call.tenantId);
  return same === undefined ||
    (isMergeable(same.mutation) && isMergeable(call.mutation) && ("initial" in same.mutation) === ("initial" in call.mutation));
}

/** Bounds belong to one call, and only integers can be taken apart again without rounding. */
function isMergeable(mutation: WireMutation): boolean {
  return mutation.op === "increment" &&
    additions(mutation).every((a) => Number.isSafeInteger(a.by) && a.min === undefined && a.max === undefined);
}

type Sum = Addition & { readonly by: number };

/** Of a mergeable mutation every addition has `by`. */
function additions(mutation: WireMutation): readonly Sum[] {
  return (mutation["add"] ?? []) as readonly Sum[];
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
  const merged = new Map<string, { tenantId: string | null; key: string; mutation: WireMutation; calls: number[] }>();
  for (const [i, call] of batch.entries()) {
    const id = `${call.tenantId ?? ""} ${call.key}`;
    const known = merged.get(id);
    if (known) {
      known.mutation = addTogether(known.mutation, call.mutation);
      known.calls.push(i);
    } else {
      merged.set(id, { ...call, calls: [i] });
    }
  }
  return [...merged.values()];
}

function addTogether(a: WireMutation, b: WireMutation): WireMutation {
  const sums = new Map<string, Sum>();
  for (const addition of [...additions(a), ...additions(b)]) {
    const path = JSON.stringify(addition.path);
    sums.set(path, { path: addition.path, by: (sums.get(path)?.by ?? 0) + addition.by });
  }
  return {
    ...a,
    add: [...sums.values()],
    ...("merge" in b ? { merge: { ...(a["merge"] as JsonObject | undefined), ...(b["merge"] as JsonObject) } } : {}),
  };
}

/** Each call's own result: the batch's, less what came after the call. */
export function takeApart(final: JsonObject, mutations: readonly WireMutation[]): JsonObject[] {
  const results: JsonObject[] = [];
  let value = final;
  for (const mutation of mutations.toReversed()) {
    results.unshift(value);
    for (const { path, by } of additions(mutation)) value = added(value, path, -by);
  }
  return results;
}

function added(value: JsonObject, path: readonly string[], by: number): JsonObject {
  const [head = "", ...rest] = path;
  const member: JsonValue | undefined = value[head];
  if (rest.length === 0) return { ...value, [head]: (typeof member === "number" ? member : 0) + by };
  return { ...value, [head]: added(isObject(member) ? member : {}, rest, by) };
}

function isObject(value: JsonValue | undefined): value is JsonObject {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}
