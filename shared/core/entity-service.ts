import { errors } from "../kernel/errors.ts";
import type { JsonObject } from "../kernel/json.ts";
import type { ChangeOptions } from "../kernel/version.ts";
import { type AnyEntity, familyOf, type RecordOf } from "../kv/define.ts";
import type { Stored } from "./collection.ts";
import type { CreateInput, PutInput, UpdateInput } from "./fields.ts";
import { type Filters, listPage, type Page, type Pagination, selectionOf, type Sort } from "./paging.ts";
import { type Put, Records } from "./records.ts";
import { isSegment } from "../kv/key.ts";
import type { CountCheck, Mutation } from "../kv/store.ts";
import type { UnitOfWork } from "./unit-of-work.ts";

/** The operations of an entity. A service with further rules extends it and overrides operations. */
export abstract class EntityService<E extends AnyEntity> {
  protected readonly records: Records<E>;

  constructor(protected readonly work: UnitOfWork, protected readonly entity: E) {
    this.records = new Records(entity, work);
  }

  /** Filters by declared field, range, search and creation time. `sort` is a text like `-mrr,name`; the default is the entity's. */
  async list(filters: Filters = {}, sort?: Sort, pagination?: Pagination): Promise<Page<Stored<E>>> {
    return await listPage(this.records, { ...selectionOf(this.entity, filters), sort, pagination });
  }

  /** By short id or full key. Null if there is no such record. */
  async get(id: string): Promise<Stored<E> | null> {
    return await this.records.get(id);
  }

  /** Throws `validation_failed`, `already_exists`. */
  async create(data: CreateInput<E>, options: ChangeOptions = {}): Promise<Stored<E>> {
    const input = this.records.checkCreate(data);
    const decide = () => ({ record: this.records.newRecord(input) });
    return await this.records.create(`${this.entity.name}.created`, decide, options, input as JsonObject);
  }

  /** Creates the record, or replaces every field that the caller may set. Throws `invalid_key`, `validation_failed`, `forbidden`. */
  async put(id: string, data: PutInput<E>, options: ChangeOptions = {}): Promise<Put<E>> {
    return await this.records.replace(id, data, options);
  }

  /** Applies a JSON merge patch (RFC 7396). Null if there is no such record. */
  async update(id: string, updates: UpdateInput<E>, options: ChangeOptions = {}): Promise<Stored<E> | null> {
    return await this.records.patch(id, updates, options);
  }

  /** Returns whether the record existed. */
  async delete(id: string, options: ChangeOptions = {}): Promise<boolean> {
    return await this.records.remove(id, options, `${this.entity.name}.deleted`) !== null;
  }

  /**
   * Deletes a record that nothing uses. The commit counts the records that `usedBy` selects while it holds the lock of the key.
   * A commit that starts to use the record checks its version, so it is either counted or fails after the deletion.
   */
  protected async deleteUnused(
    id: string,
    options: ChangeOptions,
    usedBy: (record: Stored<E>) => readonly Pick<CountCheck, "entity" | "where">[],
    assertUnused: (record: Stored<E>) => Promise<void>,
    alsoDeleted: (record: Stored<E>) => readonly Mutation[] = () => [],
  ): Promise<boolean> {
    const deleted = await this.records.remove(id, options, `${this.entity.name}.deleted`, async (before) => {
      await assertUnused(before);
      const checks = usedBy(before).map((users) => ({ ...users, key: this.records.keyOfRecord(before), atMost: 0 }));
      return { checks, mutations: alsoDeleted(before) };
    });
    return deleted !== null;
  }
}

/** An entity whose key is `<family>:{tenantId}:{<id>}`. */
export type TenantEntity = AnyEntity & { readonly key: `${string}:{tenantId}:{${string}}` };

/**
 * Lists and reads the records of a tenant. A service extends it whose records change only in ways of their own. The first argument
 * is the tenant's id, short or as its full key.
 */
export abstract class TenantReadService<E extends TenantEntity> {
  protected readonly records: Records<E>;

  constructor(protected readonly work: UnitOfWork, protected readonly entity: E) {
    this.records = new Records<E>(entity, work);
  }

  /** Lists the records of one tenant, like `EntityService.list`. Throws `not_found` if the tenant does not exist. */
  async list(tenantId: string, filters: Filters = {}, sort?: Sort, pagination?: Pagination): Promise<Page<Stored<E>>> {
    const scope = await this.#scopeOf(tenantId);
    return await listPage(this.records, { ...selectionOf(this.entity, filters), sort, pagination, scope });
  }

  async get(tenantId: string, id: string): Promise<Stored<E> | null> {
    return await this.records.get(this.keyOf(tenantId, id));
  }

  /** The full key of a record of this tenant. Another tenant's full key results in a key without a record. */
  protected keyOf(tenantId: string, id: string): string {
    const prefix = `${familyOf(this.entity)}:${shortId(tenantId)}:`;
    return id.startsWith(prefix) ? id : `${prefix}${id}`;
  }

  /** The tenant's short id. Throws `not_found` if a platform caller's tenant does not exist; a bound caller's store refuses others. */
  protected async tenantOf(tenantId: string): Promise<string> {
    const id = shortId(tenantId);
    if (await this.#isTenant(id)) return id;
    throw errors.notFound("tenant", id);
  }

  /** The tenant of a list. Records that outlive their tenant stay listed. */
  async #scopeOf(tenantId: string): Promise<string> {
    const id = shortId(tenantId);
    const { entity, work: { store } } = this;
    if (await this.#isTenant(id)) return id;
    const mayOutlive = (entity.onTenantDelete ?? "delete") !== "delete";
    if (isSegment(id) && mayOutlive && await store.count({ entity, scope: id }) > 0) return id;
    throw errors.notFound("tenant", id);
  }

  async #isTenant(id: string): Promise<boolean> {
    return this.work.context.tenantId !== null || (isSegment(id) && await this.work.read(`tenant:${id}`) !== null);
  }
}

/** The same operations as `EntityService` for the records of a tenant. */
export abstract class TenantEntityService<E extends TenantEntity> extends TenantReadService<E> {
  /** Throws `validation_failed`, `already_exists`, and `not_found` if the tenant does not exist. */
  async create(tenantId: string, data: CreateInput<E>, options: ChangeOptions = {}): Promise<Stored<E>> {
    const input = this.records.checkCreate(data);
    const request = { ...input, tenantId: await this.tenantOf(tenantId) };
    const decide = (): { record: RecordOf<E> } => ({ record: this.records.newRecord(request) });
    return await this.records.create(`${this.entity.name}.created`, decide, options, request as JsonObject);
  }

  /** Creates the record, or replaces every field that the caller may set. Throws `not_found` if the tenant does not exist. */
  async put(tenantId: string, id: string, data: PutInput<E>, options: ChangeOptions = {}): Promise<Put<E>> {
    return await this.records.replace(this.keyOf(await this.tenantOf(tenantId), id), data, options);
  }

  async update(tenantId: string, id: string, updates: UpdateInput<E>, options: ChangeOptions = {}): Promise<Stored<E> | null> {
    return await this.records.patch(this.keyOf(tenantId, id), updates, options);
  }

  async delete(tenantId: string, id: string, options: ChangeOptions = {}): Promise<boolean> {
    return await this.records.remove(this.keyOf(tenantId, id), options, `${this.entity.name}.deleted`) !== null;
  }
}

function shortId(tenantId: string): string {
  return tenantId.slice(tenantId.indexOf(":") + 1);
}
