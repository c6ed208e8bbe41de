import { Collection, parseInput, type Stored } from "../../core/collection.ts";
import { EntityService } from "../../core/entity-service.ts";
import { inputsOf, type PutInput } from "../../core/fields.ts";
import { Records } from "../../core/records.ts";
import type { UnitOfWork } from "../../core/unit-of-work.ts";
import { errors, InnkeepError } from "../../kernel/errors.ts";
import type { JsonObject } from "../../kernel/json.ts";
import type { ChangeOptions } from "../../kernel/version.ts";
import { GLOBAL, keyOf } from "../../kv/define.ts";
import { isSegment } from "../../kv/key.ts";
import { notification } from "../notifications/entity.ts";
import { holderOf } from "../notifications/inbox.ts";
import { isLink, markRead, notificationKeyOf } from "./links.ts";
import { shortTenantId, tenant } from "../tenants/entity.ts";
import { email, type EmailAddress, emailAddress } from "./entity.ts";

export type AddressInput = PutInput<typeof emailAddress>;
type StoredAddress = Stored<typeof emailAddress>;

/** The addresses to which users want their notifications. */
export class EmailAddressService {
  readonly #records: Records<typeof emailAddress>;

  constructor(private readonly work: UnitOfWork) {
    this.#records = new Records(emailAddress, work);
  }

  /** The caller's address in a tenant. Null if it wants no mails. Throws `not_found` if the tenant does not exist. */
  async get(tenantId?: string): Promise<StoredAddress | null> {
    return await this.#records.get(keyOf(emailAddress, await this.#holder(tenantId)));
  }

  /**
   * The caller wants its notifications at the address of its token from now on, also if mails to it have bounced before. Throws
   * `forbidden` for a caller without an address, `validation_failed`, `not_found`.
   */
  async put(data: AddressInput, tenantId?: string, options: ChangeOptions = {}): Promise<StoredAddress> {
    const input = parseInput(inputsOf(emailAddress).create, data) as Pick<EmailAddress, "locale">;
    const { actor: { id, email: address }, role } = this.work.context;
    if (address === undefined) {
      throw new InnkeepError("forbidden", "Your token has no email address. Sign in with an account that has one.");
    }
    const holder = await this.#holder(tenantId);
    const given = { ...input, ...holder, subject: id, address, ...(role === undefined ? {} : { role }), status: "active" };
    const { record } = await this.#records.put(keyOf(emailAddress, holder), options, (before) => {
      if (!before) return { action: "email-address.created", record: this.#records.newRecord(given) };
      const { version: _, bouncedAt: _bouncedAt, role: _role, ...kept } = before;
      return { action: "email-address.updated", record: { ...kept, ...given } as EmailAddress };
    }, given as unknown as JsonObject);
    return record;
  }

  /** The caller wants no mails any more. Returns whether it had an address. With `userId`, another user, such as one who has left. */
  async delete(tenantId?: string, options: ChangeOptions = {}, userId?: string): Promise<boolean> {
    const holder = await this.#holder(tenantId, userId);
    return await this.#records.remove(keyOf(emailAddress, holder), options, "email-address.deleted") !== null;
  }

  async #holder(asked: string | undefined, userId = this.work.context.actor.id) {
    const { tenantId: bound } = this.work.context;
    const given = asked === undefined ? undefined : shortTenantId(asked);
    if (bound !== null && given !== undefined && given !== bound) throw errors.otherTenant(given);
    const of = bound ?? given ?? GLOBAL;
    if (of !== GLOBAL && (!isSegment(of) || await this.work.read(keyOf(tenant, { id: of })) === null)) throw errors.notFound("tenant", of);
    return await holderOf(of, userId);
  }
}

/** The links of mails. */
export class EmailLinkService {
  constructor(private readonly work: UnitOfWork) {}

  /** Marks the mail's notification as read by its user. Returns its action link. Throws `not_found`, also after its end. */
  async open(emailId: string, signature: string): Promise<string> {
    const { store, platform } = this.work;
    if (!await isLink(platform.secrets, emailId, signature)) throw errors.notFound("link");
    const found = await new Collection(email, store).get(emailId);
    const [one] = found ? await new Collection(notification, store).getMany([notificationKeyOf(found)]) : [];
    if (!found || one?.actionUrl === undefined || one.expiresAt <= this.work.now()) throw errors.notFound("notification");
    await markRead(this.work, found, one);
    return one.actionUrl;
  }
}

/** The mails of notifications. */
export class EmailService extends EntityService<typeof email> {
  constructor(work: UnitOfWork) {
    super(work, email);
  }

  /** Sends a mail again that could not be sent, with the whole schedule of attempts. Null if there is none. Throws `invalid_transition`. */
  async retry(id: string, options: ChangeOptions = {}): Promise<Stored<typeof email> | null> {
    return await this.records.change(id, options, "email.retried", (before) => {
      if (before.status === "pending") return { record: before };
      if (before.status === "sent" || before.status === "withdrawn") {
        throw new InnkeepError(
          "invalid_transition",
          `The mail is ${before.status}. Only one that has failed or bounced can be sent again.`,
        );
      }
      const { reason: _, ...kept } = before;
      return { record: { ...kept, status: "pending", attempts: 0, dueAt: this.work.now() } };
    });
  }
}
