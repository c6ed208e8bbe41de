import { Collection, type Stored } from "../../core/collection.ts";
import type { UnitOfWork } from "../../core/unit-of-work.ts";
import { fromBase64, toBase64Url } from "../../kernel/base64.ts";
import { InnkeepError } from "../../kernel/errors.ts";
import type { Check, Mutation, Store } from "../../kv/store.ts";
import { fileChunk, type StoredFile, storedFile } from "./entity.ts";

type Bytes = Uint8Array<ArrayBuffer>;
type NewFile = Pick<StoredFile, "name" | "mediaType" | "expiresAt"> & { readonly tenantId?: string | undefined };

/** What does not become shorter by gzip still fits a value of 256 KiB as base64url. */
const CHUNK_BYTES = 180 * 1_024;
/** With gzip and base64url, a commit of incompressible content is still below 4 MiB. */
export const MAX_APPEND_BYTES = 2_400 * 1_024;
const CHUNKS_AT_ONCE = 8;

/** Writes to a file, to be committed together with the cursor of the job that makes them. */
export interface FileStep {
  readonly file: StoredFile;
  readonly checks: readonly Check[];
  readonly mutations: readonly Mutation[];
}

/** A new, empty file. Call it only within a decision. */
export function newFile(work: UnitOfWork, { tenantId, ...given }: NewFile): StoredFile {
  const own = tenantId === undefined ? {} : { tenantId };
  return { ...given, ...own, id: work.newId("file"), bytes: 0, chunks: 0, createdAt: work.now() };
}

/** Creates the file. */
export function creationOf({ store }: UnitOfWork, file: StoredFile): FileStep {
  const files = new Collection(storedFile, store);
  return { file, checks: [{ key: files.keyOfRecord(file), version: null }], mutations: [files.set(file, expiryOf(file))] };
}

/**
 * Adds content at the end, at most `MAX_APPEND_BYTES`. The commit fails if another step has changed the file, so a step that is
 * repeated after a crash writes nothing twice. With `isLast`, the file is complete and has its digest.
 */
export async function appended(
  { store }: UnitOfWork,
  before: Stored<typeof storedFile>,
  content: Bytes,
  { isLast = false }: { readonly isLast?: boolean } = {},
): Promise<FileStep> {
  if (content.length > MAX_APPEND_BYTES) throw new RangeError(`At most ${MAX_APPEND_BYTES} bytes can be added at once`);
  const { version, hashState, ...known } = before;
  const [files, chunks] = [new Collection(storedFile, store), new Collection(fileChunk, store)];
  const pieces = Array.from({ length: Math.ceil(content.length / CHUNK_BYTES) }, (_, i) => (
    content.subarray(i * CHUNK_BYTES, (i + 1) * CHUNK_BYTES)
  ));
  const { tenantId } = before;
  const added = await Promise.all(pieces.map(async (piece, i) => (
    chunks.set({
      fileId: before.id,
      ...(tenantId === undefined ? {} : { tenantId }),
      number: String(before.chunks + i),
      content: toBase64Url(await bytesOf(piped(piece, new CompressionStream("gzip")))),
    }, expiryOf(before))
  )));
  const file: StoredFile = {
    ...known,
    bytes: before.bytes + content.length,
    chunks: before.chunks + pieces.length,
    ...await digest(hashState, content, isLast),
  };
  return {
    file,
    checks: [{ key: files.keyOfRecord(file), version }],
    mutations: [files.set(file, expiryOf(file)), ...added],
  };
}

/** The content in parts. Throws `not_found` if the file expires meanwhile. */
export async function* contentOf(store: Store, file: StoredFile): AsyncGenerator<Bytes, void, undefined> {
  const chunks = new Collection(fileChunk, store);
  for (let from = 0; from < file.chunks; from += CHUNKS_AT_ONCE) {
    const numbers = Array.from({ length: Math.min(CHUNKS_AT_ONCE, file.chunks - from) }, (_, i) => String(from + i));
    const found = await chunks.getMany(numbers.map((number) => chunks.key({ tenantId: file.tenantId, fileId: file.id, number })));
    for (const chunk of found) {
      const gzip = chunk && fromBase64(chunk.content);
      if (!gzip) throw new InnkeepError("not_found", `The file ${file.id} was deleted while it was read.`);
      yield await bytesOf(piped(gzip, new DecompressionStream("gzip")));
    }
  }
}

/** Deletes the file and its content, in pages of mutations that fit a commit each. */
export function* deletionOf({ store }: Pick<UnitOfWork, "store">, file: StoredFile): Generator<Mutation[], void, undefined> {
  const [files, chunks] = [new Collection(storedFile, store), new Collection(fileChunk, store)];
  yield [{ op: "delete", key: files.keyOfRecord(file) }];
  for (let from = 0; from < file.chunks; from += DELETED_AT_ONCE) {
    yield Array.from({ length: Math.min(DELETED_AT_ONCE, file.chunks - from) }, (_, i) => ({
      op: "delete",
      key: chunks.key({ tenantId: file.tenantId, fileId: file.id, number: String(from + i) }),
    }));
  }
}

/** Above 200 keys a commit locks whole families. */
const DELETED_AT_ONCE = 180;

function expiryOf({ expiresAt }: StoredFile): { readonly expiresAt: string } {
  return { expiresAt };
}

/** The digest of the content, or the state from which the next step continues it. */
async function digest(state: string | undefined, content: Bytes, isLast: boolean): Promise<Pick<StoredFile, "sha256" | "hashState">> {
  // Web Crypto hashes only a whole content, and a job cannot keep a file in memory over its steps.
  const { createSHA256 } = await import("hash-wasm");
  const hash = await createSHA256();
  const saved = state === undefined ? null : fromBase64(state);
  if (saved) hash.load(saved);
  else hash.init();
  hash.update(content);
  return isLast ? { sha256: hash.digest("hex") } : { hashState: toBase64Url(hash.save()) };
}

function piped(content: Bytes, through: CompressionStream | DecompressionStream): ReadableStream<Bytes> {
  return new Blob([content]).stream().pipeThrough(through);
}

async function bytesOf(stream: ReadableStream<Bytes>): Promise<Bytes> {
  return new Uint8Array(await new Response(stream).arrayBuffer());
}
