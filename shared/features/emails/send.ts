import { Collection, type Stored } from "../../core/collection.ts";
import type { Mailer, MailSession } from "../../core/mail.ts";
import { notesOf } from "../../core/notes.ts";
import type { UnitOfWork } from "../../core/unit-of-work.ts";
import { randomFraction } from "../../kernel/backoff.ts";
import { isoTime } from "../../kernel/clock.ts";
import { isInnkeepError } from "../../kernel/errors.ts";
import { GLOBAL, keyOf } from "../../kv/define.ts";
import type { Entry } from "../../kv/store.ts";
import { notification, notificationPreferences, notificationReads } from "../notifications/entity.ts";
import { type Email, email, emailAddress } from "./entity.ts";
import { afterAttempt, type Due, withdrawal } from "./rules.ts";
import { linkOf, notificationKeyOf } from "./links.ts";
import { mailOf } from "./text.ts";

type StoredEmail = Stored<typeof email>;

/** Longer than a mail and its commits can take. A worker that ends while it has a mail leaves it to the next one after that. */
const LEASE_MS = 600_000;

/** A mail that is due, with what it needs. */
export interface DueEmail extends Due {
  readonly email: StoredEmail;
}

/** The mails with their notifications and what else decides about them, in one read. */
export async function loaded(work: UnitOfWork, entries: readonly Entry[]): Promise<DueEmail[]> {
  const { store } = work;
  const emails = entries.map((entry) => new Collection(email, store).read(entry));
  const [notifications, addresses] = [new Collection(notification, store), new Collection(emailAddress, store)];
  const [reads, preferences] = [new Collection(notificationReads, store), new Collection(notificationPreferences, store)];
  const keysOf = (one: StoredEmail) => [
    notificationKeyOf(one),
    addresses.key(one),
    reads.key(one),
    preferences.key(one),
  ];
  const keys = [...new Set(emails.flatMap(keysOf))];
  const found = new Map((keys.length === 0 ? [] : await store.mget(keys)).map((entry, i) => [keys[i], entry]));
  return emails.map((one) => {
    const [its, address, read, preferred] = keysOf(one).map((key) => found.get(key) ?? null);
    return {
      email: one,
      notification: its ? notifications.read(its) : null,
      address: address ? addresses.read(address) : null,
      reads: read ? reads.read(read) : null,
      preferences: preferred ? preferences.read(preferred) : null,
    };
  });
}

/**
 * Sends one mail and writes what came of it. A crash between both sends it again after its lease, with the same Message-ID. Returns
 * whether the server takes further mails.
 */
export async function send(work: UnitOfWork, due: DueEmail, mailer: Mailer, session: MailSession): Promise<boolean> {
  const before = await taken(work, due.email);
  if (!before) return true;
  const { notification: its, address } = due;
  const reason = withdrawal(due, work.now());
  if (reason !== null || !its || !address) {
    const { dueAt: _, ...kept } = before;
    await settle(work, before, { ...kept, status: "withdrawn", ...(reason === null ? {} : { reason }), updatedAt: work.now() });
    return true;
  }
  const link = await linkOf(work.platform.secrets, mailer, before);
  const result = await session.send(mailOf({ email: before, notification: its, address, link }, mailer, work.now()));
  const after = afterAttempt(before, result, randomFraction(), work.context.clock.now());
  if (result.outcome === "bounced") await settleBounce(work, before, after, address.address);
  else await settle(work, before, after);
  return result.outcome !== "unavailable";
}

/** The mail with a lease, which no other worker then sends. Null if another one has it, or if it was deleted with its tenant. */
async function taken(work: UnitOfWork, before: StoredEmail): Promise<StoredEmail | null> {
  const after = { ...before, dueAt: isoTime(work.context.clock.now() + LEASE_MS) };
  const commit = { changes: [{ entity: email, before, after }], audit: "none", attempts: 1, result: {} } as const;
  try {
    const { version } = await work.transact(() => ({ commit, resultOf: ownerOf(before) }));
    return { ...after, version: version ?? before.version };
  } catch (error) {
    if (isInnkeepError(error, "write_conflict") || isInnkeepError(error, "not_found")) return null;
    throw error;
  }
}

async function settle(work: UnitOfWork, before: StoredEmail, after: Email): Promise<void> {
  const changes = [{ entity: email, before, after }];
  await work.transact(() => ({ commit: { changes, audit: "none", attempts: 1, result: {} }, resultOf: ownerOf(before) }));
}

/** Nothing more is sent to the address, unless the user has given another one meanwhile. */
async function settleBounce(work: UnitOfWork, before: StoredEmail, after: Email, to: string): Promise<void> {
  const addresses = new Collection(emailAddress, work.store);
  await work.transact(async () => {
    const own = { entity: email, before, after };
    const [address] = await addresses.getMany([keyOf(emailAddress, before)]);
    if (address?.status !== "active" || address.address !== to) {
      return { commit: { changes: [own], audit: "none", result: {} }, resultOf: ownerOf(before) };
    }
    const now = work.now();
    const change = {
      entity: emailAddress,
      before: address,
      after: { ...address, status: "bounced" as const, bouncedAt: now, updatedAt: now },
    };
    const data = { reason: after.reason ?? "" };
    const notes = notesOf("email-address.bounced", address.userId, change, { auditData: data, eventData: data });
    const commit = { changes: [own, change], audit: [notes.audit], events: [notes.event], result: {} };
    return { commit, resultOf: ownerOf(before) };
  });
}

/** The tenant of the mail; null for one to a platform administrator. */
export function ownerOf({ tenantId }: Email): string | null {
  return tenantId === GLOBAL ? null : tenantId;
}
