import type { CommitResult, Entry, Mutation, Store } from "../kv/store.ts";

/** The version of what a preview has kept. */
const KEPT = "0";

/**
 * A store whose commits are kept in memory. Reads by key return them, so that a decision on a record that the same preview creates is
 * as it would be. Lists, counts and checks see what is stored.
 */
export function previewOf(store: Store): Store {
  const kept = new Map<string, Entry | null>();
  const read = (key: string, stored: Entry | null) => kept.get(key) ?? (kept.has(key) ? null : stored);
  const own: Pick<Store, "get" | "mget" | "commit"> = {
    get: async (key) => read(key, await store.get(key)),
    mget: async (keys) => (await store.mget(keys)).map((entry, i) => read(keys[i] ?? "", entry)),
    commit: (_, mutations) => Promise.resolve(keep(kept, mutations)),
  };
  return new Proxy(store, {
    get: (real, name: keyof Store) => {
      if (name in own) return own[name as keyof typeof own];
      const member = real[name];
      return typeof member === "function" ? member.bind(real) : member;
    },
  });
}

function keep(kept: Map<string, Entry | null>, mutations: readonly Mutation[]): CommitResult {
  const written = mutations.flatMap((mutation) => "key" in mutation ? [mutation] : []);
  for (const mutation of written) {
    const { op, key } = mutation;
    if (op === "delete") kept.set(key, null);
    if (op !== "set") continue;
    const { value, tenantId = null, expiresAt = null } = mutation;
    kept.set(key, { key, value, version: KEPT, createdAt: "", updatedAt: "", expiresAt, tenantId });
  }
  return { ok: true, versions: Object.fromEntries(written.map(({ key }) => [key, KEPT])), values: {}, deleted: {} };
}
