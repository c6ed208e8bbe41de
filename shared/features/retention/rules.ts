import { retentionPlan, type RetentionRule } from "../../core/retention.ts";
import { isoTime } from "../../kernel/clock.ts";
import { errors } from "../../kernel/errors.ts";
import type { JsonValue } from "../../kernel/json.ts";
import type { AnyEntity } from "../../kv/define.ts";
import { isTimestamp } from "../../kv/key.ts";
import type { Entry } from "../../kv/store.ts";
import type { Policy } from "./entity.ts";

/** Clocks may differ by this much: nothing is deleted before it is older than its policy by more. */
export const SKEW_MS = 5 * 60_000;
/** Above 200 keys, a commit locks whole families (kv_service.lock_keys). The key of the run is one of them, twice. */
const MAX_LOCKS = 198;
const DAY_MS = 24 * 3_600_000;

/** How long the records of one entity are kept, and the enabled policies that say so. Without one, the declaration does. */
export interface KeepRule<P extends Policy = Policy> extends RetentionRule {
  readonly policies: readonly P[];
}

/** The rules of all entities that declare a retention. Of several enabled policies for one entity, the longest applies. */
export function keepRules<P extends Policy>(registry: readonly AnyEntity[], policies: readonly P[]): KeepRule<P>[] {
  const enabled = policies.filter((policy) => policy.enabled);
  const overrides: Record<string, number> = {};
  for (const { type, retentionDays } of enabled) overrides[type] = Math.max(overrides[type] ?? 0, retentionDays);
  return retentionPlan(registry, overrides).map((rule) => ({ ...rule, policies: enabled.filter(({ type }) => type === rule.entity) }));
}

/** Records whose time is before this instant are deleted. */
export function cutoffOf(days: number, nowMs: number): string {
  return isoTime(nowMs - days * DAY_MS - SKEW_MS);
}

/** Whether the record's time is before the cutoff. A record without a valid time is kept. */
export function isOld(value: JsonValue, field: string, cutoff: string): boolean {
  const at = typeof value === "object" && value !== null ? (value as Readonly<Record<string, unknown>>)[field] : undefined;
  return typeof at === "string" && isTimestamp(at) && at < cutoff;
}

/** Parts that one commit each can delete: it locks the keys of the records twice, and those of their tenants. */
export function partsOf<E extends Pick<Entry, "tenantId">>(entries: readonly E[]): E[][] {
  const parts: E[][] = [];
  let tenants = new Set<string>();
  for (const entry of entries) {
    const part = parts.at(-1);
    const added = entry.tenantId !== null && !tenants.has(entry.tenantId) ? 1 : 0;
    if (part && 2 * (part.length + 1) + tenants.size + added <= MAX_LOCKS) {
      part.push(entry);
    } else {
      parts.push([entry]);
      tenants = new Set();
    }
    if (entry.tenantId !== null) tenants.add(entry.tenantId);
  }
  return parts;
}

/** Throws `validation_failed` unless the type is an entity that declares a retention. */
export function assertType(registry: readonly AnyEntity[], type: string): void {
  const types = registry.filter(({ retention }) => retention).map(({ name }) => name).sort();
  if (types.includes(type)) return;
  throw errors.validation([{ path: "/type", message: `must be one of ${types.join(", ")}`, code: "unknown_type" }]);
}

/** What a run does with one kind of record, and where it continues. */
export type Task = {
  readonly type: string;
  /** The cursor of the store. Null: the beginning. */
  readonly after: string | null;
  readonly isDone: boolean;
  /** Records that are old enough. */
  readonly scanned: number;
  readonly deleted: number;
  /** The code of the error that ended the task. */
  readonly error: string | null;
};

export function taskOf(type: string): Task {
  return { type, after: null, isDone: false, scanned: 0, deleted: 0, error: null };
}

/** What is reported of a task. */
export type TaskReport = Pick<Task, "type" | "scanned" | "deleted" | "error">;

export function reportOf(tasks: readonly Task[]): TaskReport[] {
  return tasks.map(({ type, scanned, deleted, error }) => ({ type, scanned, deleted, error })).sort((a, b) => a.type < b.type ? -1 : 1);
}
