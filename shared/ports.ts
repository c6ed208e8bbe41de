import type { SignIn } from "./kernel/context.ts";

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
  /** How the user has signed in: `aal` and `amr`. */
  readonly signIn: SignIn;
  /** `iat`: when the token was issued; absent when it does not say. */
  readonly issuedAtMs?: number;
  /** The instant from which the token is refused. */
  readonly expiresAtMs: number;
}

/** Checks a bearer token. Throws `unauthenticated`, or `keys_unavailable` when the signing keys cannot be read. */
export interface TokenVerifier {
  verify(token: string): Promise<TokenClaims>;
}

/** The part of `fetch` that the program needs. */
export type Fetch = (
  url: string,
  init?: {
    readonly method?: string;
    readonly signal?: AbortSignal;
    readonly headers?: Readonly<Record<string, string>>;
    readonly body?: Uint8Array<ArrayBuffer>;
  },
) => Promise<Response>;

/** The part of a file system that writing a file durably needs, as `Deno` has it. */
export interface Files {
  mkdir(path: string, options: { readonly recursive: true }): Promise<void>;
  open(path: string, options: { readonly write: true; readonly create: true; readonly truncate: true }): Promise<OpenFile>;
  rename(from: string, to: string): Promise<void>;
}

interface OpenFile {
  /** Returns how many of the bytes were written. */
  write(bytes: Uint8Array): Promise<number>;
  sync(): Promise<void>;
  close(): void;
}

/** Connections to systems that are not ours. */
export interface Network {
  /** Every IPv4 and IPv6 address of a host name. Throws if it has none. */
  resolve(host: string): Promise<readonly string[]>;
  /** Throws if the connection fails, or the signal ends it before it is made. */
  connect(address: string, port: number, signal: AbortSignal): Promise<Connection>;
}

export interface Connection {
  /** The same connection with TLS, for these protocols (RFC 7301). Throws unless the certificate is valid for the host name or address. */
  secure(host: string, signal: AbortSignal, protocols?: readonly string[]): Promise<Connection>;
  write(bytes: Uint8Array): Promise<void>;
  /** The next bytes, or null at the end. */
  read(): Promise<Uint8Array | null>;
  close(): void;
}

/** The part of the network that connections need, as `Deno` has it. */
export interface Sockets {
  resolveDns(host: string, type: "A" | "AAAA"): Promise<readonly string[]>;
  connect(options: { readonly hostname: string; readonly port: number }): Promise<OpenSocket>;
  startTls(
    socket: OpenSocket,
    options: { readonly hostname: string; readonly alpnProtocols: string[]; readonly caCerts?: string[] },
  ): Promise<SecureSocket>;
}

export interface OpenSocket {
  /** Returns how many bytes were read, or null at the end. */
  read(into: Uint8Array): Promise<number | null>;
  /** Returns how many of the bytes were written. */
  write(bytes: Uint8Array): Promise<number>;
  close(): void;
}

export interface SecureSocket extends OpenSocket {
  handshake(): Promise<unknown>;
}
