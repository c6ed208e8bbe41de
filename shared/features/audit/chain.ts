import canonicalize from "canonicalize";
import { auditEntry } from "../../core/audit-entry.ts";
import { errors } from "../../kernel/errors.ts";
import type { JsonObject } from "../../kernel/json.ts";
import { sha256Hex } from "../../kernel/sha256.ts";
import { decodeCursor, encodeCursor, fingerprintOf, invalidCursor } from "../../kv/cursor.ts";
import type { QueryPage, Store } from "../../kv/store.ts";
import { type AuditKeys, baseOf, checkpointFault } from "./checkpoints.ts";
import type { Checkpoint } from "./entity.ts";

export interface ChainReport {
  readonly ok: boolean;
  /** The number of valid entries before the first invalid one. */
  readonly checked: number;
  /** Retention deleted the entries up to this one. Absent if the chain is complete. */
  readonly deletedTo?: number;
  readonly firstBroken?: { readonly id: string; readonly seq: number; readonly reason: string };
}

/** The report on a part of a chain. `ok` refers to this part only. */
export interface ChainPart extends ChainReport {
  /** The cursor of the next part. Absent at the end of the chain. */
  readonly nextCursor?: string;
}

/** The position of a verification: the last valid entry, and the store's cursor to the entries after it. */
interface Link {
  readonly seq: number;
  readonly hash: string;
  readonly after: string | null;
}

type Head = Awaited<ReturnType<Store["chainHead"]>>;

/** The maximum number of entries of one part. More would take longer than a request may. */
export const MAX_PART = 5_000;
const PAGE_ENTRIES = 500;
export const START: Link = { seq: 0, hash: "0".repeat(64), after: null };

/** What is stored apart from the entries. Read before them, so that the chain can only have grown since. */
export interface Recorded {
  readonly head: Head;
  readonly checkpoints: readonly Checkpoint[];
}

/**
 * Checks up to `limit` entries in the order of `seq`, each against its predecessor, from the beginning of the chain or from the base
 * that retention left. The cursor contains the last entry of the previous part. Head and checkpoints show whether entries are missing
 * at the end.
 */
export async function verifyPart(
  store: Pick<Store, "query">,
  scope: string | null,
  { head, checkpoints }: Recorded,
  { cursor, limit = MAX_PART, keys = NO_KEYS }: PartOptions = {},
): Promise<ChainPart> {
  if (!Number.isInteger(limit) || limit < 1 || limit > MAX_PART) throw errors.parameter("limit", `must be 1 to ${MAX_PART}`);
  const base = baseOf(checkpoints);
  let link = after(cursor === undefined ? START : linkOf(scope, cursor), base);
  let checked = 0;
  let lastId = cursor === undefined ? base?.id ?? "" : "";
  const sofar = () => ({ checked, ...(base ? { deletedTo: base.seq } : {}) });
  const broken = (id: string, seq: number, reason: string): ChainPart => ({ ok: false, ...sofar(), firstBroken: { id, seq, reason } });
  for (const one of checkpoints) {
    const fault = await checkpointFault(one, scope, keys) ?? (one.seq > (head?.seq ?? 0) ? EARLY_HEAD : null);
    if (fault !== null) return broken(one.id, one.seq, fault);
  }
  if (link.seq > (head?.seq ?? 0)) return broken(lastId, link.seq, EARLY_HEAD);
  const misplaced = otherHash(link.seq, link.hash, { head, checkpoints });
  if (misplaced !== null) return broken(lastId, link.seq, misplaced);
  do {
    const page: QueryPage = await store.query({
      entity: auditEntry,
      scope,
      orderBy: [{ field: "seq", direction: "asc" }],
      limit: Math.min(PAGE_ENTRIES, limit - checked),
      ...(link.after === null ? {} : { cursor: link.after }),
    });
    for (const { key: id, value } of page.entries) {
      const entry = value as JsonObject;
      const reason = await brokenBecause(id, entry, link, { head, checkpoints });
      if (reason !== null) return broken(id, seqOf(entry) ?? link.seq + 1, reason);
      link = { ...link, seq: link.seq + 1, hash: String(entry["hash"]) };
      lastId = id;
      checked++;
    }
    link = { ...link, after: page.cursor };
  } while (link.after !== null && checked < limit);
  if (link.after !== null) return { ok: true, ...sofar(), nextCursor: cursorOf(scope, link) };
  if (!head || link.seq >= head.seq) return { ok: true, ...sofar() };
  return broken(lastId, link.seq + 1, `entries ${link.seq + 1} to ${head.seq} are missing after this entry, at the end of the chain`);
}

const EARLY_HEAD = "the recorded head of the chain is before this entry";

interface PartOptions {
  readonly cursor?: string | undefined;
  readonly limit?: number | undefined;
  /** The keys of the checkpoints' signatures. Default: they are not checked. */
  readonly keys?: AuditKeys;
}
const NO_KEYS: AuditKeys = { auditKey: null, previousAuditKey: null };

/** The position from which the next entry is checked. Retention may have deleted entries after the previous part. */
function after(link: Link, base: Checkpoint | null): Link {
  return base && base.seq > link.seq ? { ...link, seq: base.seq, hash: base.hash } : link;
}

/** Why the hash of the entry `seq` is not the one that is stored apart from the chain; null if it is, or none is stored. */
function otherHash(seq: number, hash: string, { head, checkpoints }: Recorded): string | null {
  if (head?.seq === seq && head.hash !== hash) return "the hash differs from the recorded head of the chain";
  return checkpoints.some((one) => one.seq === seq && one.hash !== hash) ? "the hash differs from a checkpoint of the chain" : null;
}

/** Why the entry is not the one after `link`; null if it is. */
export async function brokenBecause(
  key: string,
  entry: JsonObject,
  link: Pick<Link, "seq" | "hash">,
  recorded: Recorded,
): Promise<string | null> {
  const { seq: ownSeq, prevHash: ownPrev, hash, ...content } = entry;
  const seq = link.seq + 1;
  if (ownSeq !== seq) return `seq is ${JSON.stringify(ownSeq ?? null)} instead of ${seq}: an entry is missing, inserted or moved`;
  if (ownPrev !== link.hash) return "prevHash is not the hash of the previous entry";
  const contentHash = await sha256Hex(canonicalize(content) ?? "");
  if (await sha256Hex(`${link.hash}:${seq}:${contentHash}`) !== hash) return "the content does not match the hash";
  if (content["id"] !== key) return "the id differs from the key";
  return otherHash(seq, hash, recorded);
}

function seqOf(entry: JsonObject): number | null {
  return typeof entry["seq"] === "number" ? entry["seq"] : null;
}

function cursorOf(scope: string | null, { seq, hash, after }: Link): string {
  return encodeCursor(fingerprintOf(["verify", scope]), [String(seq), hash, after]);
}

/** Throws `invalid_cursor`. A forged cursor skips no entry: the next entry must have the next `seq` and this hash as `prevHash`. */
function linkOf(scope: string | null, cursor: string): Link {
  const [seq, hash, after] = decodeCursor(fingerprintOf(["verify", scope]), cursor, 3);
  if (!seq || !/^[1-9]\d{0,14}$/.test(seq) || !hash || !/^[0-9a-f]{64}$/.test(hash) || !after) throw invalidCursor("is damaged");
  return { seq: Number(seq), hash, after };
}
