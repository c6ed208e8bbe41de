import { Collection } from "../../core/collection.ts";
import type { Transaction, UnitOfWork } from "../../core/unit-of-work.ts";
import { isoTime } from "../../kernel/clock.ts";
import { errors } from "../../kernel/errors.ts";
import { sha256Hex } from "../../kernel/sha256.ts";
import { GLOBAL, keyOf } from "../../kv/define.ts";
import type { Mutation } from "../../kv/store.ts";
import { mailing } from "../emails/entity.ts";
import { type Notification, notification, notificationRevision } from "./entity.ts";
import { type Template, textOf, type VariablesOf } from "./templates.ts";
import { DEFAULT_DEDUPE_SECONDS, SHOWN_MS, windowProblems } from "./rules.ts";

type Told = { readonly [T in Template]: { readonly template: T; readonly variables: VariablesOf<T> } }[Template];

/** What the program tells the users of a tenant, or without a tenant platform administrators, as a template with its variables. */
export type Notice = Told & NoticeTraits;

interface NoticeTraits {
  readonly tenantId: string | null;
  readonly type?: Notification["type"];
  readonly priority?: Notification["priority"];
  readonly category?: Notification["category"];
  readonly targetUsers?: string[];
  readonly targetRoles?: NonNullable<Notification["targetRoles"]>;
  readonly actionLabel?: string;
  readonly actionUrl?: string;
  readonly publishAt?: string;
  readonly expiresAt?: string;
  /** With it, there is one notification of the condition in each period of `dedupeSeconds`. */
  readonly dedupeKey?: string;
  readonly dedupeSeconds?: number;
}

type Parts = Required<Pick<Transaction<unknown>, "changes" | "mutations">>;

/**
 * What a decision adds to its commit, so that its notifications exist exactly if the change does. The audit entry and the event of the
 * change stand for them too. Leaves out those whose `dedupeKey` has a notification already. Throws `validation_failed` for a missing
 * variable. Call it only within a decision.
 */
export async function notify(work: UnitOfWork, notices: readonly Notice[]): Promise<Parts> {
  const records = await Promise.all(
    notices.map(({ tenantId, ...given }) => {
      const text = textOf(given.template, "en", given.variables);
      const audience = tenantId === null ? "admins" : "tenants";
      return newNotification(work, { ...given, ...text, tenantId: tenantId ?? GLOBAL, audience }, "program");
    }),
  );
  const deduped = records.filter(({ dedupeKey }) => dedupeKey !== undefined).map((record) => keyOf(notification, record));
  const known = new Set((deduped.length === 0 ? [] : await work.store.mget(deduped)).flatMap((entry) => entry?.key ?? []));
  const made = records.filter((record) => !known.has(keyOf(notification, record)));
  return {
    changes: made.map((after) => ({ entity: notification, before: null, after })),
    mutations: [
      ...[...new Set(made.map(({ tenantId }) => tenantId))].map((tenantId) => counted(work, tenantId)),
      ...made.flatMap((one) => mailed(work, one)),
    ],
  };
}

/**
 * A notification with its id, window and defaults. The id of one with a `dedupeKey` follows from the key, the period, the tenant, and
 * who notifies: a tenant's staff must not hold back what the platform or the program tells the tenant.
 */
export async function newNotification(
  work: UnitOfWork,
  given: Readonly<Record<string, unknown>>,
  author: "program" | "platform" | "tenant" = work.context.tenantId === null ? "platform" : "tenant",
): Promise<Notification> {
  const nowMs = work.context.clock.now();
  const { tenantId = GLOBAL, publishAt = "", expiresAt, dedupeKey, dedupeSeconds } = given as Partial<Notification>;
  const shownMs = Math.max(nowMs, Date.parse(publishAt) || 0);
  const window = { publishAt: isoTime(shownMs), expiresAt: expiresAt ?? isoTime(shownMs + SHOWN_MS) };
  const problems = windowProblems(window);
  if (problems.length > 0) throw errors.validation(problems);
  const id = dedupeKey === undefined
    ? work.newId("notif")
    : await dedupedId(`${author}:${tenantId}:${dedupeKey}`, dedupeSeconds ?? DEFAULT_DEDUPE_SECONDS, nowMs);
  const { priority, category = "general" } = given as Partial<Notification>;
  const topic = priority === "critical" ? priority : category;
  return notification.schema.parse({ ...given, ...window, topic, id, createdAt: isoTime(nowMs) });
}

async function dedupedId(dedupeKey: string, seconds: number, nowMs: number): Promise<string> {
  const periodMs = seconds * 1_000;
  const digest = BigInt(`0x${await sha256Hex(`${seconds}:${dedupeKey}`)}`).toString(36).slice(-12);
  return `notif_${nowMs - nowMs % periodMs}_${digest}`;
}

/** The part of every commit that makes a notification, which lets the job make its mails. */
export function mailed({ store, platform: { mailer } }: UnitOfWork, { tenantId, id, publishAt, createdAt }: Notification): Mutation[] {
  return mailer === null ? [] : [new Collection(mailing, store).set({ tenantId, id, dueAt: publishAt, createdAt })];
}

/** The part of every commit that changes a notification, which ends cached unread counts. */
export function counted(work: UnitOfWork, tenantId: string): Mutation {
  const updatedAt = work.now();
  return {
    op: "increment",
    key: new Collection(notificationRevision, work.store).key({ tenantId }),
    add: [{ path: ["revision"], by: 1 }],
    initial: { value: { tenantId, revision: 0, updatedAt }, tenantId: tenantId === GLOBAL ? null : tenantId },
    merge: { updatedAt },
  };
}
