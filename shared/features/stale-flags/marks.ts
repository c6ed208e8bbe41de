import type { Platform } from "../../core/platform.ts";
import type { UnitOfWork } from "../../core/unit-of-work.ts";
import { keyOf } from "../../kv/define.ts";
import { MAX_FLAGS } from "../flags/entity.ts";
import { flagEvaluation } from "./entity.ts";

/** A process writes an evaluation of a flag at most once in this time. */
const EVERY_MS = 3_600_000;
/** Twice the largest number of flags. Deleted flags leave their marks behind. */
const MAX_MARKS = 2 * MAX_FLAGS;

/** What was evaluated: the flag by itself, or all flags of a tenant. */
const FIELDS = { one: "lastEvaluatedAt", all: "lastDeliveredAt" } as const;

/** When this process last marked each flag. One for each backend; a process has one backend. */
const marked = new WeakMap<Platform, Readonly<Record<keyof typeof FIELDS, Map<string, number>>>>();

/**
 * Records in the background that flags were evaluated, at most once an hour for each. It is not audited, does not delay the
 * evaluation and does not fail it.
 */
export function markEvaluated(work: UnitOfWork, flagIds: readonly string[], kind: keyof typeof FIELDS): void {
  const { platform, context: { clock } } = work;
  const known = marked.get(platform) ?? { one: new Map(), all: new Map() };
  marked.set(platform, known);
  const marks = known[kind];
  const nowMs = clock.now();
  for (const flagId of flagIds) {
    // A clock that was set back must not stop the marks until it has caught up.
    if (Math.abs(nowMs - (marks.get(flagId) ?? -Infinity)) < EVERY_MS) continue;
    if (marks.size >= MAX_MARKS) marks.clear();
    marks.set(flagId, nowMs);
    platform.uses.count(keyOf(flagEvaluation, { flagId }), {}, { [FIELDS[kind]]: work.now() });
  }
}
