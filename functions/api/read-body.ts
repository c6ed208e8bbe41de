import type { Context } from "hono";
import { errors, InnkeepError } from "../../shared/kernel/errors.ts";
import { assertJsonLimits } from "./json-limits.ts";

export const MAX_BODY_BYTES = 1024 * 1024;
const JSON_TYPE = /^application\/json\s*(;|$)/i;
const MERGE_PATCH_TYPE = /^application\/merge-patch\+json\s*(;|$)/i;

/** The body ended early because the client disconnected. No response can reach the client. */
export class ClientClosedRequest extends Error {
  override readonly name = "ClientClosedRequest";
}

/**
 * Returns the JSON body, or undefined if there is none. Checks in this order: 413 for more than 1 MiB, 415 for another
 * type, 422 for too many levels or values, 400 for malformed JSON. `types`: media types besides those of JSON and merge patch.
 */
export async function readJsonBody(c: Context, types: readonly string[] = []): Promise<unknown> {
  const bytes = await readBytes(c.req.raw);
  if (bytes.length === 0) return undefined;
  const type = c.req.header("content-type") ?? "";
  const isNamed = types.includes(type.split(";")[0]?.trim().toLowerCase() ?? "");
  if (!isNamed && !JSON_TYPE.test(type) && !(c.req.method === "PATCH" && MERGE_PATCH_TYPE.test(type))) {
    throw new InnkeepError("unsupported_media_type", "The body must be application/json.");
  }
  if (!/^(identity)?$/i.test(c.req.header("content-encoding")?.trim() ?? "")) {
    throw new InnkeepError("unsupported_media_type", "The body must not have a Content-Encoding. Send it uncompressed.");
  }
  assertJsonLimits(bytes);
  try {
    return JSON.parse(new TextDecoder("utf-8", { fatal: true }).decode(bytes));
  } catch (error) {
    // The parser's message quotes the body, which may contain a secret, so the response omits it.
    throw new InnkeepError("invalid_json", "The body is not JSON in UTF-8.", [], {}, { cause: error });
  }
}

/** Refuses a body on DELETE. It would have no effect, so sending one is a mistake of the caller. */
export async function assertNoBody(c: Context): Promise<void> {
  for await (const part of partsOf(c.req.raw)) {
    if (part.length === 0) continue;
    throw new InnkeepError("bad_request", `A ${c.req.method} takes no body. Use the path and the query.`);
  }
}

async function readBytes(request: Request): Promise<Uint8Array> {
  const declared = Number(request.headers.get("content-length") ?? "0");
  if (request.body && declared > MAX_BODY_BYTES) throw errors.tooLarge("The body", declared, MAX_BODY_BYTES);
  const chunks: Uint8Array[] = [];
  let size = 0;
  for await (const part of partsOf(request)) {
    size += part.length;
    if (size > MAX_BODY_BYTES) {
      throw new InnkeepError("payload_too_large", `The body is over ${MAX_BODY_BYTES} bytes.`, [], { limit: MAX_BODY_BYTES });
    }
    chunks.push(part);
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

/** Yields the body's chunks. A caller that stops early cancels the rest. Throws {@link ClientClosedRequest}. */
async function* partsOf(request: Request): AsyncGenerator<Uint8Array, void, undefined> {
  if (!request.body) return;
  const reader = request.body.getReader();
  let isOver = false;
  try {
    for (;;) {
      const part = await reader.read().catch((error: unknown) => {
        isOver = true;
        throw new ClientClosedRequest("The body ended early.", { cause: error });
      });
      isOver ||= part.done;
      if (part.done) return;
      yield part.value;
    }
  } finally {
    if (!isOver) await reader.cancel();
  }
}
