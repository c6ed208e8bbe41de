import { Collection } from "../../core/collection.ts";
import type { FileReply } from "../../core/reply.ts";
import type { UnitOfWork } from "../../core/unit-of-work.ts";
import { errors } from "../../kernel/errors.ts";
import { downloadOf } from "./download.ts";
import { isComplete, storedFile } from "./entity.ts";
import { checkLink } from "./links.ts";

/** A link as it was sent. */
export interface SignedLink {
  readonly owner?: string | undefined;
  readonly expiresAt: string;
  readonly signature: string;
}

export class FileService {
  constructor(private readonly work: UnitOfWork) {}

  /** The file of a signed link. The download is audited. Throws `not_found`, `link_expired`. */
  async download(id: string, { owner: tenantId, expiresAt, signature }: SignedLink): Promise<FileReply> {
    const { store, platform } = this.work;
    await checkLink(platform.secrets, { id, tenantId, expiresAt, signature }, this.work.now());
    const files = new Collection(storedFile, store);
    const file = await files.get(files.key({ tenantId, id }));
    if (!file || !isComplete(file)) throw errors.notFound("file", id);
    return await downloadOf(this.work, file);
  }
}
