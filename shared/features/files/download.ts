import { FileReply } from "../../core/reply.ts";
import { streamOf } from "../../core/stream.ts";
import type { UnitOfWork } from "../../core/unit-of-work.ts";
import { zipOf } from "./bundle.ts";
import { contentOf } from "./content.ts";
import { type StoredFile, storedFile } from "./entity.ts";

/** Sends the file. The download is audited before, in the log of the file's tenant, or of the platform. */
export async function downloadOf(work: UnitOfWork, file: StoredFile): Promise<FileReply> {
  const { id, tenantId, name, mediaType, bytes, sha256 } = file;
  const data = { name, bytes, ...(sha256 === undefined ? {} : { sha256 }) };
  const note = { action: "file.downloaded", resource: storedFile.name, resourceId: id, tenantId, data };
  await work.transact(() => ({ commit: { audit: [note], result: {} }, resultOf: null }));
  const content = file.parts ? await zipOf(work.store, file, file.parts) : contentOf(work.store, file);
  return new FileReply(streamOf(content, work.platform.logger), { name, type: mediaType });
}
