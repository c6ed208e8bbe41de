import { Collection, type Stored } from "../../core/collection.ts";
import { EntityService } from "../../core/entity-service.ts";
import type { CreateInput, UpdateInput } from "../../core/fields.ts";
import { idempotencyRecord } from "../../core/idempotency-record.ts";
import type { UnitOfWork } from "../../core/unit-of-work.ts";
import { isoTime } from "../../kernel/clock.ts";
import { errors, InnkeepError } from "../../kernel/errors.ts";
import type { JsonObject } from "../../kernel/json.ts";
import type { ChangeOptions } from "../../kernel/version.ts";
import type { Check } from "../../kv/store.ts";
import { type Admin, admin } from "./entity.ts";
import { assertAdminChange, assertMayAdminister, isEnabledSuperAdmin } from "./rules.ts";

export type StoredAdmin = Stored<typeof admin>;

/** Platform admins. */
export class AdminUserService extends EntityService<typeof admin> {
  constructor(work: UnitOfWork) {
    super(work, admin);
  }

  /** Throws `already_exists`, `forbidden`. */
  override async create(data: CreateInput<typeof admin>, options: ChangeOptions = {}): Promise<StoredAdmin> {
    const input = this.records.checkCreate(data);
    this.#assertPermissions(input);
    return await this.records.create(
      "admin.created",
      () => {
        const record = this.records.newRecord(input);
        this.#assertMay(null, record);
        return { record };
      },
      options,
      input as JsonObject,
    );
  }

  /** Applies a JSON merge patch. Null if there is no such admin. Throws `last_super_admin`, `forbidden`. */
  override async update(userId: string, updates: UpdateInput<typeof admin>, options: ChangeOptions = {}): Promise<StoredAdmin | null> {
    this.#assertPermissions(this.records.checkUpdate(updates));
    return await this.records.patch(userId, updates, options, async (record, before) => {
      this.#assertMay(before, record);
      return { record, checks: await this.#guard(before, record) };
    });
  }

  /**
   * Records that an admin signed in at the ISO instant `at`. Only an instant later than the recorded one is written, so
   * that repeated use of one token counts as one sign-in. Null if there is no such admin.
   */
  async recordLogin(userId: string, at: string): Promise<StoredAdmin | null> {
    return await this.records.change(userId, {}, "admin.signed_in", (before) => (
      { record: before.lastLoginAt !== undefined && at <= before.lastLoginAt ? before : { ...before, lastLoginAt: at } }
    ));
  }

  /** Returns whether the admin existed. Throws `last_super_admin`, `forbidden`. */
  async remove(userId: string, options: ChangeOptions = {}): Promise<boolean> {
    const removed = await this.records.remove(userId, options, "admin.deleted", async (before) => {
      this.#assertMay(before, null);
      return { checks: await this.#guard(before, null) };
    });
    return removed !== null;
  }

  override async delete(userId: string, options: ChangeOptions = {}): Promise<boolean> {
    return await this.remove(userId, options);
  }

  /** Throws `bootstrap_closed` if an enabled super_admin exists. */
  async assertBootstrapOpen(): Promise<void> {
    if ((await this.#enabledSuperAdmins()).length > 0) {
      throw new InnkeepError("bootstrap_closed", "An enabled super_admin already exists. Ask that administrator to create your account.");
    }
  }

  /**
   * Creates the first admin. Throws `bootstrap_closed` if an enabled super_admin exists. Concurrent calls create the
   * same short-lived lock record, so that only one succeeds. If the lock exists without such an admin, throws
   * `write_conflict` with the time when the lock expires.
   */
  async bootstrap(data: { readonly userId: string; readonly email: string; readonly name?: string }): Promise<StoredAdmin> {
    const input = this.records.checkCreate({ name: data.email, ...data, role: "super_admin", enabled: true });
    const locks = new Collection(idempotencyRecord, this.work.store);
    const decide = async (before: StoredAdmin | null) => {
      const now = this.work.now();
      const once = { callerHash: "bootstrap", keyHash: "first-admin", requestHash: "", result: null, createdAt: now };
      // The lock is read before the admins: an admin committed with a lock that is seen here is visible below.
      const [earlier] = await locks.getMany([locks.key(once)]);
      await this.assertBootstrapOpen();
      if (earlier) {
        const message = `Another bootstrap ran within the last minute. Try again at ${lockedUntil(earlier.createdAt)}.`;
        throw new InnkeepError("write_conflict", message);
      }
      const record: Admin = before ? { ...before, ...input, permissions: before.permissions } as Admin : this.records.newRecord(input);
      return {
        action: "admin.bootstrapped",
        record,
        checks: [{ key: locks.key(once), version: null }],
        mutations: [locks.set(once, { expiresAt: lockedUntil(now) })],
      };
    };
    const userId = String(input["userId"]);
    return (await this.records.put(userId, {}, decide)).record;
  }

  /** Throws `forbidden` if the caller lacks the rights. A context without scopes is the program itself, which may do anything. */
  #assertMay(before: Admin | null, after: Admin | null): void {
    const { actor, scopes } = this.work.context;
    if (scopes) assertMayAdminister({ userId: actor.id, scopes }, before, after, this.work.platform.scopes);
  }

  #assertPermissions({ permissions = [] }: { readonly permissions?: readonly string[] }): void {
    const { grants } = this.work.platform.scopes;
    const problems = permissions.flatMap((grant, i) =>
      grants.includes(grant) ? [] : [{ path: `/permissions/${i}`, message: `must be a scope, and ${grant} is not`, code: "unknown_scope" }]
    );
    if (problems.length > 0) throw errors.validation(problems);
  }

  /**
   * Checks the rule of the last enabled super_admin. Returns the check that another one is unchanged, so that of two
   * admins who demote each other only one commits.
   */
  async #guard(before: StoredAdmin, after: Admin | null): Promise<Check[]> {
    if (!isEnabledSuperAdmin(before) || isEnabledSuperAdmin(after)) return [];
    const others = (await this.#enabledSuperAdmins()).filter(({ userId }) => userId !== before.userId);
    assertAdminChange(before, after, others.length);
    return others.slice(0, 1).map((other) => ({ key: this.records.key(other), version: other.version }));
  }

  async #enabledSuperAdmins(): Promise<StoredAdmin[]> {
    const where = [{ field: "role", in: ["super_admin"] }, { field: "enabled", in: [true] }];
    return (await this.records.list({ where, limit: 100 })).records;
  }
}

/** When the lock of a bootstrap expires: one minute after it, as an ISO instant. */
function lockedUntil(bootstrappedAt: string): string {
  return isoTime(Date.parse(bootstrappedAt) + 60_000);
}
