import type { JSONWebKeySet, JWK } from "jose";
import type { Fetch } from "../ports.ts";

export interface KeySetSource {
  readonly url: string;
  readonly fetch: Fetch;
  /** The time limit of the request, including the response body. */
  readonly timeoutMs: number;
}

/** The maximum size of a response. A key takes about half a KiB. */
export const MAX_KEY_SET_BYTES = 64 * 1024;
/** Shorter RSA keys must not be used (RFC 7518 §3.3). */
const MIN_RSA_BITS = 2_048;

/**
 * Fetches a JWK Set (RFC 7517 §5) and returns its usable keys. Throws if there are none, so that an empty or invalid response never
 * replaces keys that were fetched before.
 */
export async function fetchKeySet({ url, fetch, timeoutMs }: KeySetSource): Promise<JSONWebKeySet> {
  const signal = AbortSignal.timeout(timeoutMs);
  const response = await fetch(url, { signal, headers: { accept: "application/json" } });
  if (!response.ok) {
    await response.body?.cancel();
    throw new Error(`the key set request returned status ${response.status}`);
  }
  const keys = keysIn(JSON.parse(await textOf(response)));
  const usable = await Promise.all(keys.map(isUsable));
  const good = keys.filter((_, i) => usable[i]);
  if (good.length === 0) throw new Error("the key set contains no usable key");
  return { keys: good };
}

/** Reads the body in chunks, because a Content-Length may be wrong. */
async function textOf(response: Response): Promise<string> {
  const decoder = new TextDecoder();
  let text = "";
  let bytes = 0;
  for await (const chunk of response.body ?? []) {
    bytes += chunk.length;
    if (bytes > MAX_KEY_SET_BYTES) throw new Error(`the key set response exceeds ${MAX_KEY_SET_BYTES} bytes`);
    text += decoder.decode(chunk, { stream: true });
  }
  return text + decoder.decode();
}

function keysIn(body: unknown): JWK[] {
  const keys = isMembers(body) ? body["keys"] : undefined;
  if (!Array.isArray(keys)) throw new Error("the key set response is not a JWK Set");
  return keys.filter((key): key is JWK => isMembers(key) && typeof key["kty"] === "string");
}

/** Whether a key can verify accepted tokens: a public ES256 or RS256 key for signatures. */
async function isUsable(key: JWK): Promise<boolean> {
  const alg = key.kty === "EC" && key.crv === "P-256" ? "ES256" : key.kty === "RSA" ? "RS256" : null;
  if (alg === null || (key.alg ?? alg) !== alg || (key.use ?? "sig") !== "sig") return false;
  if (key.key_ops !== undefined && !(Array.isArray(key.key_ops) && key.key_ops.includes("verify"))) return false;
  const jose = await import("jose");
  return await jose.importJWK(key, alg).then((made) => "type" in made && made.type === "public" && isLongEnough(made), () => false);
}

function isLongEnough({ algorithm }: { readonly algorithm: object }): boolean {
  return !("modulusLength" in algorithm) || Number(algorithm.modulusLength) >= MIN_RSA_BITS;
}

function isMembers(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}
