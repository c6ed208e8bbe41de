import type { JSONWebKeySet, JWTPayload, JWTVerifyGetKey, JWTVerifyOptions } from "jose";
import type { Clock } from "../kernel/clock.ts";
import { InnkeepError } from "../kernel/errors.ts";
import { findUnstorable } from "../kernel/json.ts";
import type { Fetch, TokenClaims, TokenVerifier } from "../ports.ts";
import { fetchKeySet } from "./key-set.ts";

export interface TokenVerifierOptions {
  readonly issuer: string;
  readonly audience: string;
  /** Where the project's signing keys are, or the keys themselves. Left out: only the legacy secret. */
  readonly jwks?: { readonly url: string } | JSONWebKeySet | undefined;
  /** The project's legacy shared secret; HS256 tokens are refused without it. */
  readonly legacySecret?: string | undefined;
  readonly clock: Clock;
  readonly fetch: Fetch;
  /** Shortest time between two reads of the key set, 30 s when left out: a flood of unknown `kid`s cannot hammer it. */
  readonly refetchFloorMs?: number;
  /** After this the key set is read and a remembered token verified again, 10 min when left out: a withdrawn key is honoured no longer. */
  readonly keysMaxAgeMs?: number;
  /** How long the answer with the key set may take, its body included, 5 s when left out. */
  readonly keysTimeoutMs?: number;
  /** Verified tokens kept, 5,000 when left out. */
  readonly cacheSize?: number;
}

const MAX_TOKEN_CHARS = 8_192;
const FIRST_READ_FLOOR_MS = 1_000;
/**
 * How far ahead of ours the issuer's clock may be. RFC 7519 §4.1.6 and RFC 9068 do not say what to do with an `iat` still to come.
 * It is refused: kept, it would be a last sign-in no later one comes after; cut to now, each use of the token would be one.
 */
const MAX_CLOCK_SKEW_MS = 300_000;
/** jose is read on the first token: a cold start does not pay for it. */
let loading: Promise<typeof import("jose")> | undefined;
const loadJose = () => loading ??= import("jose");

/**
 * Verifies Supabase Auth tokens (RFC 7519) locally: signature, `iss`, `aud`, `exp`, `nbf`, `sub`. The
 * algorithm is chosen by configuration and never by the token, which shuts out `alg: none` and confusion.
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
      // No longer than the keys are trusted unread: a withdrawn one takes what it signed with it.
      verified.set(token, { claims, untilMs: Math.min(claims.expiresAtMs, keySet?.trustedUntilMs() ?? Infinity) });
      return claims;
    },
  };
}

type KeyRules = Pick<TokenVerifierOptions, "clock" | "fetch" | "refetchFloorMs" | "keysMaxAgeMs" | "keysTimeoutMs">;

interface KeySet {
  getKey(): Promise<JWTVerifyGetKey>;
  /** When what these keys verified has to be verified again. */
  trustedUntilMs(): number;
}

/** The signing keys: inline, or fetched once and again on age or an unknown `kid`, one request at a time. */
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
    // Without any keys nobody is let in, so the floor is lower then.
    const floorMs = keys ? refetchFloorMs : Math.min(refetchFloorMs, FIRST_READ_FLOOR_MS);
    if (!running && clock.now() - triedAtMs < floorMs) return;
    running ??= read(url).finally(() => running = null);
    try {
      await running;
    } catch (error) {
      // Keys read before stay good while their source is away; without any, nobody can be let in or sent off.
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
  // Past their age because their source is away, they are good for as long as nobody asks for them again.
  const trustedUntilMs = () => "url" in source ? Math.max(readAtMs + keysMaxAgeMs, triedAtMs + refetchFloorMs) : Infinity;
  return { getKey, trustedUntilMs };
}

/** What the program reads of a verified payload; `user_metadata` goes no further. */
function claimsOf(payload: JWTPayload, nowMs: number): TokenClaims {
  const { sub, exp, iat, email, app_metadata: appMetadata } = payload;
  if (typeof sub !== "string" || sub === "" || typeof exp !== "number") throw refused("The token does not identify a user.");
  // Both are written into the audit log with what the caller changes.
  for (const [name, text] of Object.entries({ sub, email })) {
    const unstorable = typeof text === "string" ? findUnstorable(text) : null;
    if (unstorable) throw refused(`The token's ${name} ${unstorable.message}.`);
  }
  if (typeof iat === "number" && iat * 1_000 > nowMs + MAX_CLOCK_SKEW_MS) throw refused("The token's iat is in the future.");
  return Object.freeze({
    subject: sub,
    ...(typeof email === "string" && email !== "" ? { email } : {}),
    appMetadata: isRecord(appMetadata) ? appMetadata : {},
    ...(typeof iat === "number" && iat >= 0 ? { issuedAtMs: Math.floor(iat * 1_000) } : {}),
    expiresAtMs: exp * 1_000,
  });
}

function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

function refused(detail: string, cause?: unknown): InnkeepError {
  return new InnkeepError("unauthenticated", detail, [], {}, cause === undefined ? undefined : { cause });
}

/** The public reason of a refusal: the claim or check, without internals of the library. */
function reasonOf(error: unknown): string {
  const { code, claim } = (isRecord(error) ? error : {}) as { code?: unknown; claim?: unknown };
  if (code === "ERR_JWT_EXPIRED") return "The token has expired.";
  if (code === "ERR_JWT_CLAIM_VALIDATION_FAILED" && typeof claim === "string") return `The token's ${claim} is not accepted.`;
  if (code === "ERR_JWS_SIGNATURE_VERIFICATION_FAILED") return "The token's signature is invalid.";
  if (code === "ERR_JWKS_NO_MATCHING_KEY") return "The token is signed with an unknown key.";
  return "The token is not valid.";
}
