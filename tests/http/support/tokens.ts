import { exportJWK, generateKeyPair, type JSONWebKeySet, type JWTPayload, SignJWT } from "jose";
import type { Clock } from "../../../shared/kernel/clock.ts";

export const ISSUER = "https://project.supabase.example/auth/v1";
export const AUDIENCE = "authenticated";

export interface Signer {
  readonly jwks: JSONWebKeySet;
  /** Signs a Supabase Auth access token. `claims` replace its claims; undefined removes one. */
  sign(subject: string, claims?: Readonly<Record<string, unknown>>): Promise<string>;
}

/** Creates a signing key in memory. */
export async function makeSigner(clock: Clock, alg: "ES256" | "RS256" = "ES256", kid = "test-key"): Promise<Signer> {
  const { publicKey, privateKey } = await generateKeyPair(alg, { extractable: true });
  const jwks = { keys: [{ ...await exportJWK(publicKey), kid, alg, use: "sig" }] };
  return {
    jwks,
    sign: (subject, claims = {}) => {
      const now = Math.floor(clock.now() / 1_000);
      const payload = { iss: ISSUER, aud: AUDIENCE, iat: now, exp: now + 3_600, sub: subject, role: "authenticated", ...claims };
      return new SignJWT(payload).setProtectedHeader({ alg, kid, typ: "JWT" }).sign(privateKey);
    },
  };
}

/** An unsigned token, with `alg: none`. */
export function unsigned(payload: JWTPayload, header: Record<string, unknown> = { alg: "none", typ: "JWT" }): string {
  const encode = (part: unknown) => Buffer.from(JSON.stringify(part)).toString("base64url");
  return `${encode(header)}.${encode(payload)}.`;
}
