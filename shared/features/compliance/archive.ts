import type { AnyEntity } from "../../kv/define.ts";
import { zipLength } from "../files/bundle.ts";
import type { StoredFile } from "../files/entity.ts";
import type { ComplianceRequest, ExportRun } from "./entity.ts";
import { exportedSchema } from "./formats.ts";

interface Exported {
  readonly request: ComplianceRequest;
  readonly run: ExportRun;
  /** The files of the parts that have not failed, in their order. */
  readonly files: readonly StoredFile[];
  readonly entities: readonly AnyEntity[];
  readonly asOf: { readonly from: string; readonly to: string };
}

/** What the archive contains: of each file its length, SHA-256, number of records and their JSON Schema. */
export function manifestOf({ request, run, files, entities, asOf }: Exported): string {
  const done = run.parts.filter(({ error }) => error === undefined);
  const { id: requestId, tenantId, format = "ndjson", requestedBy, requestedByEmail } = request;
  const manifest = {
    requestId,
    tenantId,
    requestedBy,
    requestedByEmail,
    format,
    asOf,
    parts: done.map(({ type, records }, i) => {
      const { name, bytes, sha256 } = files[i] as StoredFile;
      const entity = entities.find((each) => each.name === type);
      return { type, file: name, records, bytes, sha256, schema: entity && exportedSchema(entity) };
    }),
    failed: run.parts.flatMap(({ type, error }) => error === undefined ? [] : [{ type, error }]),
  };
  return `${JSON.stringify(manifest, null, 2)}\n`;
}

/** The members of a stored file that is the archive of other files. */
export async function archiveOf(files: readonly StoredFile[]): Promise<Pick<StoredFile, "parts" | "bytes">> {
  return { parts: files.map(({ name, id }) => ({ name, fileId: id })), bytes: await zipLength(files) };
}
