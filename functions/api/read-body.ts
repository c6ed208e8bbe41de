import type { Context } from "hono";
import { errors, InnkeepError } from "../../shared/kernel/errors.ts";

export const MAX_BODY_BYTES = 1024 * 1024;
const JSON_TYPE = /^application\/json\s*(;|$)/i;
const MERGE_PATCH_TYPE = /^application\/merge-patch\+json\s*(;|$)/i;

/** The JSON body, or undefined when there is none. 413 over 1 MiB of real bytes, 415 not JSON, 400 malformed. */
export async function readJsonBody(c: Context): Promise<unknown> {
  const bytes = await readBytes(c.req.raw);
  if (bytes.length === 0) return undefined;
  const type = c.req.header("content-type") ?? "";
  if (!JSON_TYPE.test(type) && !(c.req.method === "PATCH" && MERGE_PATCH_TYPE.test(type))) {
    throw new InnkeepError("unsupported_media_type", "the body must be application/json");
  }
  try {
    return JSON.parse(new TextDecoder("utf-8", { fatal: true }).decode(bytes));
  } catch (error) {
    // The parser's message quotes the body, which may hold a secret: it goes no further.
    throw new InnkeepError("invalid_json", "the body is not JSON in UTF-8", [], {}, { cause: error });
  }
}

async function readBytes(request: Request): Promise<Uint8Array> {
  if (!request.body) return new Uint8Array();
  const declared = Number(request.headers.get("content-length") ?? "0");
  if (declared > MAX_BODY_BYTES) throw errors.tooLarge("the body", declared, MAX_BODY_BYTES);
  const chunks: Uint8Array[] = [];
  let size = 0;
  const reader = request.body.getReader();
  for (let part = await reader.read(); !part.done; part = await reader.read()) {
    size += part.value.length;
    if (size > MAX_BODY_BYTES) {
      await reader.cancel();
      throw new InnkeepError("payload_too_large", `the body is over ${MAX_BODY_BYTES} bytes`, [], { limit: MAX_BODY_BYTES });
    }
    chunks.push(part.value);
  }
  if (chunks.length === 1 && chunks[0]) return chunks[0];
  const bytes = new Uint8Array(size);
  let at = 0;
  for (const chunk of chunks) {
    bytes.set(chunk, at);
    at += chunk.length;
  }
  return bytes;
}
