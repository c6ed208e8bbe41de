import canonicalize from "canonicalize";
import { auditEntry } from "../../core/audit-entry.ts";
import { errors } from "../../kernel/errors.ts";
import type { JsonObject } from "../../kernel/json.ts";
import { sha256Hex } from "../../kernel/sha256.ts";
import { decodeCursor, encodeCursor, fingerprintOf, invalidCursor } from "../../kv/cursor.ts";
import type { QueryPage, Store } from "../../kv/store.ts";

export interface ChainReport {
  readonly ok: boolean;
  /** The number of valid entries before the first invalid one. */
  readonly checked: number;
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
const START: Link = { seq: 0, hash: "0".repeat(64), after: null };

/**
 * Checks up to `limit` entries in the order of `seq`, each against its predecessor. The cursor contains the last entry of the
 * previous part. `head` is stored apart from the entries and read before them: it shows whether entries are missing at the end.
 */
export async function verifyPart(
  store: Pick<Store, "query">,
  scope: string | null,
  head: Head,
  { cursor, limit = MAX_PART }: { readonly cursor?: string | undefined; readonly limit?: number | undefined } = {},
): Promise<ChainPart> {
  if (!Number.isInteger(limit) || limit < 1 || limit > MAX_PART) throw errors.parameter("limit", `must be 1 to ${MAX_PART}`);
  let link = cursor === undefined ? START : linkOf(scope, cursor);
  let checked = 0;
  let lastId = "";
  const broken = (id: string, seq: number, reason: string): ChainPart => ({ ok: false, checked, firstBroken: { id, seq, reason } });
  if (cursor !== undefined && (!head || link.seq > head.seq)) {
    return broken(lastId, link.seq, "the recorded head of the chain is before this entry");
  }
  if (head?.seq === link.seq && head.hash !== link.hash) return broken(lastId, link.seq, OTHER_HEAD);
  do {
    const page: QueryPage = await store.query({
      entity: auditEntry,
      scope,
      orderBy: [{ field: "seq", direction: "asc" }],
      limit: Math.min(PAGE_ENTRIES, limit - checked),
      ...(link.after === null ? {} : { cursor: link.after }),
    });
    for (const { key, value } of page.entries) {
      const entry = value as JsonObject;
      const seq = link.seq + 1;
      const reason = await brokenBecause(key, entry, seq, link.hash);
      if (reason !== null) return broken(key, seqOf(entry) ?? seq, reason);
      const hash = String(entry["hash"]);
      if (seq === head?.seq && hash !== head.hash) return broken(key, seq, OTHER_HEAD);
      link = { ...link, seq, hash };
      lastId = key;
      checked++;
    }
    link = { ...link, after: page.cursor };
  } while (link.after !== null && checked < limit);
  if (link.after !== null) return { ok: true, checked, nextCursor: cursorOf(scope, link) };
  if (!head || link.seq >= head.seq) return { ok: true, checked };
  return broken(lastId, link.seq + 1, `entries ${link.seq + 1} to ${head.seq} are missing after this entry, at the end of the chain`);
}

const OTHER_HEAD = "the hash differs from the recorded head of the chain";

async function brokenBecause(key: string, entry: JsonObject, seq: number, prevHash: string): Promise<string | null> {
  const { seq: ownSeq, prevHash: ownPrev, hash, ...content } = entry;
  if (ownSeq !== seq) return `seq is ${JSON.stringify(ownSeq ?? null)} instead of ${seq}: an entry is missing, inserted or moved`;
  if (ownPrev !== prevHash) return "prevHash is not the hash of the previous entry";
  const contentHash = await sha256Hex(canonicalize(content) ?? "");
  if (await sha256Hex(`${prevHash}:${seq}:${contentHash}`) !== hash) return "the content does not match the hash";
  return content["id"] === key ? null : "the id differs from the key";
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
