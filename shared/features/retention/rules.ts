import { retentionPlan, type RetentionRule } from "../../core/retention.ts";
import { isoTime } from "../../kernel/clock.ts";
import { errors, type FieldError } from "../../kernel/errors.ts";
import type { JsonValue } from "../../kernel/json.ts";
import type { AnyEntity } from "../../kv/define.ts";
import { isTimestamp } from "../../kv/key.ts";
import type { Entry } from "../../kv/store.ts";
import { anonymised } from "./anonymity.ts";
import type { Policy } from "./entity.ts";

/** Clocks may differ by this much: nothing is deleted before it is older than its policy by more. */
export const SKEW_MS = 5 * 60_000;
/** The database deletes no younger audit entries, whatever the program says (kv.purge_floor). */
export const MIN_AUDIT_DAYS = 30;
/** Above 200 keys, a commit locks whole families (kv_service.lock_keys). The key of the run is one of them, twice. */
const MAX_LOCKS = 198;
const DAY_MS = 24 * 3_600_000;

/** Whose records a rule is for: everybody's, or those of the tenants of one plan or of one tenant. In the order of a run. */
const SUBJECTS = ["all", "plan", "tenant"] as const;
export type Subject = (typeof SUBJECTS)[number];

/** How long records of one entity are kept, and the enabled policies that say so. Without one, the declaration does. */
export interface KeepRule<P extends Policy = Policy> extends RetentionRule {
  readonly subject: Subject;
  /** The id of the plan or of the tenant; `all` for everybody. */
  readonly name: string;
  readonly action: Policy["action"];
  readonly policies: readonly P[];
}

/**
 * The rules of all entities that declare a retention: for each one for everybody, then those of plans, then those of tenants. Of several
 * enabled policies for the same records, the longest applies, and one that archives or anonymises makes all of them do so.
 */
export function keepRules<P extends Policy>(registry: readonly AnyEntity[], policies: readonly P[]): KeepRule<P>[] {
  const enabled = policies.filter((policy) => policy.enabled);
  return retentionPlan(registry).flatMap((declared) => {
    const own = enabled.filter(({ type }) => type === declared.entity);
    const positions = new Set(["all:all", ...own.map(positionOf)]);
    return [...positions].sort().map((position) => {
      const rule = own.filter((policy) => positionOf(policy) === position);
      const [subject = "all", name = ""] = position.split(":");
      return {
        ...declared,
        subject: subject as Subject,
        name,
        days: rule.length === 0 ? declared.days : Math.max(...rule.map(({ retentionDays }) => retentionDays)),
        action: rule.find(({ action }) => action !== "delete")?.action ?? "delete",
        policies: rule,
      };
    });
  });
}

/** Where a rule stands among those of its entity. Positions sort by bytes, and everybody's is the first. */
export function positionOf(of: { readonly tenantId?: string | undefined; readonly planId?: string | undefined }): string {
  return of.tenantId !== undefined ? `tenant:${of.tenantId}` : of.planId !== undefined ? `plan:${of.planId}` : "all:all";
}

/** The rule for a record of this tenant: the tenant's own, else that of its plan, else everybody's. A deleted tenant has no plan. */
export function ruleFor<R extends Pick<KeepRule, "subject" | "name">>(
  rules: readonly R[],
  tenantId: string | null,
  plan: string | null,
): R | undefined {
  const of = (subject: Subject, name: string | null) => rules.find((rule) => rule.subject === subject && rule.name === name);
  return of("tenant", tenantId) ?? of("plan", plan) ?? of("all", "all");
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

/** Throws `validation_failed` with everything that is wrong with a policy, except references to other records. */
export function assertPolicy(
  registry: readonly AnyEntity[],
  { type, retentionDays, action, tenantId, planId }: Partial<Policy>,
  { hasArchive }: { readonly hasArchive: boolean },
): void {
  const types = registry.filter(({ retention }) => retention);
  const entity = types.find(({ name }) => name === type);
  const faults: FieldError[] = [];
  const refuse = (path: string, message: string, code: string) => void faults.push({ path, message, code });
  if (typeof type === "string" && !entity) {
    refuse("/type", `must be one of ${types.map(({ name }) => name).sort().join(", ")}`, "unknown_type");
  }
  if (entity?.appendOnly && typeof retentionDays === "number" && retentionDays < MIN_AUDIT_DAYS) {
    refuse("/retentionDays", `must be at least ${MIN_AUDIT_DAYS} for ${entity.name}`, "too_small");
  }
  if (action === "archive" && entity && !entity.appendOnly) refuse("/action", "can be archive only for audit-entry", "invalid");
  else if (action === "archive" && !hasArchive) {
    refuse("/action", "can be archive only with INNKEEP_ARCHIVE_BUCKET or INNKEEP_ARCHIVE_DIR, which name the archive", "no_archive");
  }
  if (action === "anonymise" && entity && anonymised(entity, entity.example) === null) {
    const able = types.filter((each) => anonymised(each, each.example) !== null).map(({ name }) => name).sort().join(", ");
    refuse("/action", `can be anonymise only for ${able}`, "invalid");
  }
  if (tenantId !== undefined && planId !== undefined) refuse("/planId", "must not be given with tenantId", "invalid");
  if (entity?.owner === "platform" && tenantId !== undefined) {
    refuse("/tenantId", `must not be given: ${entity.name} has no tenant`, "invalid");
  }
  if (entity?.owner === "platform" && planId !== undefined) refuse("/planId", `must not be given: ${entity.name} has no tenant`, "invalid");
  if (faults.length > 0) throw errors.validation(faults);
}

/** What a run does with one kind of record, and where it continues. */
export type Task = {
  readonly type: string;
  /** The position of the rule that is applied now. */
  readonly rule: string;
  /** The cursor of the store. Null: the beginning. */
  readonly after: string | null;
  /** The cutoff of the cursor's query, whatever the clock says meanwhile: a cursor is bound to its conditions. */
  readonly cutoff: string | null;
  readonly isDone: boolean;
  /** Records that are old enough. */
  readonly scanned: number;
  readonly deleted: number;
  /** The code of the error that ended the task. */
  readonly error: string | null;
};

export function taskOf(type: string): Task {
  return { type, rule: "all:all", after: null, cutoff: null, isDone: false, scanned: 0, deleted: 0, error: null };
}

/** What is reported of a task. */
export type TaskReport = Pick<Task, "type" | "scanned" | "deleted" | "error">;

export function reportOf(tasks: readonly Task[]): TaskReport[] {
  return tasks.map(({ type, scanned, deleted, error }) => ({ type, scanned, deleted, error })).sort((a, b) => a.type < b.type ? -1 : 1);
}
