import type { Archive } from "../../kernel/archive.ts";
import { InnkeepError } from "../../kernel/errors.ts";
import type { JsonObject } from "../../kernel/json.ts";
import { brokenBecause, START } from "./chain.ts";
import { type AuditKeys, checkpointFault } from "./checkpoints.ts";
import { type Checkpoint, checkpoint } from "./entity.ts";

/** One file of an archive: consecutive entries of a chain, and the checkpoint of the last one. */
export interface ArchiveReport {
  readonly ok: boolean;
  /** The scope: the id of a tenant, or `global` for the platform. */
  readonly scope: string;
  readonly files: number;
  /** The first and last entry that were verified. */
  readonly from: number;
  readonly to: number;
  /** The hash of the last one: that of the base checkpoint in the database, until more is deleted. */
  readonly hash: string;
  readonly firstBroken?: { readonly path: string; readonly reason: string };
}

type Link = { readonly seq: number; readonly hash: string };
const PATH = /(?:^|\/)audit\/([A-Za-z0-9._@+=-]+)\/(\d+)-(\d+)\.ndjson\.gz$/;

/**
 * Writes entries of a chain and their checkpoint to the archive: one JSON object a line, the checkpoint last. The same entries have
 * the same path. Throws `archive_unavailable`.
 */
export async function archiveChain(archive: Archive | null, entries: readonly JsonObject[], base: Checkpoint): Promise<void> {
  if (!archive) {
    throw new InnkeepError(
      "archive_unavailable",
      "No archive is configured. Set INNKEEP_ARCHIVE_BUCKET or INNKEEP_ARCHIVE_DIR for the jobs.",
    );
  }
  const lines = [...entries, base].map((line) => `${JSON.stringify(line)}\n`);
  await archive.put(
    archivePath(base.scope, Number(entries[0]?.["seq"]), base.seq),
    await piped(new Blob(lines), new CompressionStream("gzip")),
  );
}

/** `~` is a character of ids, but not of the names of objects in Supabase Storage. */
export function archivePath(scope: string, from: number, to: number): string {
  return `audit/${scope.replaceAll("~", "=7E")}/${from}-${to}.ndjson.gz`;
}

/** The scope and the entries that a path names; null if it is not one of `archivePath`. */
export function partOfPath(path: string): { readonly scope: string; readonly from: number; readonly to: number } | null {
  const [, scope, from, to] = PATH.exec(path) ?? [];
  return scope === undefined ? null : { scope: scope.replaceAll("=7E", "~"), from: Number(from), to: Number(to) };
}

/**
 * Verifies the files of one chain: each entry against its predecessor, also from file to file, each checkpoint against its entry,
 * and its signature. A file whose entries another one has too, which a deletion that was interrupted leaves, is verified by itself.
 */
export async function verifyArchive(
  paths: readonly string[],
  read: (path: string) => Promise<Uint8Array>,
  keys: AuditKeys,
): Promise<ArchiveReport> {
  const files = paths.map((path) => ({ path, part: partOfPath(path) })).sort((a, b) =>
    (a.part?.from ?? 0) - (b.part?.from ?? 0) || (b.part?.to ?? 0) - (a.part?.to ?? 0)
  );
  const scope = files[0]?.part?.scope ?? "";
  let [from, at]: [number, Link | null] = [0, null];
  const report = () => ({ scope, files: files.length, from, to: at?.seq ?? 0, hash: at?.hash ?? "" });
  for (const { path, part } of files) {
    const broken = (reason: string): ArchiveReport => ({ ok: false, ...report(), firstBroken: { path, reason } });
    if (part?.scope !== scope) return broken("the file does not belong to the chain");
    if (at && part.from > at.seq + 1) return broken(`entries ${at.seq + 1} to ${part.from - 1} are missing`);
    const content = await linesOf(await read(path)).catch((error: unknown) => String(error));
    if (typeof content === "string") return broken(`the file cannot be read: ${content}`);
    const link: Link = at && part.from === at.seq + 1 ? at : startOf(content, part.from);
    const end = await endOf(content, link, scope === "global" ? null : scope, keys);
    if (typeof end === "string") return broken(end);
    if (end.seq !== part.to) return broken(`the file ends with entry ${end.seq}, not with ${part.to}`);
    if (!at) from = part.from;
    if (!at || end.seq > at.seq) at = end;
  }
  return { ok: true, ...report() };
}

/** The link that the first entry names; the beginning of the chain for entry 1. */
function startOf([first]: readonly JsonObject[], from: number): Link {
  return from === 1 ? START : { seq: from - 1, hash: String(first?.["prevHash"]) };
}

/** The last entry of a file, or why the file is not valid. */
async function endOf(lines: readonly JsonObject[], start: Link, scope: string | null, keys: AuditKeys): Promise<Link | string> {
  const parsed = checkpoint.schema.safeParse(lines.at(-1));
  if (!parsed.success) return "the last line is not a checkpoint";
  const fault = await checkpointFault(parsed.data, scope, keys);
  if (fault !== null) return fault;
  let link = start;
  for (const entry of lines.slice(0, -1)) {
    const key = String(entry["id"]);
    const reason = await brokenBecause(key, entry, link, { head: null, checkpoints: [parsed.data] });
    if (reason !== null) return `entry ${link.seq + 1}: ${reason}`;
    link = { seq: link.seq + 1, hash: String(entry["hash"]) };
  }
  return link.seq === parsed.data.seq ? link : `the checkpoint is that of entry ${parsed.data.seq}, and the last entry is ${link.seq}`;
}

async function linesOf(bytes: Uint8Array): Promise<JsonObject[]> {
  const text = new TextDecoder("utf-8", { fatal: true }).decode(
    await piped(new Blob([bytes as Uint8Array<ArrayBuffer>]), new DecompressionStream("gzip")),
  );
  return text.split("\n").filter((line) => line !== "").map((line) => JSON.parse(line) as JsonObject);
}

async function piped(blob: Blob, through: CompressionStream | DecompressionStream): Promise<Uint8Array> {
  return new Uint8Array(await new Response(blob.stream().pipeThrough(through)).arrayBuffer());
}
