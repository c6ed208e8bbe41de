import { Collection } from "../../core/collection.ts";
import type { Mailer } from "../../core/mail.ts";
import type { SecretBox } from "../../core/secret-box.ts";
import type { UnitOfWork } from "../../core/unit-of-work.ts";
import { GLOBAL, keyOf } from "../../kv/define.ts";
import { type Notification, notification, notificationReads } from "../notifications/entity.ts";
import { withRead } from "../notifications/rules.ts";
import type { Email } from "./entity.ts";

const PURPOSE = "link of a mail";
/** A browser can mark many notifications at the same time. */
const ATTEMPTS = 20;

/** The link that marks the mail's notification as read and leads to its action link. Throws `root_key_unavailable`. */
export async function linkOf(secrets: SecretBox, { apiUrl }: Mailer, { id }: Email): Promise<string> {
  return `${apiUrl}/v1/notifications/email/${id}/open?signature=${await secrets.sign(PURPOSE, id)}`;
}

/** Whether `linkOf` made the signature for the mail. */
export async function isLink(secrets: SecretBox, id: string, signature: string): Promise<boolean> {
  return await secrets.isSigned(PURPOSE, id, signature);
}

export function notificationKeyOf({ notificationTenantId: tenantId, notificationId: id }: Email): string {
  return keyOf(notification, { tenantId, id });
}

/** Marks the notification as read by the user of the mail. The first time is kept. */
export async function markRead(work: UnitOfWork, { tenantId, userId }: Email, one: Notification): Promise<void> {
  const reads = new Collection(notificationReads, work.store);
  const resultOf = tenantId === GLOBAL ? null : tenantId;
  await work.transact(async () => {
    const [before = null] = await reads.getMany([reads.key({ tenantId, userId })]);
    const known = before ?? { tenantId, userId, read: {}, updatedAt: work.now() };
    const after = withRead(known, [one], work.now());
    if (after === known) return { done: {}, resultOf };
    return { commit: { changes: [{ entity: notificationReads, before, after }], audit: "none", attempts: ATTEMPTS, result: {} }, resultOf };
  });
}
