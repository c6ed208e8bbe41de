import { createServer } from "node:http";
import type { ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { exportJWK, generateKeyPair, generateSecret } from "jose";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { MAX_KEY_SET_BYTES } from "../../shared/adapters/key-set.ts";
import { createTokenVerifier } from "../../shared/adapters/token-verifier.ts";
import type { TokenVerifierOptions } from "../../shared/adapters/token-verifier.ts";
import { testClock } from "../support/store.ts";
import { AUDIENCE, ISSUER, makeSigner } from "./support/tokens.ts";

type Answer = (response: ServerResponse) => void;

const json = (value: unknown): Answer => (response) =>
  void response.setHeader("content-type", "application/json").end(JSON.stringify(value));
const text = (body: string): Answer => (response) => void response.end(body);

let answer: Answer = json({});
let reads = 0;
const server = createServer((_, response) => {
  reads += 1;
  answer(response);
});
let url = "";

beforeAll(async () => {
  await new Promise<void>((done) => server.listen(0, "127.0.0.1", done));
  url = `http://127.0.0.1:${(server.address() as AddressInfo).port}/jwks`;
});
afterAll(async () => {
  server.closeAllConnections();
  await new Promise((done) => server.close(done));
});

function verifierAt(clock: ReturnType<typeof testClock>, options: Partial<TokenVerifierOptions> = {}) {
  return createTokenVerifier({ issuer: ISSUER, audience: AUDIENCE, jwks: { url }, clock, fetch: globalThis.fetch, ...options });
}

async function codeOf(checking: Promise<unknown>): Promise<string> {
  return await checking.then(() => "accepted", (error: { code?: string }) => String(error.code));
}

/** Responses of the key set's server without a key that can verify tokens. */
async function unusable(): Promise<Record<string, Answer>> {
  const { jwks: { keys: [good] } } = await makeSigner(testClock());
  const p384 = await exportJWK((await generateKeyPair("ES384", { extractable: true })).publicKey);
  const ed25519 = await exportJWK((await generateKeyPair("EdDSA", { extractable: true })).publicKey);
  const { privateKey } = await generateKeyPair("ES256", { extractable: true });
  const secret = await exportJWK(await generateSecret("HS256", { extractable: true }));
  const rsa = await exportJWK((await generateKeyPair("RS256", { extractable: true })).publicKey);
  const short = Buffer.from(rsa.n ?? "", "base64url").subarray(0, 128).toString("base64url");
  return {
    "an empty set": json({ keys: [] }),
    "an empty object": json({}),
    "null": json(null),
    "an array": json([good]),
    "keys that are no list": json({ keys: good }),
    "keys that are no objects": json({ keys: [null, 1, "key", []] }),
    "a key without a kty": json({ keys: [{ ...good, kty: undefined }] }),
    "a key of another curve": json({ keys: [p384] }),
    "an Ed25519 key": json({ keys: [ed25519] }),
    "a secret": json({ keys: [secret] }),
    "a private key": json({ keys: [await exportJWK(privateKey)] }),
    "a key for encryption": json({ keys: [{ ...good, use: "enc" }] }),
    "a key that may not verify": json({ keys: [{ ...good, key_ops: ["encrypt"] }] }),
    "key_ops that are no list": json({ keys: [{ ...good, key_ops: "verify" }] }),
    "a key of another algorithm": json({ keys: [{ ...good, alg: "ES384" }] }),
    "a point that is not on the curve": json({ keys: [{ ...good, x: "AAAA" }] }),
    "an RSA key of 1,024 bits": json({ keys: [{ ...rsa, n: short }] }),
    "HTML": text("<html>Sign in</html>"),
    "no body": text(""),
    "an error": (response) => void response.writeHead(500).end("{}"),
    "a missing page": (response) => void response.writeHead(404).end(JSON.stringify({ keys: [good] })),
    "a body over 64 KiB": json({ keys: [good], padding: "x".repeat(MAX_KEY_SET_BYTES) }),
    "a body without end": (response) => {
      const write = () => {
        while (!response.destroyed && response.write(" ".repeat(16_384)));
      };
      response.on("drain", write);
      write();
    },
    "headers that never come": () => undefined,
    "a body that stops half-way": (response) => void response.write('{"keys":['),
    "a body that drips": (response) => {
      const drip = setInterval(() => response.write(" "), 20);
      response.on("close", () => clearInterval(drip));
    },
    "a connection that is cut": (response) => void response.socket?.destroy(),
  };
}

describe("the key set behind an address", () => {
  test("R01: a response without a usable key does not replace valid keys and authenticates nobody", async () => {
    for (const [name, bad] of Object.entries(await unusable())) {
      const clock = testClock();
      const signer = await makeSigner(clock);
      const check = verifierAt(clock, { keysTimeoutMs: 200 });
      answer = bad;
      expect(await codeOf(check.verify(await signer.sign("u0"))), `${name}, first`).toBe("keys_unavailable");
      clock.advance(1_000);
      answer = json(signer.jwks);
      expect((await check.verify(await signer.sign("u1"))).subject, name).toBe("u1");
      answer = bad;
      clock.advance(600_000);
      const before = reads;
      expect((await check.verify(await signer.sign("u2"))).subject, `${name}, later`).toBe("u2");
      expect(reads, `${name}: the address was asked`).toBe(before + 1);
      const stranger = await makeSigner(clock, "ES256", "other");
      expect(await codeOf(check.verify(await stranger.sign("u3"))), name).toBe("unauthenticated");
    }
  });

  test("R01: unusable keys do not affect the usable ones in the same set", async () => {
    const clock = testClock();
    const [ec, rsa] = [await makeSigner(clock, "ES256", "k1"), await makeSigner(clock, "RS256", "k2")];
    const bad = { kty: "EC", crv: "P-256", x: "AAAA", y: "AAAA", kid: "k1", alg: "ES256" };
    answer = json({ keys: [bad, null, { kty: "oct", k: "AAAA" }, ...ec.jwks.keys, ...rsa.jwks.keys] });
    const check = verifierAt(clock);
    expect((await check.verify(await ec.sign("u1"))).subject).toBe("u1");
    expect((await check.verify(await rsa.sign("u2"))).subject).toBe("u2");
  });

  test("R01: a key without `use` whose `key_ops` contain verify is accepted", async () => {
    const clock = testClock();
    const signer = await makeSigner(clock, "RS256");
    const [key] = signer.jwks.keys;
    answer = json({ keys: [{ ...key, alg: undefined, use: undefined, key_ops: ["verify"] }] });
    expect((await verifierAt(clock).verify(await signer.sign("u1"))).subject).toBe("u1");
  });

  test("R01: a slow server delays callers by at most the timeout, and they share one request", async () => {
    const clock = testClock();
    const signer = await makeSigner(clock);
    const check = verifierAt(clock, { keysTimeoutMs: 300 });
    answer = () => undefined;
    const before = reads;
    const startedMs = performance.now();
    const tokens = await Promise.all(["a", "b", "c"].map((subject) => signer.sign(subject)));
    expect(await Promise.all(tokens.map((token) => codeOf(check.verify(token))))).toEqual(Array(3).fill("keys_unavailable"));
    expect(performance.now() - startedMs).toBeLessThan(3_000);
    expect(reads).toBe(before + 1);
  });
});
