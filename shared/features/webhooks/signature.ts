import { fromBase64 } from "../../kernel/base64.ts";
import { InnkeepError } from "../../kernel/errors.ts";

const PREFIX = "whsec_";
const HMAC = { name: "HMAC", hash: "SHA-256" };

/** What is signed: the id and the instant of the attempt belong to the signature, so neither can be changed. */
export interface SignedMessage {
  readonly id: string;
  readonly timestampMs: number;
  readonly body: Uint8Array;
}

/**
 * The headers of Standard Webhooks 1.0: `webhook-id`, `webhook-timestamp` in seconds, and `webhook-signature` with one signature
 * (`v1`, HMAC-SHA-256) for each secret. Throws `internal` for a secret that is not `whsec_` and base64.
 */
export async function signatureHeaders(
  { id, timestampMs, body }: SignedMessage,
  secrets: readonly string[],
): Promise<Readonly<Record<string, string>>> {
  const timestamp = String(Math.floor(timestampMs / 1_000));
  const signed = joined(new TextEncoder().encode(`${id}.${timestamp}.`), body);
  const signatures = await Promise.all(secrets.map((secret) => signatureOf(secret, signed)));
  return { "webhook-id": id, "webhook-timestamp": timestamp, "webhook-signature": signatures.join(" ") };
}

async function signatureOf(secret: string, signed: Uint8Array<ArrayBuffer>): Promise<string> {
  const bytes = secret.startsWith(PREFIX) ? fromBase64(secret.slice(PREFIX.length)) : null;
  if (!bytes || bytes.length === 0) throw new InnkeepError("internal", "The signing secret is not whsec_ followed by base64.");
  const key = await crypto.subtle.importKey("raw", bytes, HMAC, false, ["sign"]);
  const signature = new Uint8Array(await crypto.subtle.sign("HMAC", key, signed));
  return `v1,${btoa(String.fromCharCode(...signature))}`;
}

function joined(a: Uint8Array, b: Uint8Array): Uint8Array<ArrayBuffer> {
  const bytes = new Uint8Array(a.length + b.length);
  bytes.set(a);
  bytes.set(b, a.length);
  return bytes;
}
