import type { JSONWebKeySet, JWTPayload, JWTVerifyGetKey, JWTVerifyOptions } from "jose";
import type { Clock } from "../kernel/clock.ts";
import { InnkeepError } from "../kernel/errors.ts";
import { findUnstorable } from "../kernel/json.ts";
import type { Fetch, TokenClaims, TokenVerifier } from "../ports.ts";
import { fetchKeySet } from "./key-set.ts";

export interface TokenVerifierOptions {
  readonly issuer: string;
  readonly audience: string;
  /** The URL of the project's key set, or the keys. If omitted, only the legacy secret is used. */
  readonly jwks?: { readonly url: string } | JSONWebKeySet | undefined;
  /** The project's legacy shared secret. Without it, HS256 tokens are refused. */
  readonly legacySecret?: string | undefined;
  readonly clock: Clock;
  readonly fetch: Fetch;
  /** The minimum time between two fetches of the key set, which limits fetches caused by unknown `kid`s. Default: 30 s. */
  readonly refetchFloorMs?: number;
  /** The maximum age of keys and cached tokens, so that a withdrawn key is not accepted for longer. Default: 10 min. */
  readonly keysMaxAgeMs?: number;
  /** The time limit of a fetch of the key set, including the body. Default: 5 s. */
  readonly keysTimeoutMs?: number;
  /** The maximum number of cached tokens. Default: 5,000. */
  readonly cacheSize?: number;
}

const MAX_TOKEN_CHARS = 8_192;
const FIRST_READ_FLOOR_MS = 1_000;
/**
 * The maximum clock skew of the issuer. RFC 7519 §4.1.6 defines no treatment of a later `iat`. It is refused, because `iat` becomes
 * the time of the last sign-in: a future time would hide later sign-ins, and the current time would make each use one.
 */
const MAX_CLOCK_SKEW_MS = 300_000;
/** jose is loaded with the first token, which shortens a cold start. */
let loading: Promise<typeof import("jose")> | undefined;
const loadJose = () => loading ??= import("jose");

/**
 * Verifies Supabase Auth tokens (RFC 7519) locally: signature, `iss`, `aud`, `exp`, `nbf`, `iat`, `sub`. The configuration determines
 * the accepted algorithms and the key of each, which excludes `alg: none` and algorithm confusion (RFC 8725 §2.1). Throws
 * `unauthenticated`, or `keys_unavailable` if the keys cannot be fetched.
 */
export function createTokenVerifier(options: TokenVerifierOptions): TokenVerifier {
  const { clock, legacySecret, cacheSize = 5_000 } = options;
  const verified = new Map<string, { readonly claims: TokenClaims; readonly untilMs: number }>();
  const keySet = options.jwks ? createKeySet(options.jwks, options) : null;
  const secret = legacySecret ? new TextEncoder().encode(legacySecret) : null;

  async function check(token: string): Promise<TokenClaims> {
    if (token.length > MAX_TOKEN_CHARS) throw refused("The token is too long.");
    const jose = await loadJose();
    const rules: JWTVerifyOptions = {
      issuer: options.issuer,
      audience: options.audience,
      requiredClaims: ["exp", "sub"],
      currentDate: new Date(clock.now()),
    };
    try {
      const { alg } = jose.decodeProtectedHeader(token);
      if (alg === "HS256" && secret) {
        return claimsOf((await jose.jwtVerify(token, secret, { ...rules, algorithms: ["HS256"] })).payload, clock.now());
      }
      if (!keySet || (alg !== "ES256" && alg !== "RS256")) throw refused("The token's algorithm is not accepted.");
      return claimsOf(
        (await jose.jwtVerify(token, await keySet.getKey(), { ...rules, algorithms: ["ES256", "RS256"] })).payload,
        clock.now(),
      );
    } catch (error) {
      throw error instanceof InnkeepError ? error : refused(reasonOf(error), error);
    }
  }

  return {
    async verify(token) {
      const known = verified.get(token);
      const now = clock.now();
      if (known && now < known.untilMs) return known.claims;
      if (known) verified.delete(token);
      if (known && known.claims.expiresAtMs <= now) throw refused("The token has expired.");
      const claims = await check(token);
      const oldest = verified.size >= cacheSize ? verified.keys().next().value : undefined;
      if (oldest !== undefined) verified.delete(oldest);
      // Cached no longer than the keys, so that tokens of a withdrawn key are refused with it.
      verified.set(token, { claims, untilMs: Math.min(claims.expiresAtMs, keySet?.trustedUntilMs() ?? Infinity) });
      return claims;
    },
  };
}

type KeyRules = Pick<TokenVerifierOptions, "clock" | "fetch" | "refetchFloorMs" | "keysMaxAgeMs" | "keysTimeoutMs">;

interface KeySet {
  getKey(): Promise<JWTVerifyGetKey>;
  /** When tokens that these keys verified must be verified again, in milliseconds since the Unix epoch. */
  trustedUntilMs(): number;
}

/** The signing keys: given, or fetched and fetched again after their maximum age or for an unknown `kid`, one request at a time. */
function createKeySet(source: { readonly url: string } | JSONWebKeySet, rules: KeyRules): KeySet {
  const { clock, fetch, refetchFloorMs = 30_000, keysMaxAgeMs = 600_000, keysTimeoutMs = 5_000 } = rules;
  let keys: JWTVerifyGetKey | null = null;
  let triedAtMs = -Infinity;
  let readAtMs = -Infinity;
  let running: Promise<void> | null = null;

  async function read(url: string): Promise<void> {
    triedAtMs = clock.now();
    const jose = await loadJose();
    keys = jose.createLocalJWKSet(await fetchKeySet({ url, fetch, timeoutMs: keysTimeoutMs }));
    readAtMs = clock.now();
  }

  async function refresh(url: string): Promise<void> {
    // Without keys every token is refused, so the next fetch may be earlier.
    const floorMs = keys ? refetchFloorMs : Math.min(refetchFloorMs, FIRST_READ_FLOOR_MS);
    if (!running && clock.now() - triedAtMs < floorMs) return;
    running ??= read(url).finally(() => running = null);
    try {
      await running;
    } catch (error) {
      // If a fetch fails, earlier keys stay in use.
      if (!keys) throw new InnkeepError("keys_unavailable", "The signing keys cannot be read. Try again.", [], {}, { cause: error });
    }
  }

  async function getKey(): Promise<JWTVerifyGetKey> {
    const jose = await loadJose();
    if (!("url" in source)) return keys ??= jose.createLocalJWKSet(source);
    const { url } = source;
    if (!keys || clock.now() - readAtMs >= keysMaxAgeMs) await refresh(url);
    return async (header, token) => {
      if (!keys) throw new InnkeepError("keys_unavailable", "The signing keys cannot be read. Try again.");
      try {
        return await keys(header, token);
      } catch (error) {
        if (!(error instanceof jose.errors.JWKSNoMatchingKey)) throw error;
        await refresh(url);
        return await keys(header, token);
      }
    };
  }
  // After a failed fetch, older keys are trusted until the next fetch is allowed.
  const trustedUntilMs = () => "url" in source ? Math.max(readAtMs + keysMaxAgeMs, triedAtMs + refetchFloorMs) : Infinity;
  return { getKey, trustedUntilMs };
}

/** The claims of a verified payload. `user_metadata` is not among them, because users can change it. */
function claimsOf(payload: JWTPayload, nowMs: number): TokenClaims {
  const { sub, exp, iat, email, aal, amr, app_metadata: appMetadata } = payload;
  if (typeof sub !== "string" || sub === "" || typeof exp !== "number") throw refused("The token does not identify a user.");
  // Both are stored in audit entries.
  for (const [name, text] of Object.entries({ sub, email })) {
    const unstorable = typeof text === "string" ? findUnstorable(text) : null;
    if (unstorable) throw refused(`The token's ${name} ${unstorable.message}.`);
  }
  if (typeof iat === "number" && iat * 1_000 > nowMs + MAX_CLOCK_SKEW_MS) throw refused("The token's iat is in the future.");
  return Object.freeze({
    subject: sub,
    ...(typeof email === "string" && email !== "" ? { email } : {}),
    appMetadata: isRecord(appMetadata) ? appMetadata : {},
    signIn: { hasSecondFactor: aal === "aal2", isSingleSignOn: methodsOf(amr).some((method) => method.startsWith("sso/")) },
    ...(typeof iat === "number" && iat >= 0 ? { issuedAtMs: Math.floor(iat * 1_000) } : {}),
    expiresAtMs: exp * 1_000,
  });
}

/** The methods of `amr`: texts (RFC 8176), or as Supabase Auth has them objects with `method`, such as `password`, `totp` and `sso/saml`. */
function methodsOf(amr: unknown): string[] {
  const all: readonly unknown[] = Array.isArray(amr) ? amr : [];
  return all.map((one) => isRecord(one) ? one["method"] : one).filter((method) => typeof method === "string");
}

function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

function refused(detail: string, cause?: unknown): InnkeepError {
  return new InnkeepError("unauthenticated", detail, [], {}, cause === undefined ? undefined : { cause });
}

/** The public reason of a refusal: the claim or check, without details of the library. */
function reasonOf(error: unknown): string {
  const { code, claim } = (isRecord(error) ? error : {}) as { code?: unknown; claim?: unknown };
  if (code === "ERR_JWT_EXPIRED") return "The token has expired.";
  if (code === "ERR_JWT_CLAIM_VALIDATION_FAILED" && typeof claim === "string") return `The token's ${claim} is not accepted.`;
  if (code === "ERR_JWS_SIGNATURE_VERIFICATION_FAILED") return "The token's signature is invalid.";
  if (code === "ERR_JWKS_NO_MATCHING_KEY") return "The token is signed with an unknown key.";
  return "The token is not valid.";
}
