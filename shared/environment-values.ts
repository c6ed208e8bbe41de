import type { JSONWebKeySet } from "jose";
import { fromBase64 } from "./kernel/base64.ts";
import { CURRENCY_RULE, isCurrency } from "./kernel/currencies.ts";
import { parseUrl, webUrlFault } from "./kernel/web-url.ts";

/**
 * Reads the text of environment variables. Plain functions instead of schemas: the configuration is checked before the first
 * response, and zod is loaded by the first request that needs it.
 */
export type Reader<T> = (text: string) => T;

/** Why a value is invalid. Does not contain the value, which may be a secret. */
export class WrongValue extends Error {
  override readonly name = "WrongValue";
}

/** One segment of a key, as in shared/kv/key.ts. */
const SEGMENT = /^(?!\.\.?$)[A-Za-z0-9._~@+-]{1,128}$/;
const HOST_NAME = /^[a-z0-9-]+(\.[a-z0-9-]+)*$/;
/** Accepts a subset of the addresses that the schema of an admin accepts. */
const EMAIL = /^[\w+'-]+(\.[\w+'-]+)*(?<!')@([a-z0-9][a-z0-9-]*\.)+[a-z]{2,}$/i;
const MAX_EMAIL_CHARS = 254;
const BOOLEANS: ReadonlyMap<string, boolean> = new Map([
  ...["true", "1", "yes", "on", "y", "enabled"].map((word) => [word, true] as const),
  ...["false", "0", "no", "off", "n", "disabled"].map((word) => [word, false] as const),
]);

/** A reader that returns the text if the rule holds. */
export function textWhere(rule: (text: string) => boolean, message: string): Reader<string> {
  return (text) => {
    if (!rule(text)) throw new WrongValue(message);
    return text;
  };
}

export const anyText: Reader<string> = (text) => text;
export const secret = textWhere((text) => text.length >= 16, "must be at least 16 characters");
/** A secret that is sent in an Authorization header (RFC 6750 §2.1), which can contain neither spaces nor line breaks. */
export const bearerSecret = textWhere(
  (text) => /^[\x21-\x7e]{16,}$/.test(text),
  "must be at least 16 visible ASCII characters, without spaces or line breaks",
);
/** White space around it would be part of the key, and the line break at the end of a file is lost when the key is copied. */
export const signingKey = textWhere(
  (text) => text.length >= 32 && text === text.trim(),
  "must be at least 32 characters, without spaces or line breaks at its beginning or end",
);
/** A key that was set with white space around it can still be replaced. */
export const replacedKey = textWhere((text) => text.length >= 32, "must be at least 32 characters");
export const previousKey = textWhere((text) => text === "none" || text.length >= 32, "must be at least 32 characters, or none");
/** A root key as the secret box takes it. */
export const rootKey: Reader<Uint8Array<ArrayBuffer>> = (text) => {
  const bytes = fromBase64(text.trim());
  if (bytes?.length !== 32) throw new WrongValue("must be 32 bytes in base64, such as the output of openssl rand -base64 32");
  return bytes;
};
export const rootKeys: Reader<Uint8Array<ArrayBuffer>[]> = (text) => parts(text).map(rootKey);
export const bucket = textWhere((text) => /^[A-Za-z0-9._-]{3,63}$/.test(text), "must be the name of a bucket");
export const email = textWhere((text) => text.length <= MAX_EMAIL_CHARS && EMAIL.test(text), "must be an email address");
export const userId = textWhere((text) => SEGMENT.test(text), "must be a Supabase Auth user id");
export const currency = textWhere(isCurrency, CURRENCY_RULE);

/** The URL without surrounding white space, which a parser ignores but which would be in the middle of a longer URL. */
export function url(...protocols: string[]): Reader<string> {
  const isOne = (text: string) => parseUrl(text) !== null && protocols.some((each) => text.toLowerCase().startsWith(`${each}//`));
  const read = textWhere(isOne, `must be a URL beginning with ${protocols.join("// or ")}//`);
  return (text) => read(text.trim());
}

/** Supabase's transaction pooler listens on 6543. */
export function looksPooled(connectionString: string): boolean {
  const { port, searchParams } = new URL(connectionString);
  return port === "6543" || searchParams.get("pgbouncer") === "true";
}

export function webAddress(text: string): string {
  const fault = webUrlFault(text);
  if (fault !== null) throw new WrongValue(fault);
  return text;
}

export function oneOf<const T extends string>(...words: readonly T[]): Reader<T> {
  const message = `must be ${words.slice(0, -1).join(", ")} or ${words.at(-1)}`;
  return (text) => {
    const word = words.find((each) => each === text);
    if (word === undefined) throw new WrongValue(message);
    return word;
  };
}

export function boolean(text: string): boolean {
  const value = BOOLEANS.get(text.toLowerCase());
  if (value === undefined) throw new WrongValue("must be true or false");
  return value;
}

export function count(min: number, max: number): Reader<number> {
  return (text) => {
    const value = /^\s*\d+\s*$/.test(text) ? Number(text) : Number.NaN;
    if (!(value >= min && value <= max)) throw new WrongValue(`must be a whole number from ${min} to ${max}`);
    return value;
  };
}

export function hostName(text: string): string {
  const name = text.toLowerCase();
  if (!HOST_NAME.test(name)) throw new WrongValue("must be a host name such as example.com");
  return name;
}

export function hostNames(text: string): string[] {
  return parts(text).filter(Boolean).map(hostName);
}

export function origins(text: string): string[] {
  const given = parts(text).filter(Boolean);
  const isOrigin = (each: string) => each === "*" || parseUrl(each)?.origin === each;
  if (!given.every(isOrigin)) throw new WrongValue("must be `*` or origins such as https://app.example.com");
  if (given.length > 1 && given.includes("*")) throw new WrongValue("must be `*` alone or a list of origins, not both");
  return given;
}

export function ports(text: string): number[] {
  try {
    return parts(text).map(count(1, 65_535));
  } catch {
    throw new WrongValue("must be port numbers from 1 to 65535, separated by commas");
  }
}

export function regions(text: string): string[] {
  const ids = parts(text);
  if (!ids.every((id) => SEGMENT.test(id))) {
    throw new WrongValue("must be region ids of A-Z a-z 0-9 . _ ~ @ + - separated by commas, none of them empty");
  }
  if (new Set(ids).size !== ids.length) throw new WrongValue("must name each region once");
  return ids;
}

/** `600/60`: 600 requests in 60 seconds. */
export function rateLimit(text: string): { readonly limit: number; readonly windowSeconds: number } {
  const [, limit, windowSeconds] = (/^([1-9]\d{0,6})\/([1-9]\d{0,4})$/.exec(text.trim()) ?? []).map(Number);
  if (limit === undefined || windowSeconds === undefined || windowSeconds > 86_400) {
    throw new WrongValue("must be requests/seconds such as 600/60, with at most 9999999 requests in at most 86400 seconds");
  }
  return { limit, windowSeconds };
}

export function keySet(text: string): JSONWebKeySet {
  const set = json(text, "a JSON Web Key Set");
  if (!isObject(set)) throw new WrongValue('must be a JSON Web Key Set: {"keys": [...]}');
  const { keys } = set;
  if (!Array.isArray(keys)) throw new WrongValue("must have an array of keys");
  if (!keys.every((key) => isObject(key) && typeof key["kty"] === "string")) throw new WrongValue("must have keys with a kty");
  return set as unknown as JSONWebKeySet;
}

export function keyDictionary(text: string): Readonly<Record<string, string>> {
  const what = "a JSON object of named keys";
  const keys = json(text, what);
  if (!isObject(keys) || !Object.values(keys).every((key) => typeof key === "string")) throw new WrongValue(`must be ${what}`);
  return keys as Record<string, string>;
}

function json(text: string, what: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    // The parser's message quotes the text.
    throw new WrongValue(`must be ${what}`);
  }
}

function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

function parts(text: string): string[] {
  return text.split(",").map((part) => part.trim());
}

/** How e-mail is sent. */
export interface MailConfig {
  readonly url: string;
  readonly from: string;
  /** The API from outside, without a slash at its end. */
  readonly apiUrl: string;
}

/** `Name <address>`, or an address. */
export const sender: Reader<string> = (text) => {
  const [, name = "", address = ""] = /^([^<>"\r\n]*)<([^<>]+)>$/.exec(text.trim()) ?? [];
  if (!EMAIL.test(address === "" ? text.trim() : address)) throw new WrongValue("must be an address, or Name <address>");
  return address === "" ? text.trim() : `${name.trim()} <${address}>`;
};

interface MailVariables {
  readonly INNKEEP_SMTP_URL?: string;
  readonly INNKEEP_MAIL_FROM?: string;
  readonly INNKEEP_API_URL?: string;
  readonly SUPABASE_URL?: string;
}

/** Null without a server: then there is no e-mail. Calls `missing` for what the server needs besides. */
export function mailOf(
  env: MailVariables,
  missing: (variable: "INNKEEP_MAIL_FROM" | "INNKEEP_API_URL", message: string) => void,
): MailConfig | null {
  const { INNKEEP_SMTP_URL: url, INNKEEP_MAIL_FROM: from, SUPABASE_URL: project } = env;
  if (url === undefined) return null;
  const api = env.INNKEEP_API_URL ?? (project === undefined ? undefined : `${project.replace(/\/+$/, "")}/functions/v1/api`);
  if (from === undefined) missing("INNKEEP_MAIL_FROM", "is needed with INNKEEP_SMTP_URL");
  if (api === undefined) missing("INNKEEP_API_URL", "is needed with INNKEEP_SMTP_URL");
  return from === undefined || api === undefined ? null : { url, from, apiUrl: api.replace(/\/+$/, "") };
}
