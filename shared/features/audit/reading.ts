import type { Platform } from "../../core/platform.ts";
import type { UnitOfWork } from "../../core/unit-of-work.ts";
import type { JsonObject } from "../../kernel/json.ts";

/** Lists are read often, and an entry for each would fill the log that they read. */
const READ_EVERY_MS = 3_600_000;
const MAX_KNOWN = 10_000;

/** When each caller's last read of each chain was recorded, in this process. */
const recorded = new WeakMap<Platform, Map<string, number>>();

/** Records a list, once an hour for each caller and chain. */
export async function noteRead(work: UnitOfWork, scope: string | null, filters: readonly string[]): Promise<void> {
  const known = recorded.get(work.platform) ?? new Map<string, number>();
  recorded.set(work.platform, known);
  const { actor, clock } = work.context;
  const key = `${actor.type}:${actor.id}\n${scope ?? ""}`;
  const now = clock.now();
  const last = known.get(key);
  if (last !== undefined && Math.abs(now - last) < READ_EVERY_MS) return;
  await note(work, "audit.read", scope, { filters: [...filters] });
  if (known.size >= MAX_KNOWN) known.clear();
  known.set(key, now);
}

/** Records a use of the log in the chain of the caller: that of its tenant, or the platform's. `scope` null: all chains. */
export async function note(work: UnitOfWork, action: `audit.${string}`, scope: string | null, data: JsonObject): Promise<void> {
  const entry = { action, resource: "audit-log", resourceId: scope ?? "all", data };
  await work.transact(() => ({ commit: { audit: [entry], result: {} }, resultOf: null }));
}
