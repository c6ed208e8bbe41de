import { createPrivateKey, generateKeyPairSync, type KeyObject, randomBytes, sign } from "node:crypto";

/** A key and its certificate in PEM. */
export interface Identity {
  readonly key: string;
  readonly cert: string;
}

const CERTIFIED_MS = 24 * 3_600_000;

/** A certificate authority of a test, by which its servers are trusted. */
export interface Authority {
  readonly cert: string;
  /** A server's certificate. `names`: host names and IPv4 addresses. It expires at `expiresAtMs`, a day from now by default. */
  issue(names: readonly string[], expiresAtMs?: number): Identity;
}

export function newAuthority(): Authority {
  const name = `Test authority ${randomBytes(4).toString("hex")}`;
  const ca = newIdentity({ name, extensions: [isAuthority()], expiresAtMs: Date.now() + CERTIFIED_MS });
  return {
    cert: ca.cert,
    issue: (names, expiresAtMs = Date.now() + CERTIFIED_MS) =>
      newIdentity({ name: names[0] ?? "", extensions: [altNames(names)], expiresAtMs, issuer: { name, key: ca.key } }),
  };
}

interface Wanted {
  readonly name: string;
  readonly extensions: readonly Uint8Array[];
  readonly expiresAtMs: number;
  /** Default: signed by itself. */
  readonly issuer?: { readonly name: string; readonly key: string };
}

/** An X.509 v3 certificate (RFC 5280 §4.1) with an ECDSA key on P-256. */
function newIdentity({ name, extensions, expiresAtMs, issuer }: Wanted): Identity {
  const { privateKey, publicKey } = generateKeyPairSync("ec", { namedCurve: "P-256" });
  const algorithm = sequence(oid("2a8648ce3d040302"));
  const tbs = sequence(
    der(0xa0, der(0x02, [2])),
    der(0x02, [1, ...randomBytes(15)]),
    algorithm,
    nameOf(issuer?.name ?? name),
    sequence(time(Math.min(Date.now(), expiresAtMs) - CERTIFIED_MS), time(expiresAtMs)),
    nameOf(name),
    publicKey.export({ type: "spki", format: "der" }),
    der(0xa3, sequence(...extensions)),
  );
  const key: KeyObject = issuer ? createPrivateKey(issuer.key) : privateKey;
  const signature = sign("sha256", tbs, key);
  const certificate = sequence(tbs, algorithm, der(0x03, [0, ...signature]));
  const base64 = Buffer.from(certificate).toString("base64").match(/.{1,64}/g)?.join("\n");
  return {
    key: privateKey.export({ type: "pkcs8", format: "pem" }) as string,
    cert: `-----BEGIN CERTIFICATE-----\n${base64}\n-----END CERTIFICATE-----\n`,
  };
}

function isAuthority(): Uint8Array {
  return sequence(oid("551d13"), der(0x01, [0xff]), der(0x04, sequence(der(0x01, [0xff]))));
}

function altNames(names: readonly string[]): Uint8Array {
  const general = names.map((name) =>
    /^[\d.]+$/.test(name) ? der(0x87, name.split(".").map(Number)) : der(0x82, new TextEncoder().encode(name))
  );
  return sequence(oid("551d11"), der(0x04, sequence(...general)));
}

function nameOf(commonName: string): Uint8Array {
  return sequence(der(0x31, sequence(oid("550403"), der(0x0c, new TextEncoder().encode(commonName)))));
}

function time(ms: number): Uint8Array {
  return der(0x18, new TextEncoder().encode(new Date(ms).toISOString().replaceAll(/[-:T]|\.\d+/g, "")));
}

function oid(hex: string): Uint8Array {
  return der(0x06, Buffer.from(hex, "hex"));
}

function sequence(...parts: readonly Uint8Array[]): Uint8Array {
  return der(0x30, Buffer.concat(parts));
}

/** A tag, the length and the content (X.690 §8.1). */
function der(tag: number, content: Uint8Array | readonly number[]): Uint8Array {
  const size = content.length;
  const length = size < 128 ? [size] : size < 256 ? [0x81, size] : [0x82, size >> 8, size & 255];
  return Uint8Array.from([tag, ...length, ...content]);
}
