import { z } from "zod";
import { adminUser } from "./entity.ts";
import type { AdminUser } from "./entity.ts";
import { idempotencyRecord } from "../../core/idempotency-record.ts";
import { adminCreate, adminUpdate } from "../inputs.ts";
import type { AdminCreate, AdminUpdate } from "../inputs.ts";
import { instant } from "../../core/values.ts";
import { isoTime } from "../../kernel/clock.ts";
import { errors, InnkeepError } from "../../kernel/errors.ts";
import { assertMatch } from "../../kernel/version.ts";
import type { ChangeOptions } from "../../kernel/version.ts";
import { Collection, parseInput } from "../../core/collection.ts";
import type { Stored } from "../../core/collection.ts";
import type { Check, Store } from "../../kv/store.ts";
import { type Administrator, assertMayAdminister } from "./rules.ts";
import { assertAdminChange, isEnabledSuperAdmin } from "./roles.ts";
import { changedFields, mergePatch } from "../../core/merge-patch.ts";
import { GRANTS } from "../../core/scopes.ts";
import { listPage, selectionOf } from "../../core/paging.ts";
import type { Filters, Page, Pagination, Sort } from "../../core/paging.ts";
import type { Change, Decision, UnitOfWork } from "../../core/unit-of-work.ts";

export type StoredAdmin = Stored<typeof adminUser>;

/** A change, and in whose name: what `by` may not give or take is refused. Without it the program itself acts. */
export interface AdminChangeOptions extends ChangeOptions {
  readonly by?: Administrator;
}

const login = z.strictObject({ lastLoginAt: instant });

export class AdminUserService {
  readonly #admins: Collection<typeof adminUser>;

  constructor(private readonly store: Store, private readonly unitOfWork: UnitOfWork) {
    this.#admins = new Collection(adminUser, store);
  }

  async list(filters: Filters = {}, sort?: Sort, pagination?: Pagination): Promise<Page<StoredAdmin>> {
    const selection = selectionOf(adminUser, filters);
    return await listPage(this.#admins, { ...selection, sort, pagination }, [{ field: "createdAt", direction: "desc" }]);
  }

  async get(userId: string): Promise<StoredAdmin | null> {
    return await this.#admins.get(userId);
  }

  /** Throws `already_exists`. */
  async create(data: AdminCreate, { by }: Pick<AdminChangeOptions, "by"> = {}): Promise<StoredAdmin> {
    const input = parseInput(adminCreate, data);
    assertPermissions(input.permissions);
    const record = this.#fresh(input);
    if (by) assertMayAdminister(by, null, record);
    return await this.unitOfWork.transact<StoredAdmin>(() => Promise.resolve(this.#decide("admin.created", null, record, [])));
  }

  /** JSON merge patch; null when there is no such admin. Throws `last_super_admin`. */
  async update(userId: string, updates: AdminUpdate, options: AdminChangeOptions = {}): Promise<StoredAdmin | null> {
    const patch = parseInput(adminUpdate, updates);
    assertPermissions(patch.permissions);
    if (!await this.get(userId)) return null;
    return await this.unitOfWork.transact<StoredAdmin>(async () => {
      const before = await this.get(userId);
      if (!before) throw errors.notFound("admin", userId);
      assertMatch(before.version, options);
      const after = parseInput(adminUser.schema, mergePatch(before, patch));
      if (options.by) assertMayAdminister(options.by, before, after);
      const changed = changedFields(before, after);
      if (Object.keys({ ...changed.before, ...changed.after }).length === 0) return { done: before };
      return this.#decide("admin.updated", before, { ...after, updatedAt: this.unitOfWork.now() }, await this.#guard(before, after));
    });
  }

  /**
   * An admin has signed in at `at`, an ISO instant: only a later one than is known is written, so that a token
   * used a thousand times is one sign-in. Null when there is no such admin.
   */
  async recordLogin(userId: string, at: string): Promise<StoredAdmin | null> {
    const { lastLoginAt } = parseInput(login, { lastLoginAt: at });
    return await this.unitOfWork.transact<StoredAdmin | null>(async () => {
      const before = await this.get(userId);
      if (!before || (before.lastLoginAt !== undefined && lastLoginAt <= before.lastLoginAt)) return { done: before };
      return this.#decide("admin.signed_in", before, { ...before, lastLoginAt, updatedAt: this.unitOfWork.now() }, []);
    });
  }

  /** Whether there was an admin to remove. Throws `last_super_admin`. */
  async remove(userId: string, options: AdminChangeOptions = {}): Promise<boolean> {
    if (!await this.get(userId)) return false;
    const { removed } = await this.unitOfWork.transact<{ removed: boolean }>(async () => {
      const before = await this.get(userId);
      if (!before) return { done: { removed: false } };
      assertMatch(before.version, options);
      if (options.by) assertMayAdminister(options.by, before, null);
      const change: Change = { entity: adminUser, before, after: null };
      return {
        commit: {
          changes: [change],
          checks: await this.#guard(before, null),
          audit: [{ action: "admin.removed", resource: "admin", resourceId: before.userId, of: change }],
          events: [{ type: "admin.removed", subject: before.userId, data: { userId: before.userId } }],
          answer: () => ({ removed: true }),
        },
      };
    });
    return removed;
  }

  /** Throws `bootstrap_closed` as soon as an enabled super_admin exists. */
  async assertBootstrapOpen(): Promise<void> {
    if ((await this.#enabledSuperAdmins()).length > 0) throw new InnkeepError("bootstrap_closed", "an enabled super_admin exists");
  }

  /**
   * The first admin, once: throws `bootstrap_closed` as soon as an enabled super_admin exists. Racing
   * calls meet on one short-lived record, so that only one of them wins; while it lives and nobody is
   * enabled any more, `write_conflict` says when it ends.
   */
  async bootstrap(data: Pick<AdminCreate, "userId" | "email"> & { readonly name?: string }): Promise<StoredAdmin> {
    const input = parseInput(adminCreate, { name: data.email, ...data, role: "super_admin", enabled: true });
    const records = new Collection(idempotencyRecord, this.store);
    return await this.unitOfWork.transact<StoredAdmin>(async () => {
      const now = this.unitOfWork.now();
      const once = { callerHash: "bootstrap", keyHash: "first-admin", requestHash: "", result: null, createdAt: now };
      // Read first: the admin made with a record that is seen here is seen by what follows.
      const [earlier] = await records.getMany([records.key(once)]);
      await this.assertBootstrapOpen();
      if (earlier) {
        throw new InnkeepError(
          "write_conflict",
          `another bootstrap ran within the last minute; try again at ${lockedUntil(earlier.createdAt)}`,
        );
      }
      const before = await this.get(input.userId);
      const { commit } = this.#decide(
        "admin.bootstrapped",
        before,
        before ? { ...before, ...input, permissions: before.permissions, enabled: true, updatedAt: now } : this.#fresh(input),
        [
          { key: records.key(once), version: null },
        ],
      );
      return { commit: { ...commit, mutations: [records.set(once, { expiresAt: lockedUntil(now) })] } };
    });
  }

  #fresh({ permissions = [], enabled = true, ...input }: ReturnType<typeof adminCreate.parse>): AdminUser {
    const now = this.unitOfWork.now();
    return { ...input, permissions, enabled, createdAt: now, updatedAt: now };
  }

  /**
   * The rule of the last enabled super_admin, and what the decision rests on: another one, unchanged.
   * Two admins who demote each other check each other, and the store lets only one commit.
   */
  async #guard(before: StoredAdmin, after: AdminUser | null): Promise<Check[]> {
    if (!isEnabledSuperAdmin(before) || isEnabledSuperAdmin(after)) return [];
    const others = (await this.#enabledSuperAdmins()).filter(({ userId }) => userId !== before.userId);
    assertAdminChange(before, after, others.length);
    return others.slice(0, 1).map((other) => ({ key: this.#admins.key(other), version: other.version }));
  }

  async #enabledSuperAdmins(): Promise<StoredAdmin[]> {
    const where = [{ field: "role", in: ["super_admin"] }, { field: "enabled", in: [true] }];
    return (await this.#admins.list({ where, limit: 100 })).records;
  }

  #decide(
    action: string,
    before: StoredAdmin | null,
    after: AdminUser,
    checks: readonly Check[],
  ): Extract<Decision<StoredAdmin>, { commit: unknown }> {
    const change: Change = { entity: adminUser, before, after };
    const key = this.#admins.key(after);
    return {
      commit: {
        changes: [change],
        checks,
        audit: [{ action, resource: "admin", resourceId: after.userId, of: change }],
        events: [{ type: action, subject: after.userId, data: { userId: after.userId, role: after.role, enabled: after.enabled } }],
        refuse: (conflict) => before || conflict !== key ? undefined : new InnkeepError("already_exists", `admin ${after.userId} exists`),
        answer: ({ versions }) => ({ ...after, version: versions[key] ?? "" }),
      },
    };
  }
}

/** A minute after a bootstrap, ISO: until then its record keeps others out. */
function lockedUntil(bootstrappedAt: string): string {
  return isoTime(Date.parse(bootstrappedAt) + 60_000);
}

function assertPermissions(permissions: readonly string[] | undefined): void {
  const problems = (permissions ?? []).flatMap((grant, i) =>
    GRANTS.includes(grant) ? [] : [{ path: `/permissions/${i}`, message: `there is no scope ${grant}`, code: "unknown_scope" }]
  );
  if (problems.length > 0) throw errors.validation(problems);
}
