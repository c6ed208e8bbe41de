/** What the program needs from outside, as interfaces; `adapters/` holds what fills them. */

/**
 * The verified part of a token the program reads. `user_metadata` is left out on purpose: its user
 * can write it, so no decision may ever see it.
 */
export interface TokenClaims {
  /** `sub`: the Supabase Auth id of the user. */
  readonly subject: string;
  readonly email?: string;
  readonly appMetadata: Readonly<Record<string, unknown>>;
  /** `iat`: when the token was issued; absent when it does not say. */
  readonly issuedAtMs?: number;
  /** The instant from which the token is refused. */
  readonly expiresAtMs: number;
}

/** Checks a bearer token. Throws `unauthenticated`, or `keys_unavailable` when the signing keys cannot be read. */
export interface TokenVerifier {
  verify(token: string): Promise<TokenClaims>;
}

/** The part of `fetch` that reading a key set needs. */
export type Fetch = (
  url: string,
  init?: { readonly signal?: AbortSignal; readonly headers?: Readonly<Record<string, string>> },
) => Promise<Response>;
