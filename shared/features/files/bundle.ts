import { Collection } from "../../core/collection.ts";
import { errors } from "../../kernel/errors.ts";
import type { Store } from "../../kv/store.ts";
import { contentOf } from "./content.ts";
import { type StoredFile, storedFile } from "./entity.ts";

type Bytes = Uint8Array<ArrayBuffer>;
type Parts = NonNullable<StoredFile["parts"]>;

/** The length of the ZIP archive of files with these names and lengths. */
export async function zipLength(files: readonly { readonly name: string; readonly bytes: number }[]): Promise<number> {
  const { predictLength } = await import("client-zip");
  return Number(predictLength(files.map(({ name, bytes }) => ({ name, size: bytes }))));
}

/** The ZIP archive of other files, made while it is sent. Throws `not_found` if one of them is gone. */
export async function zipOf(
  store: Store,
  { tenantId, createdAt }: StoredFile,
  parts: Parts,
): Promise<AsyncGenerator<Bytes, void, undefined>> {
  const { makeZip } = await import("client-zip");
  const files = new Collection(storedFile, store);
  const found = await files.getMany(parts.map(({ fileId }) => files.key({ tenantId, id: fileId })));
  const entries = parts.map(({ name, fileId }, i) => {
    const file = found[i];
    if (!file) throw errors.notFound("file", fileId);
    return { name, size: file.bytes, lastModified: new Date(createdAt), input: contentOf(store, file) };
  });
  return partsOf(makeZip(entries) as ReadableStream<Bytes>);
}

/** The parts of a stream, which is cancelled when the receiver is gone. */
async function* partsOf(stream: ReadableStream<Bytes>): AsyncGenerator<Bytes, void, undefined> {
  const reader = stream.getReader();
  try {
    for (let next = await reader.read(); !next.done; next = await reader.read()) yield next.value;
  } finally {
    await reader.cancel();
  }
}
