import { isoTime } from "../../kernel/clock.ts";
import { GLOBAL } from "../../kv/define.ts";
import type { MailResult } from "../../core/mail.ts";
import type { Notification, NotificationPreferences, NotificationReads } from "../notifications/entity.ts";
import { isAddressedTo, mutedBy, readAtOf } from "../notifications/rules.ts";
import { retryDelayMs } from "../webhooks/schedule.ts";
import type { Email, EmailAddress } from "./entity.ts";

/** A user who may get mails, and what decides about it. */
export interface Addressee {
  readonly address: EmailAddress;
  readonly preferences: NotificationPreferences | null;
  /** The user's tenant; null for platform administrators. */
  readonly tenant: { readonly plan: string; readonly region?: string | undefined } | null;
  /** The administrator's record; null for users of tenants. */
  readonly admin: { readonly enabled: boolean } | null;
}

/** Whether the user gets the notification by e-mail: it is addressed to the user, who has not muted its topic there. */
export function isMailedTo(one: Notification, { address, preferences, tenant, admin }: Addressee): boolean {
  const { tenantId, subject, role, status } = address;
  if (status !== "active" || isMuted(one, preferences)) return false;
  if (tenantId === GLOBAL) return one.audience === "admins" && admin?.enabled === true;
  if (!tenant) return false;
  const { plan, region } = tenant;
  return isAddressedTo(one, { tenantId, userId: subject, role, plan, region, isPlatform: false, muted: [] });
}

function isMuted({ topic }: Notification, preferences: NotificationPreferences | null): boolean {
  return mutedBy(preferences, "email").includes(topic);
}

/** What is known of a mail when it is due. */
export interface Due {
  readonly notification: Notification | null;
  readonly address: EmailAddress | null;
  readonly reads: NotificationReads | null;
  readonly preferences: NotificationPreferences | null;
}

/** Why a mail is no longer needed; null if it is. */
export function withdrawal({ notification, address, reads, preferences }: Due, now: string): string | null {
  if (!notification || notification.expiresAt <= now) return "The notification has ended.";
  if (address?.status !== "active") return "The user has no address for e-mail any more.";
  if (isMuted(notification, preferences)) return "The user has muted the category.";
  return readAtOf(notification, reads) === null ? null : "The notification was read in the product.";
}

/** The mail after an attempt. `random` is from 0 to 1. */
export function afterAttempt(before: Email, result: MailResult, random: number, nowMs: number): Email {
  const { dueAt: _, reason: _reason, ...kept } = before;
  const attempts = before.attempts + 1;
  const counted = { ...kept, attempts, updatedAt: isoTime(nowMs) };
  if (result.outcome === "sent") return { ...counted, status: "sent", sentAt: isoTime(nowMs) };
  const { reason } = result;
  if (result.outcome === "bounced") return { ...counted, status: "bounced", reason };
  const delayMs = retryDelayMs(attempts, random);
  if (delayMs === null) return { ...counted, status: "failed", reason };
  return { ...counted, reason, dueAt: isoTime(nowMs + delayMs) };
}
