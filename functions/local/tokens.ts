import { exportJWK, generateKeyPair, importJWK, SignJWT } from "jose";
import type { JWK } from "jose";
import { systemClock } from "../../shared/kernel/clock.ts";

/** The local equivalent of a Supabase project's signing key: ES256. The public key is the JWKS. */
export interface SigningKey {
  readonly kid: string;
  readonly privateJwk: JWK;
  readonly publicJwk: JWK;
}

export interface TokenRequest {
  readonly userId: string;
  readonly email: string;
  /** The claims that only a server can write: `tenant_id`, `tenant_role`. */
  readonly appMetadata: Readonly<Record<string, unknown>>;
  readonly expiresInSeconds: number;
}

export async function createSigningKey(): Promise<SigningKey> {
  const { privateKey, publicKey } = await generateKeyPair("ES256", { extractable: true });
  const kid = crypto.randomUUID();
  return {
    kid,
    privateJwk: { ...await exportJWK(privateKey), kid, alg: "ES256" },
    publicJwk: { ...await exportJWK(publicKey), kid, alg: "ES256", use: "sig" },
  };
}

export function issuerOf(url: string): string {
  return `${url}/auth/v1`;
}

/** Signs a token in the form that Supabase Auth issues, for the API at `url`. */
export async function signToken(key: SigningKey, url: string, request: TokenRequest): Promise<string> {
  const nowSeconds = Math.floor(systemClock.now() / 1_000);
  return await new SignJWT({
    email: request.email,
    role: "authenticated",
    // So that the settings require2FA and enforceSSO can be tried without an identity provider.
    aal: "aal2",
    amr: [{ method: "sso/saml", timestamp: nowSeconds }, { method: "totp", timestamp: nowSeconds }],
    app_metadata: { provider: "email", ...request.appMetadata },
    user_metadata: {},
  })
    .setProtectedHeader({ alg: "ES256", kid: key.kid, typ: "JWT" })
    .setSubject(request.userId)
    .setIssuer(issuerOf(url))
    .setAudience("authenticated")
    .setIssuedAt(nowSeconds)
    .setExpirationTime(nowSeconds + request.expiresInSeconds)
    .sign(await importJWK(key.privateJwk, "ES256"));
}
