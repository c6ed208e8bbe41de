import { SignJWT } from "jose";
import { describe, expect, test } from "vitest";
import { createTokenVerifier, type TokenVerifierOptions } from "../../shared/adapters/token-verifier.ts";
import type { TokenVerifier } from "../../shared/ports.ts";
import { testClock } from "../support/store.ts";
import { AUDIENCE, ISSUER, makeSigner, unsigned } from "./support/tokens.ts";

const clock = testClock();
const nowSeconds = clock.now() / 1_000;
const base = { issuer: ISSUER, audience: AUDIENCE, clock, fetch: () => Promise.reject(new Error("no network")) };

function verifier(options: Partial<TokenVerifierOptions>): TokenVerifier {
  return createTokenVerifier({ ...base, ...options });
}

async function refusal(checking: Promise<unknown>): Promise<string> {
  const outcome = await checking.then(() => "accepted", (error: { code?: string; message: string }) => `${error.code}: ${error.message}`);
  return outcome;
}

/** A key set with a URL. It counts its reads and can rotate or fail. */
function keyServer(keys: unknown) {
  const state = { keys, reads: 0, down: false };
  const fetch = () => {
    state.reads += 1;
    return Promise.resolve(state.down ? new Response("away", { status: 502 }) : Response.json(state.keys));
  };
  return { state, options: { jwks: { url: "https://project.supabase.example/jwks" }, fetch } };
}

describe("the token verifier", () => {
  test("R01: a valid token gives its subject, email and app_metadata, and never its user_metadata", async () => {
    for (const alg of ["ES256", "RS256"] as const) {
      const signer = await makeSigner(clock, alg);
      const token = await signer.sign("u1", {
        email: "a@b.example",
        app_metadata: { tenant_id: "tn_1" },
        user_metadata: { tenant_id: "tn_2" },
      });
      const claims = await verifier({ jwks: signer.jwks }).verify(token);
      expect(claims).toEqual({
        subject: "u1",
        email: "a@b.example",
        appMetadata: { tenant_id: "tn_1" },
        signIn: { hasSecondFactor: false, isSingleSignOn: false },
        issuedAtMs: nowSeconds * 1_000,
        expiresAtMs: (nowSeconds + 3_600) * 1_000,
      });
    }
  });

  test("R13: a token without iat, or with one before 1970, is valid and has no time of issue", async () => {
    const signer = await makeSigner(clock);
    for (const iat of [undefined, -1]) {
      const claims = await verifier({ jwks: signer.jwks }).verify(await signer.sign("u1", { iat }));
      expect(claims).not.toHaveProperty("issuedAtMs");
      expect(claims.subject).toBe("u1");
    }
  });

  test("R13: a token issued in the future is refused, with a tolerance for clock skew", async () => {
    const signer = await makeSigner(clock);
    const check = verifier({ jwks: signer.jwks });
    const exp = 253_402_300_800;
    expect((await check.verify(await signer.sign("u1", { iat: nowSeconds + 300 }))).issuedAtMs).toBe((nowSeconds + 300) * 1_000);
    for (const iat of [nowSeconds + 301, 253_402_300_799, 1e300]) {
      expect(await refusal(check.verify(await signer.sign("u1", { iat, exp })))).toBe("unauthenticated: The token's iat is in the future.");
    }
  });

  test("R01: a token whose subject or email cannot be stored is refused", async () => {
    const signer = await makeSigner(clock);
    const check = verifier({ jwks: signer.jwks });
    for (const [text, reason] of [["a\u0000b", "must not contain U+0000"], ["\ud800", "must not contain a lone surrogate"]] as const) {
      expect(await refusal(check.verify(await signer.sign("u1", { email: text })))).toBe(`unauthenticated: The token's email ${reason}.`);
      expect(await refusal(check.verify(await signer.sign(text)))).toBe(`unauthenticated: The token's sub ${reason}.`);
    }
    for (const email of [undefined, "", 5, null, {}]) {
      expect(await check.verify(await signer.sign("u1", { email }))).not.toHaveProperty("email");
    }
  });

  test("R01: expired, not yet valid, foreign, tampered and unsigned tokens are refused", async () => {
    const signer = await makeSigner(clock);
    const other = await makeSigner(clock);
    const check = verifier({ jwks: signer.jwks });
    const good = await signer.sign("u1");
    const [head = "", payload = "", signature = ""] = good.split(".");
    const swapped = Buffer.from(JSON.stringify({ ...JSON.parse(Buffer.from(payload, "base64url").toString()), sub: "u2" })).toString(
      "base64url",
    );
    const claims = { iss: ISSUER, aud: AUDIENCE, exp: nowSeconds + 60, sub: "u1" };
    const cases: Record<string, [string, string]> = {
      expired: [await signer.sign("u1", { exp: nowSeconds }), "The token has expired."],
      early: [await signer.sign("u1", { nbf: nowSeconds + 5 }), "The token's nbf is not accepted."],
      issuer: [await signer.sign("u1", { iss: "https://evil.example" }), "The token's iss is not accepted."],
      audience: [await signer.sign("u1", { aud: "anon" }), "The token's aud is not accepted."],
      "no expiry": [await signer.sign("u1", { exp: undefined as never }), "The token's exp is not accepted."],
      "no subject": [await signer.sign("", {}), "The token does not identify a user."],
      "other key, same kid": [await other.sign("u1"), "The token's signature is invalid."],
      "swapped payload": [`${head}.${swapped}.${signature}`, "The token's signature is invalid."],
      "no signature": [`${head}.${payload}.`, "The token's signature is invalid."],
      "alg none": [unsigned(claims), "The token's algorithm is not accepted."],
      "alg None": [unsigned(claims, { alg: "None" }), "The token's algorithm is not accepted."],
      "alg HS256": [unsigned(claims, { alg: "HS256" }), "The token's algorithm is not accepted."],
      "alg ES384": [unsigned(claims, { alg: "ES384", kid: "test-key" }), "The token's algorithm is not accepted."],
      garbage: ["a.b.c", "The token is not valid."],
      long: [`${good}${"a".repeat(9_000)}`, "The token is too long."],
    };
    for (const [name, [token, reason]] of Object.entries(cases)) {
      expect(await refusal(check.verify(token)), name).toBe(`unauthenticated: ${reason}`);
    }
  });

  test("R01: a token signed by HMAC with the public key as its secret is refused", async () => {
    const signer = await makeSigner(clock, "RS256");
    const secret = new TextEncoder().encode(JSON.stringify(signer.jwks.keys[0]));
    const forged = await new SignJWT({ sub: "u1" }).setProtectedHeader({ alg: "HS256", kid: "test-key" })
      .setIssuer(ISSUER).setAudience(AUDIENCE).setExpirationTime(nowSeconds + 60).sign(secret);
    for (const legacySecret of [undefined, "another-secret-of-some-length"]) {
      expect(await refusal(verifier({ jwks: signer.jwks, legacySecret }).verify(forged))).toMatch(/^unauthenticated/);
    }
  });

  test("R01: HS256 is accepted with the configured legacy secret only", async () => {
    const legacySecret = "a-legacy-secret-of-sufficient-length";
    const token = await new SignJWT({ sub: "u1" }).setProtectedHeader({ alg: "HS256" })
      .setIssuer(ISSUER).setAudience(AUDIENCE).setExpirationTime(nowSeconds + 60).sign(new TextEncoder().encode(legacySecret));
    expect((await verifier({ legacySecret }).verify(token)).subject).toBe("u1");
    expect(await refusal(verifier({ jwks: (await makeSigner(clock)).jwks }).verify(token))).toMatch(/^unauthenticated/);
  });

  test("R01: a cached token is refused from the instant it expires", async () => {
    const own = testClock();
    const signer = await makeSigner(own);
    const check = verifier({ jwks: signer.jwks, clock: own });
    const token = await signer.sign("u1");
    expect(await check.verify(token)).toBe(await check.verify(token));
    own.advance(3_600_000 - 1);
    expect((await check.verify(token)).subject).toBe("u1");
    own.advance(1);
    for (let i = 0; i < 2; i++) expect(await refusal(check.verify(token))).toBe("unauthenticated: The token has expired.");
  });

  test("R01: the cache of verified tokens is bounded", async () => {
    const signer = await makeSigner(clock);
    const check = verifier({ jwks: signer.jwks, cacheSize: 2 });
    const tokens = await Promise.all(["a", "b", "c"].map((subject) => signer.sign(subject)));
    const first = await check.verify(tokens[0] ?? "");
    for (const token of tokens) await check.verify(token);
    expect(await check.verify(tokens[0] ?? "")).not.toBe(first);
  });
});

describe("the key set", () => {
  test("R01: is read once, again for an unknown kid, and no more often than the minimum interval", async () => {
    const own = testClock();
    const [first, second] = [await makeSigner(own, "ES256", "k1"), await makeSigner(own, "ES256", "k2")];
    const { state, options } = keyServer(first.jwks);
    const check = verifier({ ...options, clock: own, refetchFloorMs: 30_000 });
    await Promise.all([1, 2, 3].map(async (i) => await check.verify(await first.sign(`u${i}`))));
    expect(state.reads).toBe(1);
    state.keys = second.jwks;
    for (let i = 0; i < 5; i++) expect(await refusal(check.verify(await second.sign(`v${i}`)))).toMatch(/with an unknown key/);
    expect(state.reads).toBe(1);
    own.advance(30_000);
    expect((await check.verify(await second.sign("w"))).subject).toBe("w");
    expect(state.reads).toBe(2);
  });

  test("R01: no longer accepts a withdrawn key after its maximum age", async () => {
    const own = testClock();
    const signer = await makeSigner(own);
    const { state, options } = keyServer(signer.jwks);
    const check = verifier({ ...options, clock: own, keysMaxAgeMs: 600_000 });
    await check.verify(await signer.sign("u1"));
    state.keys = (await makeSigner(own, "ES256", "k2")).jwks;
    own.advance(600_000);
    expect(await refusal(check.verify(await signer.sign("u2")))).toMatch(/with an unknown key/);
  });

  test("R01: no longer accepts a cached token with a withdrawn key after its maximum age, whatever its exp", async () => {
    const own = testClock();
    const signer = await makeSigner(own);
    const { state, options } = keyServer(signer.jwks);
    const check = verifier({ ...options, clock: own });
    const exp = Date.parse("2099-01-01T00:00:00Z") / 1_000;
    await check.verify(await signer.sign("u0", { exp }));
    own.advance(300_000);
    const token = await signer.sign("u1", { exp });
    await check.verify(token);
    state.keys = (await makeSigner(own)).jwks;
    own.advance(300_000 - 1);
    expect(await check.verify(token)).toBe(await check.verify(token));
    own.advance(1);
    for (let i = 0; i < 2; i++) expect(await refusal(check.verify(token))).toMatch(/^unauthenticated: The token's signature/);
  });

  test("R01: stays valid while its source is unavailable; without one the response is 503", async () => {
    const own = testClock();
    const signer = await makeSigner(own);
    const { state, options } = keyServer(signer.jwks);
    state.down = true;
    const check = verifier({ ...options, clock: own });
    expect(await refusal(check.verify(await signer.sign("u1")))).toMatch(/^keys_unavailable/);
    state.down = false;
    own.advance(1_000);
    await check.verify(await signer.sign("u1"));
    state.down = true;
    own.advance(600_000);
    expect((await check.verify(await signer.sign("u2"))).subject).toBe("u2");
  });
});
