import { isoTime } from "../../kernel/clock.ts";
import type { FieldError } from "../../kernel/errors.ts";
import { GLOBAL } from "../../kv/define.ts";
import type { Condition } from "../../kv/store.ts";
import { type Channel, CHANNELS, NEVER_MUTED, type Notification, type NotificationPreferences, type NotificationReads } from "./entity.ts";

/** How long a notification is shown that names no end. */
export const SHOWN_MS = 90 * 86_400_000;
export const DEFAULT_DEDUPE_SECONDS = 86_400;
/** The single read marks that are kept for a user. */
export const MAX_MARKS = 200;
/** A notification is committed at most so long after the instant at which it was published. */
export const COMMIT_MS = 60_000;

/** Who reads: the inbox that is read, and what targets are compared with. */
export interface Reader {
  /** The tenant whose inbox is read; `global` for the platform's own. */
  readonly tenantId: string;
  readonly userId: string;
  /** Of a user of the tenant. */
  readonly role?: string | undefined;
  readonly plan?: string | undefined;
  readonly region?: string | undefined;
  /** A platform caller sees the notifications to all users and roles. */
  readonly isPlatform: boolean;
  /** The topics that the reader does not want in lists and counts. */
  readonly muted: readonly string[];
}

/** The topics that are muted on a channel. */
export function mutedBy(preferences: NotificationPreferences | null, channel: Channel): string[] {
  return Object.entries(preferences?.categories ?? {}).flatMap(([category, channels]) => channels[channel] ? [] : [category]).sort();
}

/** The problems of a body of preferences. */
export function preferenceProblems({ categories }: Pick<NotificationPreferences, "categories">): FieldError[] {
  const muted = CHANNELS.filter((channel) => categories[NEVER_MUTED]?.[channel] === false);
  return muted.map((channel) => ({
    path: `/categories/${NEVER_MUTED}/${channel}`,
    message: "must be true: nobody can mute notifications of security",
    code: "invalid",
  }));
}

/** The conditions of what a reader sees at an instant: `publishAt ≤ now < expiresAt`, and every target. */
export function visibleTo(reader: Reader, nowMs: number): Condition[] {
  const next = isoTime(nowMs + 1);
  return [
    { field: "expiresAt", from: next, moving: true },
    { field: "publishAt", to: next, moving: true },
    ...reader.muted.length === 0 ? [] : [{ field: "topic", notIn: reader.muted }],
    ...addressedTo(reader),
  ];
}

/** The conditions of what is addressed to a reader, at any time. */
export function addressedTo({ tenantId, userId, role, plan, region, isPlatform }: Reader): Condition[] {
  // The platform's own inbox has every platform-wide notification.
  if (tenantId === GLOBAL) return [{ field: "tenantId", in: [GLOBAL] }];
  return [
    { field: "tenantId", in: [tenantId, GLOBAL] },
    { field: "audience", in: ["tenants"] },
    { field: "targetPlans", overlaps: listOf(plan) },
    { field: "targetRegions", overlaps: listOf(region) },
    ...isPlatform ? [] : [{ field: "targetUsers", overlaps: [userId] }, { field: "targetRoles", overlaps: listOf(role) }],
  ];
}

function listOf(value: string | undefined): readonly string[] {
  return value === undefined ? [] : [value];
}

/** The same as {@link addressedTo}, of one notification. */
export function isAddressedTo(one: Notification, { tenantId, userId, role, plan, region, isPlatform }: Reader): boolean {
  if (tenantId === GLOBAL) return one.tenantId === GLOBAL;
  const meets = (targets: readonly string[] | undefined, value: string | undefined) =>
    targets === undefined || (value !== undefined && targets.includes(value));
  return (one.tenantId === tenantId || one.tenantId === GLOBAL) && one.audience === "tenants" &&
    meets(one.targetPlans, plan) && meets(one.targetRegions, region) &&
    (isPlatform || (meets(one.targetUsers, userId) && meets(one.targetRoles, role)));
}

/** The conditions that leave out what was read. */
export function unreadBy(reads: NotificationReads | null): Condition[] {
  if (!reads) return [];
  const marks = Object.entries(reads.read).filter(([, { publishAt }]) => reads.upTo === undefined || publishAt > reads.upTo);
  return [
    ...reads.upTo === undefined ? [] : [{ field: "publishAt", from: isoTime(Date.parse(reads.upTo) + 1), moving: true as const }],
    ...marks.length === 0 ? [] : [{ field: "id", notIn: marks.map(([id]) => id) }],
  ];
}

/** When the notification was first read; null if it is unread. */
export function readAtOf({ id, publishAt }: Notification, reads: NotificationReads | null): string | null {
  if (!reads) return null;
  const own = Object.hasOwn(reads.read, id) ? reads.read[id] : undefined;
  if (own) return own.readAt;
  return reads.upTo !== undefined && publishAt <= reads.upTo ? reads.upToAt ?? reads.updatedAt : null;
}

/** The reads with these notifications in addition. What was read before keeps its time. */
export function withRead(reads: NotificationReads, read: readonly Notification[], now: string): NotificationReads {
  const added = read.filter((one) => readAtOf(one, reads) === null).map(({ id, publishAt }) => [id, { publishAt, readAt: now }] as const);
  if (added.length === 0) return reads;
  return bounded({ ...reads, read: { ...reads.read, ...Object.fromEntries(added) }, updatedAt: now });
}

/** The reads after `unread` and everything that was published until `upTo` were read. */
export function withAllRead(reads: NotificationReads, unread: readonly Notification[], upTo: string, now: string): NotificationReads {
  const marked = withRead(reads, unread, now);
  return marked.upTo !== undefined && marked.upTo >= upTo ? marked : { ...marked, upTo, upToAt: now, updatedAt: now };
}

/** Keeps the marks of the newest notifications. Up to the others, everything counts as read. */
function bounded(reads: NotificationReads): NotificationReads {
  const marks = Object.entries(reads.read).sort(([, a], [, b]) => a.publishAt < b.publishAt ? 1 : -1);
  const dropped = marks.at(MAX_MARKS)?.[1];
  if (!dropped) return reads;
  const isHigher = reads.upTo === undefined || dropped.publishAt > reads.upTo;
  return {
    ...reads,
    read: Object.fromEntries(marks.slice(0, MAX_MARKS)),
    ...isHigher ? { upTo: dropped.publishAt, upToAt: dropped.readAt } : {},
  };
}

/** The problems of a window. */
export function windowProblems({ publishAt, expiresAt }: Pick<Notification, "publishAt" | "expiresAt">): FieldError[] {
  if (expiresAt > publishAt) return [];
  return [{ path: "/expiresAt", message: "must be after publishAt and in the future", code: "invalid" }];
}
