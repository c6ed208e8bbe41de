import { Collection, type Stored } from "../../core/collection.ts";
import type { UnitOfWork } from "../../core/unit-of-work.ts";
import { GLOBAL, keyOf } from "../../kv/define.ts";
import { admin as adminEntity } from "../admins/entity.ts";
import { type Notification, notification as notificationEntity, notificationPreferences } from "../notifications/entity.ts";
import { tenant as tenantEntity } from "../tenants/entity.ts";
import { type Email, email, emailAddress, mailing } from "./entity.ts";
import { type Addressee, isMailedTo } from "./rules.ts";

/** Addresses of one commit. */
const PAGE = 100;

/** Makes the mails of a page of addressees. Returns whether there are more. Repeated after a crash, it makes none twice. */
export async function fanOut(work: UnitOfWork, key: string): Promise<boolean> {
  const { result } = await work.transact<{ readonly more: boolean }>(async () => {
    const [before] = await new Collection(mailing, work.store).getMany([key]);
    if (!before) return { done: { more: false }, resultOf: null };
    const [notification] = await new Collection(notificationEntity, work.store).getMany([keyOf(notificationEntity, before)]);
    const now = work.now();
    const isOver = !notification || notification.expiresAt <= now;
    const { made, cursor } = isOver ? { made: [], cursor: null } : await page(work, notification, before.cursor);
    const changes = [
      { entity: mailing, before, after: cursor === null ? null : { ...before, cursor } },
      ...made.map((after) => ({ entity: email, before: null, after })),
    ];
    const resultOf = before.tenantId === GLOBAL ? null : before.tenantId;
    return { commit: { changes, audit: "none", result: { more: cursor !== null } }, resultOf };
  });
  return result.more;
}

async function page(work: UnitOfWork, notification: Notification, after: string | undefined) {
  const { tenantId, audience } = notification;
  // A notification of the platform is for the users of all tenants, or for administrators.
  const isForAll = tenantId === GLOBAL && audience === "tenants";
  const { records, cursor } = await new Collection(emailAddress, work.store).list({
    where: isForAll ? [] : [{ field: "tenantId", in: [tenantId] }],
    orderBy: [],
    limit: PAGE,
    ...(after === undefined ? {} : { cursor: after }),
  });
  const addressees = await addresseesOf(work, records);
  return { made: addressees.filter((each) => isMailedTo(notification, each)).map((each) => mailOf(work, notification, each)), cursor };
}

/** The addresses with what decides about their mails, in one read. */
async function addresseesOf(work: UnitOfWork, addresses: readonly Stored<typeof emailAddress>[]): Promise<Addressee[]> {
  const preferences = new Collection(notificationPreferences, work.store);
  const [tenants, admins] = [new Collection(tenantEntity, work.store), new Collection(adminEntity, work.store)];
  const keysOf = (address: Stored<typeof emailAddress>) => ({
    preferences: preferences.key(address),
    tenant: address.tenantId === GLOBAL ? "" : tenants.key({ id: address.tenantId }),
    admin: address.tenantId === GLOBAL ? admins.key(address) : "",
  });
  const keys = [...new Set(addresses.flatMap((each) => Object.values(keysOf(each))))].filter((key) => key !== "");
  const entries = new Map((keys.length === 0 ? [] : await work.store.mget(keys)).map((entry, i) => [keys[i], entry]));
  return addresses.map((address) => {
    const [preferred, tenant, admin] = Object.values(keysOf(address)).map((key) => entries.get(key) ?? null);
    return {
      address,
      preferences: preferred ? preferences.read(preferred) : null,
      tenant: tenant ? tenants.read(tenant) : null,
      admin: admin ? admins.read(admin) : null,
    };
  });
}

function mailOf(work: UnitOfWork, { tenantId, id }: Notification, { address }: Addressee): Email {
  const now = work.now();
  return {
    id: work.newId("email"),
    tenantId: address.tenantId,
    userId: address.userId,
    notificationTenantId: tenantId,
    notificationId: id,
    status: "pending",
    attempts: 0,
    dueAt: now,
    createdAt: now,
  };
}
