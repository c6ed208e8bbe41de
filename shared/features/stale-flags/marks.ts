import type { Platform } from "../../core/platform.ts";
import type { UnitOfWork } from "../../core/unit-of-work.ts";
import { keyOf } from "../../kv/define.ts";
import { flagEvaluation } from "./entity.ts";

/** A process writes an evaluation of a flag at most once in this time. */
const EVERY_MS = 3_600_000;
/** Twice the number of marks of the largest set of flags. Deleted flags leave theirs behind. */
const MAX_MARKS = 2_000;

/** What was evaluated: the flag by itself, or all flags of a tenant. */
const FIELDS = { one: "lastEvaluatedAt", all: "lastDeliveredAt" } as const;

/** When this process last marked a flag. One map for each backend; a process has one backend. */
const marked = new WeakMap<Platform, Map<string, number>>();

/**
 * Records in the background that flags were evaluated, at most once an hour for each. It is not audited, does not delay the
 * evaluation and does not fail it.
 */
export function markEvaluated(work: UnitOfWork, flagIds: readonly string[], kind: keyof typeof FIELDS): void {
  const { platform, context: { clock } } = work;
  const [nowMs, at] = [clock.now(), work.now()];
  const marks = marked.get(platform) ?? new Map<string, number>();
  marked.set(platform, marks);
  for (const flagId of flagIds) {
    const mark = `${kind} ${flagId}`;
    // A clock that was set back must not stop the marks until it has caught up.
    if (Math.abs(nowMs - (marks.get(mark) ?? -Infinity)) < EVERY_MS) continue;
    if (marks.size >= MAX_MARKS) marks.clear();
    marks.set(mark, nowMs);
    platform.uses.count(keyOf(flagEvaluation, { flagId }), {}, { [FIELDS[kind]]: at });
  }
}
