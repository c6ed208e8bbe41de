import type { Stored } from "../../core/collection.ts";
import { equalSecrets, hmacSha256Hex } from "../../kernel/sha256.ts";
import { LIMITS, type Store } from "../../kv/store.ts";
import { type Checkpoint, checkpoint } from "./entity.ts";

export type StoredCheckpoint = Stored<typeof checkpoint>;

/** The scope of the platform in keys. It is reserved and cannot be the id of a tenant. */
const PLATFORM = "global";

/**
 * The checkpoints of one chain by position: at most one base, and the last known head after it. They are parsed from the stored
 * values each time, because a value that was changed in the database may have its old version.
 */
export async function checkpointsOf(store: Store, scope: string | null): Promise<StoredCheckpoint[]> {
  const { entries } = await store.list({ prefix: `checkpoint:${scope ?? PLATFORM}`, limit: LIMITS.pageEntries });
  // The keys allow any owner, because the tenant may be deleted. What another tenant has put there is no checkpoint of this chain.
  const own = entries.filter(({ tenantId }) => tenantId === null || tenantId === scope);
  return own.map(({ key, value, version }) => {
    const parsed = checkpoint.schema.safeParse(value);
    return { ...(parsed.success ? parsed.data : DAMAGED), id: key, version };
  }).sort((a, b) => a.seq - b.seq);
}

/** Stands for a record that does not match the schema. Its position makes it invalid in every chain. */
const DAMAGED = { scope: "", kind: "head", seq: 0, hash: "", takenAt: "" } as const;

/** The entry up to which retention deleted the chain; null if the chain is complete. */
export function baseOf<C extends Checkpoint>(checkpoints: readonly C[]): C | null {
  return checkpoints.findLast(({ kind }) => kind === "base") ?? null;
}

export function checkpointKey(scope: string | null, seq: number): string {
  return `checkpoint:${scope ?? PLATFORM}:${seq}`;
}

/** A new checkpoint. `isLive`: the tenant exists, so that the record belongs to it. */
export async function newCheckpoint(
  scope: string | null,
  link: Pick<Checkpoint, "kind" | "seq" | "hash" | "takenAt">,
  { key, isLive }: { readonly key: string | null; readonly isLive: boolean },
): Promise<Checkpoint> {
  const record = { id: checkpointKey(scope, link.seq), scope: scope ?? PLATFORM, ...link };
  return {
    ...record,
    ...(isLive && scope !== null ? { tenantId: scope } : {}),
    ...(key === null ? {} : { signature: await signatureOf(record, key) }),
  };
}

/** The key that signs checkpoints, and the one that did so until the next run of the job. Null: none. */
export interface AuditKeys {
  readonly auditKey: string | null;
  /** `none`: checkpoints were not signed. */
  readonly previousAuditKey: string | null;
}

/** The previous key of a platform that did not sign its checkpoints. */
const UNSIGNED = "none";

/** Why the checkpoint is not valid; null if it is. Without a key, signatures are not checked. */
export async function checkpointFault(record: Checkpoint, scope: string | null, keys: AuditKeys): Promise<string | null> {
  const { auditKey, previousAuditKey: previous } = keys;
  if (record.id !== checkpointKey(scope, record.seq) || record.scope !== (scope ?? PLATFORM)) {
    return "the checkpoint belongs to another chain";
  }
  if (auditKey === null) return null;
  if (record.signature === undefined) return previous === UNSIGNED ? null : "the checkpoint is not signed";
  if (await isSignedBy(record, auditKey)) return null;
  return previous !== null && previous !== UNSIGNED && await isSignedBy(record, previous)
    ? null
    : "the signature of the checkpoint is wrong";
}

/** The checkpoint with a signature by the current key. Null if it has one, or is not valid by the previous key either. */
export async function resigned(record: Checkpoint, keys: AuditKeys): Promise<Checkpoint | null> {
  const { auditKey } = keys;
  if (auditKey === null || await checkpointFault(record, record.scope === PLATFORM ? null : record.scope, keys) !== null) return null;
  return await isSignedBy(record, auditKey) ? null : { ...record, signature: await signatureOf(record, auditKey) };
}

async function isSignedBy(record: Checkpoint, key: string): Promise<boolean> {
  return record.signature !== undefined && await equalSecrets(record.signature, await signatureOf(record, key));
}

function signatureOf({ kind, scope, seq, hash, takenAt }: Pick<Checkpoint, "kind" | "scope" | "seq" | "hash" | "takenAt">, key: string) {
  return hmacSha256Hex(key, JSON.stringify(["innkeep checkpoint", kind, scope, seq, hash, takenAt]));
}
