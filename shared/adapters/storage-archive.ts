import type { Archive } from "../kernel/archive.ts";
import { InnkeepError } from "../kernel/errors.ts";
import type { Fetch } from "../ports.ts";

export interface StorageArchiveOptions {
  /** The project's URL. */
  readonly url: string;
  /** The service role key. */
  readonly key: string;
  readonly bucket: string;
  readonly fetch: Fetch;
  /** The time limit of one upload, including its response. Default: 15 s. */
  readonly timeoutMs?: number;
}

const TIMEOUT_MS = 15_000;
const MAX_REASON = 200;

/** An archive in a bucket of Supabase Storage. An upload replaces the object that is there, so it can be repeated. */
export function storageArchive({ url, key, bucket, fetch, timeoutMs = TIMEOUT_MS }: StorageArchiveOptions): Archive {
  const root = `${url.replace(/\/+$/, "")}/storage/v1/object/${encodeURIComponent(bucket)}`;
  const headers = { authorization: `Bearer ${key}`, apikey: key, "x-upsert": "true", "content-type": "application/gzip" };
  return {
    async put(path, bytes) {
      const target = `${root}/${path.split("/").map(encodeURIComponent).join("/")}`;
      const reason = await failureOf(
        fetch(target, { method: "POST", headers, body: bytes as Uint8Array<ArrayBuffer>, signal: AbortSignal.timeout(timeoutMs) }),
      );
      if (reason === null) return;
      throw new InnkeepError("archive_unavailable", `The bucket ${bucket} did not accept ${path}: ${reason}. Nothing was deleted.`);
    },
  };
}

/** Why an upload failed; null if it did not. The response must arrive whole: a connection that breaks before may have stored nothing. */
async function failureOf(upload: Promise<Response>): Promise<string | null> {
  try {
    const response = await upload;
    const text = await response.text();
    return response.ok ? null : `status ${response.status} ${text.slice(0, MAX_REASON)}`.trim();
  } catch (error) {
    return error instanceof Error ? `${error.name} ${error.message}`.trim() : String(error);
  }
}
