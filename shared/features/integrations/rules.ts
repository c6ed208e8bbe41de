import { REDACTED } from "../../core/redaction.ts";
import { toBase64Url } from "../../kernel/base64.ts";
import { isoTime } from "../../kernel/clock.ts";
import { errors } from "../../kernel/errors.ts";
import type { JsonObject } from "../../kernel/json.ts";
import type { CallOutcome } from "../connector-events/entity.ts";
import { CLOSED } from "./circuit.ts";
import { type Integration, MAX_HISTORY, MAX_SYNC_ERROR_CHARS, type ReauthReason, type SyncStatus } from "./entity.ts";
import type { Connection, Credentials } from "./provider.ts";

const DAY_MS = 24 * 3_600_000;
/** Days before the expiry of the credentials. */
const REMINDERS = [14, 7, 1] as const;
/** The last 4 characters of a shorter value would be too much of it. */
const MIN_CHARS_OF_LAST4 = 12;
/** A shorter credential could be a part of any text. */
const MIN_CHARS_TO_REDACT = 6;

/** What reads show of credentials. */
export function credentialFields(credentials: Credentials): Integration["credentialFields"] {
  return Object.entries(credentials).map(([name, value]) => (
    value.length < MIN_CHARS_OF_LAST4 ? { name } : { name, last4: value.slice(-4) }
  ));
}

/** A text without the credentials that it quotes: as they are, in JSON, in a URL, or in base64 such as that of Basic authentication. */
export function withoutCredentials(quoting: string, credentials: Credentials): string {
  const secrets = Object.values(credentials).filter(({ length }) => length >= MIN_CHARS_TO_REDACT).sort((a, b) => b.length - a.length);
  return secrets.reduce((left, secret) => {
    // The longest first, which can contain the secret itself.
    const forms = [secret, JSON.stringify(secret).slice(1, -1), encodeURIComponent(secret)].sort((a, b) => b.length - a.length);
    const plain = forms.reduce((text, form) => text.replaceAll(form, REDACTED), left);
    return inBase64(secret).reduce((text, form) => text.replace(form, REDACTED), plain);
  }, quoting);
}

/**
 * Base64 (RFC 4648 §4 and §5) of any text that contains the secret. The characters that only the secret determines are one of three
 * texts, by its place in groups of three bytes; the rest of the encoded text is redacted with them.
 */
function inBase64(secret: string): RegExp[] {
  const bytes = new TextEncoder().encode(secret);
  return [0, 1, 2].map((offset) => {
    const text = toBase64Url(Uint8Array.from([...Array<number>(offset).fill(0), ...bytes]));
    const own = text.slice(Math.ceil(offset * 8 / 6), Math.floor((offset + bytes.length) * 8 / 6));
    return new RegExp(`[\\w+/-]*${own.replaceAll("-", "[+-]").replaceAll("_", "[/_]")}[\\w+/-]*={0,2}`, "g");
  });
}

/** The members of a connection with the defaults. New credentials, or those of an ended connection, connect it again. */
export function connected(
  before: Integration | null,
  { config, enabled, credentialsExpireAt }: Connection,
  credentials: Pick<Integration, "credentials" | "credentialFields"> | null,
  now: string,
): JsonObject {
  if (credentialsExpireAt !== undefined && credentialsExpireAt !== before?.credentialsExpireAt && credentialsExpireAt <= now) {
    throw errors.validation([{ path: "/credentialsExpireAt", message: "must be in the future", code: "invalid" }]);
  }
  const { credentialsExpireAt: expiry, reminded, nextCheckAt: _, ...kept } = before ?? { reminded: [] };
  const isSame = expiry === credentialsExpireAt && credentials === null;
  const due = credentialsExpireAt === undefined ? [] : REMINDERS.filter((days) => daysBefore(credentialsExpireAt, days) <= now);
  const { reauthReason: __, disconnectedAt: ___, ...alive } = kept as Partial<Integration>;
  const renewed = credentials === null ? kept : {
    ...alive,
    ...credentials,
    circuit: CLOSED,
    credentialsSetAt: now,
    status: "connected",
    needsReauth: false,
    connectedAt: before?.status === "connected" ? before.connectedAt ?? now : now,
  };
  return scheduled({
    ...renewed,
    config,
    enabled,
    reminded: isSame ? reminded : due,
    ...(credentialsExpireAt === undefined ? {} : { credentialsExpireAt }),
  } as unknown as Integration) as unknown as JsonObject;
}

/** The record without its credentials. Its history stays. */
export function disconnected(before: Integration, now: string): Integration {
  const { credentials: _, credentialsSetAt: __, credentialsExpireAt: ___, reauthReason: ____, ...rest } = before;
  return scheduled({
    ...rest,
    credentialFields: [],
    reminded: [],
    needsReauth: false,
    status: "disconnected",
    disconnectedAt: now,
    circuit: CLOSED,
  } as unknown as Integration);
}

/** The record after the report of a synchronisation. A running one has no end yet, so the history does not contain it. */
export function synced(before: Integration, status: SyncStatus, error: string | undefined, now: string): Integration {
  const { lastSyncError: _, ...rest } = before;
  if (status === "running") return { ...before, lastSyncStatus: status } as Integration;
  const ended = { at: now, status, ...(error === undefined ? {} : { error: error.slice(0, MAX_SYNC_ERROR_CHARS) }) };
  return {
    ...rest,
    lastSyncAt: now,
    lastSyncStatus: status,
    ...(ended.error === undefined ? {} : { lastSyncError: ended.error }),
    consecutiveFailures: status === "failed" ? before.consecutiveFailures + 1 : 0,
    syncHistory: [ended, ...before.syncHistory].slice(0, MAX_HISTORY),
  } as Integration;
}

/** The record whose credentials no longer work. */
export function broken(before: Integration, reauthReason: ReauthReason): Integration {
  return scheduled({ ...before, status: "error", needsReauth: true, reauthReason });
}

/** One thing that is due for the credentials. */
export interface DueChange {
  readonly action: "integration.credentials_expiring" | "integration.needs_reauth";
  readonly record: Integration;
  readonly data: JsonObject;
}

/** The next thing that is due; null if nothing is. Of several missed reminders, only the last is sent. */
export function dueChange(before: Integration, now: string): DueChange | null {
  const { credentialsExpireAt: expiry, reminded, needsReauth } = before;
  if (expiry === undefined || needsReauth) return null;
  if (expiry <= now) return { action: "integration.needs_reauth", record: broken(before, "expired"), data: { reason: "expired" } };
  const passed = REMINDERS.filter((days) => daysBefore(expiry, days) <= now);
  const last = passed.at(-1);
  if (last === undefined || reminded.includes(last)) return null;
  const record = scheduled({ ...before, reminded: [...passed] });
  return { action: "integration.credentials_expiring", record, data: { daysLeft: last, credentialsExpireAt: expiry } };
}

/** The record with the instant at which the job looks at it. */
export function scheduled(record: Integration): Integration {
  const { nextCheckAt: _, ...rest } = record;
  const { credentialsExpireAt: expiry, reminded, needsReauth } = record;
  if (expiry === undefined || needsReauth) return rest as unknown as Integration;
  const next = REMINDERS.find((days) => !reminded.includes(days));
  return { ...rest, nextCheckAt: next === undefined ? expiry : daysBefore(expiry, next) } as unknown as Integration;
}

/** Why the program must not call the provider; null if it may. */
export function obstacleOf(
  { status, enabled, needsReauth, credentials }: Integration,
): "disconnected" | "disabled" | "needs_reauth" | null {
  if (needsReauth) return "needs_reauth";
  if (status === "disconnected" || credentials === undefined) return "disconnected";
  return enabled ? null : "disabled";
}

/** Texts for people, by outcome. */
export const OUTCOME_TEXTS: Readonly<Record<CallOutcome, string>> = {
  ok: "The provider accepted the credentials.",
  invalid_credentials: "The provider refused the credentials. Connect the integration again with valid ones.",
  forbidden: "The provider accepted the credentials, but they do not permit this call. Grant them more permissions.",
  not_found: "The provider does not know what the config names. Check the config.",
  rate_limited: "The provider refused the call because of its rate limit. Repeat the test later.",
  unreachable: "The provider could not be reached. Repeat the test later.",
  timeout: "The provider did not respond in time. Repeat the test later.",
  tls_failed: "No secure connection to the provider could be made. Repeat the test later.",
  unexpected: "The provider sent an unexpected response. Check the config, or repeat the test later.",
};

function daysBefore(instant: string, days: number): string {
  return isoTime(Date.parse(instant) - days * DAY_MS);
}
