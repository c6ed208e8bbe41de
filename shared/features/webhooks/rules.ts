import { z } from "zod";
import { parseInput } from "../../core/collection.ts";
import { addDays } from "../../core/periods.ts";
import { errors, type FieldError, InnkeepError } from "../../kernel/errors.ts";
import { assertMayRead, withheldFrom } from "../events/patterns.ts";
import type { Gap, Webhook } from "./entity.ts";

export const MAX_OVERLAP_SECONDS = 604_800;
export const DEFAULT_OVERLAP_SECONDS = 86_400;
/** The age at which a secret should be replaced. */
export const SECRET_DAYS = 365;
/** Days before the end of a secret of which a reminder is sent. 0 is the end itself. */
const REMINDERS = [14, 7, 1, 0] as const;

const MAX_HEADERS = 10;
const MAX_HEADER_CHARS = 1_024;
/** RFC 9110 §5.6.2. */
const HEADER_NAME = /^[!#$%&'*+.^_`|~0-9A-Za-z-]{1,64}$/;
/** RFC 9110 §5.5, without what HTTP implementations disagree on: characters beyond ASCII, and spaces at either end. */
const HEADER_VALUE = /^[\x21-\x7e](?:[\t\x20-\x7e]*[\x21-\x7e])?$/;
/** Headers that the connection or the signature sets, or that a receiver could mistake for those of a browser. */
const RESERVED_HEADERS: ReadonlySet<string> = new Set([
  "accept-encoding",
  "connection",
  "content-encoding",
  "content-length",
  "content-type",
  "cookie",
  "date",
  "expect",
  "host",
  "keep-alive",
  "origin",
  "te",
  "trailer",
  "transfer-encoding",
  "upgrade",
  "user-agent",
  "via",
]);
const RESERVED_PREFIXES = ["webhook-", "proxy-", "sec-"];

/** Additional headers as a request sends them. Messages never repeat a value. */
export const headersInput = z.record(z.string(), z.string()).check(({ value, issues }) => {
  const names = Object.keys(value);
  const refuse = (path: string[], message: string) => issues.push({ code: "custom", input: undefined, message, path });
  if (names.length > MAX_HEADERS) refuse([], `must have at most ${MAX_HEADERS} headers`);
  for (const name of names.slice(0, MAX_HEADERS)) {
    const fault = headerFault(name, value[name] ?? "", names);
    if (fault !== null) refuse([name], fault);
  }
}).meta({
  description:
    "Headers that every request has in addition, at most 10. The values are encrypted and never shown: reads have `headerNames`. " +
    "A change replaces all of them.",
  examples: [{ "x-environment": "production" }],
});

function headerFault(name: string, value: string, names: readonly string[]): string | null {
  const lower = name.toLowerCase();
  if (!HEADER_NAME.test(name)) return "must be named by 1 to 64 letters, digits and hyphens";
  if (RESERVED_HEADERS.has(lower) || RESERVED_PREFIXES.some((prefix) => lower.startsWith(prefix))) {
    return "cannot be set: choose another name";
  }
  if (names.filter((other) => other.toLowerCase() === lower).length > 1) return "must not be there twice in upper and lower case";
  if (value.length > MAX_HEADER_CHARS) return `must have a value of at most ${MAX_HEADER_CHARS} characters`;
  return HEADER_VALUE.test(value) ? null : "must have a value of ASCII characters without line breaks, and no spaces at either end";
}

/** The same in a patch. */
export const headersPatch = headersInput.nullable().meta({ description: `${headersInput.description} Null removes them.` });
const body = z.strictObject({ headers: headersInput });

/** Headers by lower-case name, in the order of the names. Throws `validation_failed`. */
export function checkedHeaders(headers: Readonly<Record<string, string>>): Record<string, string> {
  const entries = Object.entries(parseInput(body, { headers }).headers).map(([name, value]) => [name.toLowerCase(), value] as const);
  return Object.fromEntries(entries.toSorted(([a], [b]) => a < b ? -1 : 1));
}

/**
 * Throws `validation_failed` if the headers would be sent to a host that they were not given for: so whoever may change the webhook
 * cannot learn their values.
 */
export function assertHeadersFor(url: string, before: Pick<Webhook, "url" | "headerNames">): void {
  if (before.headerNames.length === 0 || new URL(url).origin === new URL(before.url).origin) return;
  const message = "must be sent again, or be null, because the URL names another host, which would get their values";
  throw errors.validation([{ path: "/headers", message, code: "required" }]);
}

/**
 * Throws `forbidden`, and `insufficient_scope` for types that need another scope: who receives events must be allowed to read them.
 * Without scopes, the caller is the program.
 */
export function assertReadsEvents(scopes: ReadonlySet<string> | undefined, patterns: readonly string[]): void {
  if (scopes && !scopes.has("read:events")) {
    throw new InnkeepError(
      "forbidden",
      "A webhook receives events, so its url and its events can be set only with the permission read:events.",
    );
  }
  assertMayRead(patterns, scopes);
}

/** The webhook without the types that its new url must not get, because the caller who set it must not read them. */
export function readableBy<W extends object>(scopes: ReadonlySet<string> | undefined, webhook: W): W {
  const { withheld: _, ...rest } = webhook as W & { readonly withheld?: unknown };
  const withheld = withheldFrom(scopes);
  return { ...rest, ...(withheld.length > 0 ? { withheld } : {}) } as unknown as W;
}

/** Throws `validation_failed` for patterns that select no type of the catalogue. */
export function assertPatterns(patterns: readonly string[], isPattern: (pattern: string) => boolean): void {
  const message = "must be a type of GET /v1/event-types, a group such as tenant.*, or *";
  const faults = patterns.flatMap((pattern, i): FieldError[] => (
    isPattern(pattern) ? [] : [{ path: `/events/${i}`, message, code: "unknown_event_type" }]
  ));
  if (faults.length > 0) throw errors.validation(faults);
}

/** Throws `validation_failed` for patterns of a tenant's webhook that select only types of the platform, which it would never get. */
export function assertTenantPatterns(patterns: readonly string[], isTenantPattern: (pattern: string) => boolean): void {
  const message = "selects only events of the platform: choose types of GET /v1/event-types that are tenantScoped, because the webhook " +
    "belongs to a tenant";
  const faults = patterns.flatMap((pattern, i): FieldError[] => (
    isTenantPattern(pattern) ? [] : [{ path: `/events/${i}`, message, code: "platform_event_type" }]
  ));
  if (faults.length > 0) throw errors.validation(faults);
}

/** Throws `validation_failed`. */
export function assertOverlap(overlapSeconds: number): void {
  if (Number.isInteger(overlapSeconds) && overlapSeconds >= 0 && overlapSeconds <= MAX_OVERLAP_SECONDS) return;
  const message = `must be a whole number from 0 to ${MAX_OVERLAP_SECONDS}`;
  throw errors.validation([{ path: "/overlapSeconds", message, code: "invalid" }]);
}

/** The webhook as its owner disables it. */
export function disabled<W extends Webhook>(webhook: W, now: string): W {
  return { ...webhook, enabled: false, status: "disabled", disabledReason: "by_request", disabledAt: now, dueAt: null };
}

/** The webhook as it is enabled again: without its failures, and due, because deliveries may wait. */
export function enabled<W extends Webhook>(webhook: W, gap: Gap, now: string): W {
  const { disabledAt: _, disabledReason: __, pausedUntil: ___, pauseSeconds: ____, ...rest } = webhook as Webhook & Record<string, unknown>;
  const record = { ...rest, enabled: true, status: "active", failureCount: 0, failingSince: null, dueAt: now, gap };
  return record as unknown as W;
}

/** The webhook with another URL: failures and pauses of the receiver before it do not count for the new one. */
export function redirected<W extends Webhook>(webhook: W, now: string): W {
  const { pausedUntil, pauseSeconds: _, ...rest } = webhook as Webhook;
  const dueAt = pausedUntil !== undefined && rest.dueAt !== null && rest.dueAt <= pausedUntil ? now : rest.dueAt;
  return { ...rest, failureCount: 0, failingSince: null, dueAt } as unknown as W;
}

/** From when on a disabled webhook lacks events: its deliveries failed before it was disabled. */
export function gapStart({ failingSince, disabledAt }: Pick<Webhook, "failingSince" | "disabledAt">, now: string): string {
  return [failingSince ?? now, disabledAt ?? now, now].sort()[0] ?? now;
}

/** The members of a webhook with a new secret. */
export function secretTimes(now: string): Pick<Webhook, "secretRotatedAt" | "secretExpiresAt" | "reminded"> {
  return { secretRotatedAt: now, secretExpiresAt: addDays(now, SECRET_DAYS), reminded: [] };
}

/** The webhook with the instant at which the job looks at its secrets: the next reminder, or the end of an overlap. */
export function scheduled<W extends Webhook>(webhook: W): W {
  const { nextCheckAt: _, ...rest } = webhook as Webhook;
  const { secretExpiresAt, reminded, previousSecretExpiresAt } = rest;
  const reminders = REMINDERS.filter((days) => !reminded.includes(days)).map((days) => addDays(secretExpiresAt, -days));
  const next = [...reminders, ...(previousSecretExpiresAt === undefined ? [] : [previousSecretExpiresAt])].sort()[0];
  return { ...rest, ...(next === undefined ? {} : { nextCheckAt: next }) } as unknown as W;
}

/** One thing that is due for the secrets of a webhook. */
export interface DueChange {
  readonly action: "webhook.secret_expiring" | "webhook.secret_expired" | "webhook.secret_retired";
  readonly record: Webhook;
  readonly data: Readonly<Record<string, string | number>>;
}

/** The next thing that is due at an instant; null if nothing is. Of several missed reminders, only the last is sent. */
export function dueChange(webhook: Webhook, now: string): DueChange | null {
  const { secretExpiresAt, reminded, previousSecretExpiresAt } = webhook;
  if (previousSecretExpiresAt !== undefined && previousSecretExpiresAt <= now) {
    const { previousSecretExpiresAt: _, ...record } = webhook;
    return { action: "webhook.secret_retired", record: record as Webhook, data: { endedAt: previousSecretExpiresAt } };
  }
  const passed = REMINDERS.filter((days) => addDays(secretExpiresAt, -days) <= now);
  const last = passed.at(-1);
  if (last === undefined || reminded.includes(last)) return null;
  const record = { ...webhook, reminded: passed };
  if (last === 0) return { action: "webhook.secret_expired", record, data: { secretExpiresAt } };
  return { action: "webhook.secret_expiring", record, data: { daysLeft: last, secretExpiresAt } };
}
