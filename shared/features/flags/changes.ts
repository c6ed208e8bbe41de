import { Records } from "../../core/records.ts";
import type { Decided } from "../../core/records.ts";
import type { Change, UnitOfWork } from "../../core/unit-of-work.ts";
import { type FieldError, InnkeepError } from "../../kernel/errors.ts";
import { keyOf } from "../../kv/define.ts";
import { plan } from "../plans/entity.ts";
import { type Flag, flag, flagKeyClaim, flagOverride } from "./entity.ts";
import type { StoredFlag } from "./flag-set.ts";

/** The overrides that are deleted with their flag in one commit. */
export const MAX_DELETED_OVERRIDES = 500;

/** The claim of a new flag's key. Throws `flag_key_taken`, and without `reuseKey` `flag_key_reserved` for a deleted flag's key. */
export async function claimed(work: UnitOfWork, { key, id }: Flag, reuseKey: boolean): Promise<Change> {
  const before = await new Records(flagKeyClaim, work).get(key);
  if (before && before.deletedAt === undefined) {
    throw new InnkeepError("flag_key_taken", `Another flag has the key ${key}. Choose another key.`);
  }
  if (before && !reuseKey) {
    const advice = "Choose another key, or send reuseKey: true if no program reads the old flag any more.";
    throw new InnkeepError("flag_key_reserved", `A flag with the key ${key} was deleted. ${advice}`);
  }
  return { entity: flagKeyClaim, before, after: { key, flagId: id, createdAt: work.now() } };
}

/** The claim of a deleted flag's key, which reserves it. */
export async function released(work: UnitOfWork, { key, id, created }: Flag): Promise<Change> {
  const before = await new Records(flagKeyClaim, work).get(key);
  const after = { key, flagId: id, createdAt: before?.createdAt ?? created, deletedAt: work.now() };
  return { entity: flagKeyClaim, before, after };
}

/**
 * Deletes the overrides of a flag in the commit that deletes it. The commit counts them under the lock of the flag's key, which a new
 * override checks, so none is left behind. Throws `flag_in_use` if they are too many for one commit.
 */
export async function overridesToDelete(
  work: UnitOfWork,
  { id }: StoredFlag,
): Promise<Required<Pick<Decided<never>, "mutations" | "checks" | "data">>> {
  const where = [{ field: "flagId", in: [id] }];
  const { entries } = await work.store.query({ entity: flagOverride, where, limit: MAX_DELETED_OVERRIDES });
  const count = entries.length < MAX_DELETED_OVERRIDES ? entries.length : await work.store.count({ entity: flagOverride, where });
  if (count > MAX_DELETED_OVERRIDES) {
    const advice = `Disable the flag, or clear overrides until at most ${MAX_DELETED_OVERRIDES} are left.`;
    throw new InnkeepError("flag_in_use", `${count} tenants override the flag. ${advice}`);
  }
  return {
    mutations: entries.map(({ key }) => ({ op: "delete", key })),
    checks: [{ key: keyOf(flag, { id }), entity: flagOverride, where, atMost: count }],
    data: { overridesDeleted: count },
  };
}

/** The plans that the flag newly names and that do not exist. A plan that was deleted since blocks no other change. */
export async function planProblems(work: UnitOfWork, after: Flag, before: Flag | null): Promise<FieldError[]> {
  const named = after.enabledForPlans ?? [];
  const added = named.filter((id) => !before?.enabledForPlans?.includes(id));
  if (added.length === 0) return [];
  const found = await work.store.mget(added.map((id) => keyOf(plan, { id })));
  const unknown = new Set(added.filter((_, i) => found[i] === null));
  return named.flatMap((id, i): FieldError[] => {
    if (!unknown.has(id)) return [];
    const message = `must be an existing plan, and ${id} is not; create it first or choose another`;
    return [{ path: `/enabledForPlans/${i}`, message, code: "unknown_plan" }];
  });
}
