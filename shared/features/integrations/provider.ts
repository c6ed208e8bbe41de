import { z } from "zod";
import type { JsonObject } from "../../kernel/json.ts";
import { instant } from "../../core/values.ts";
import type { CallOutcome } from "../connector-events/entity.ts";
import type { IntegrationType } from "./entity.ts";

/** The request that tests a connection. It must change nothing at the provider. */
export interface TestRequest {
  readonly method: "GET" | "POST";
  readonly url: string;
  readonly headers: Readonly<Record<string, string>>;
  readonly body?: string;
}

/** The meaning of a response that differs from that of its status. `body` is searched in its first bytes. The first match counts. */
export interface Sign {
  readonly status?: number;
  readonly body: RegExp;
  readonly outcome: CallOutcome;
  /** Whether the credentials will never work again. */
  readonly revoked?: boolean;
}

/** Credentials by name. */
export type Credentials = Readonly<Record<string, string>>;

interface ProviderSpec<C extends z.ZodObject, S extends z.ZodObject> {
  /** One segment of a key. */
  readonly id: string;
  readonly name: string;
  readonly type: IntegrationType;
  /** Where the provider documents its credentials. */
  readonly docs: string;
  readonly config: C;
  /** Write-only texts. Visible ASCII characters where they are sent as a header. */
  readonly credentials: S;
  readonly test: (config: z.output<C>, credentials: z.output<S>) => TestRequest;
  readonly signs?: readonly Sign[];
}

/** A system that a tenant can connect. */
export interface Provider {
  readonly id: string;
  readonly name: string;
  readonly type: IntegrationType;
  readonly docs: string;
  readonly config: z.ZodObject;
  readonly credentials: z.ZodObject;
  /** The body of a connection. */
  readonly connection: z.ZodType<Connection>;
  readonly test: (config: JsonObject, credentials: Credentials) => TestRequest;
  readonly signs: readonly Sign[];
}

/** What a tenant sends to connect a provider. */
export interface Connection {
  readonly config: JsonObject;
  /** If omitted, the stored ones stay. */
  readonly credentials?: Credentials | undefined;
  readonly enabled: boolean;
  readonly credentialsExpireAt?: string | undefined;
}

/** Declares a provider. */
export function provider<C extends z.ZodObject, S extends z.ZodObject>(spec: ProviderSpec<C, S>): Provider {
  const { config, credentials, signs = [] } = spec;
  const connection = z.strictObject({
    config: (config as z.ZodObject).prefault({}),
    credentials: credentials.optional(),
    enabled: z.boolean().default(true),
    credentialsExpireAt: instant.optional(),
  });
  // `test` gets only what its own schemas have checked.
  return { ...spec, signs, connection: connection as unknown as z.ZodType<Connection>, test: spec.test as unknown as Provider["test"] };
}

const VISIBLE = /^[\x21-\x7e]+$/;
/** A credential that is sent as a header. */
export const token = z.string().min(8).max(8_192).regex(VISIBLE, "must be visible ASCII characters without spaces");
/** A user name or password. */
export const text = z.string().min(1).max(1_024).regex(/^\P{C}+$/u, "must contain no control characters");
/** An id at the provider, which is one segment of a URL's path. */
export const id = z.string().regex(/^[A-Za-z0-9._~-]{1,128}$/, "must be 1-128 characters of A-Z a-z 0-9 . _ ~ -");
export const logMessages = z.boolean().default(false).meta({
  description: "Whether the log of calls contains the texts of messages. If false, it has their length and hash.",
});

/** The tokens of OAuth 2.0, which the connection was authorised with. */
export const oauth = z.strictObject({
  accessToken: token.meta({ description: "Bearer token (RFC 6750)." }),
  refreshToken: token.optional().meta({ description: "Gets a new access token (RFC 6749, section 6)." }),
  clientId: token.optional(),
  clientSecret: token.optional(),
});

export function bearer(accessToken: string): Readonly<Record<string, string>> {
  return { authorization: `Bearer ${accessToken}`, accept: "application/json" };
}

/** RFC 7617, in UTF-8. */
export function basic(user: string, password: string): Readonly<Record<string, string>> {
  const bytes = new TextEncoder().encode(`${user}:${password}`);
  return { authorization: `Basic ${btoa(String.fromCharCode(...bytes))}`, accept: "application/json" };
}
