import { errors } from "../kernel/errors.ts";
import type { JsonObject } from "../kernel/json.ts";
import type { ChangeOptions } from "../kernel/version.ts";
import { type AnyEntity, familyOf, type RecordOf } from "../kv/define.ts";
import type { Stored } from "./collection.ts";
import type { CreateInput, PutInput, UpdateInput } from "./fields.ts";
import { type Filters, listPage, type Page, type Pagination, selectionOf, type Sort } from "./paging.ts";
import { type Put, Records } from "./records.ts";
import { isSegment } from "../kv/key.ts";
import type { CountCheck } from "../kv/store.ts";
import type { UnitOfWork } from "./unit-of-work.ts";

/** The operations of an entity. A service with further rules extends it and overrides operations. */
export abstract class EntityService<E extends AnyEntity> {
  protected readonly records: Records<E>;

  constructor(protected readonly work: UnitOfWork, protected readonly entity: E) {
    this.records = new Records(entity, work);
  }

  /** Filters by declared field, range, search and creation time. `sort` is like `-mrr,name`; the default is newest first. */
  async list(filters: Filters = {}, sort?: Sort, pagination?: Pagination): Promise<Page<Stored<E>>> {
    return await listPage(this.records, { ...selectionOf(this.entity, filters), sort, pagination });
  }

  /** By short id or full key; null when there is none. */
  async get(id: string): Promise<Stored<E> | null> {
    return await this.records.get(id);
  }

  /** Throws `validation_failed`, `already_exists`. */
  async create(data: CreateInput<E>, options: ChangeOptions = {}): Promise<Stored<E>> {
    const input = this.records.checkCreate(data);
    const decide = () => ({ record: this.records.fresh(input) });
    return await this.records.create(`${this.entity.name}.created`, decide, options, input as JsonObject);
  }

  /** Makes it, or replaces all of it that the caller may set. */
  async put(id: string, data: PutInput<E>, options: ChangeOptions = {}): Promise<Put<E>> {
    return await this.records.replace(id, data, options);
  }

  /** JSON merge patch; null when there is none. */
  async update(id: string, updates: UpdateInput<E>, options: ChangeOptions = {}): Promise<Stored<E> | null> {
    return await this.records.patch(id, updates, options);
  }

  /** Returns whether the record existed. */
  async delete(id: string, options: ChangeOptions = {}): Promise<boolean> {
    return await this.records.remove(id, options, `${this.entity.name}.deleted`) !== null;
  }

  /**
   * Deletes a record that nothing uses. `usedBy` names the records that use it: the commit counts them under the lock of its key.
   * What starts to use it checks its version, so that it comes before the count or fails after the deletion.
   */
  protected async deleteUnused(
    id: string,
    options: ChangeOptions,
    usedBy: (record: Stored<E>) => readonly Pick<CountCheck, "entity" | "where">[],
    assertUnused: (record: Stored<E>) => Promise<void>,
  ): Promise<boolean> {
    const deleted = await this.records.remove(id, options, `${this.entity.name}.deleted`, async (before) => {
      await assertUnused(before);
      return { checks: usedBy(before).map((users) => ({ ...users, key: this.records.keyOfRecord(before), atMost: 0 })) };
    });
    return deleted !== null;
  }
}

/** An entity whose key is `<family>:{tenantId}:{<id>}`. */
export type TenantEntity = AnyEntity & { readonly key: `${string}:{tenantId}:{${string}}` };

/** The same operations for entities below a tenant. The first argument is the tenant's id, short or as its full key. */
export abstract class TenantEntityService<E extends TenantEntity> {
  protected readonly records: Records<E>;

  constructor(protected readonly work: UnitOfWork, protected readonly entity: E) {
    this.records = new Records<E>(entity, work);
  }

  /** One tenant's, as `EntityService.list`. Throws `not_found` without the tenant. */
  async list(tenantId: string, filters: Filters = {}, sort?: Sort, pagination?: Pagination): Promise<Page<Stored<E>>> {
    const scope = await this.tenantOf(tenantId);
    return await listPage(this.records, { ...selectionOf(this.entity, filters), sort, pagination, scope });
  }

  async get(tenantId: string, id: string): Promise<Stored<E> | null> {
    return await this.records.get(this.keyOf(tenantId, id));
  }

  /** Throws `validation_failed`, `already_exists`, `not_found` without the tenant. */
  async create(tenantId: string, data: CreateInput<E>, options: ChangeOptions = {}): Promise<Stored<E>> {
    const input = this.records.checkCreate(data);
    const owner = await this.tenantOf(tenantId);
    const decide = (): { record: RecordOf<E> } => ({ record: this.records.fresh({ ...input, tenantId: owner }) });
    return await this.records.create(`${this.entity.name}.created`, decide, options, { ...input, tenantId: owner } as JsonObject);
  }

  /** Makes it, or replaces all of it that the caller may set. Throws `not_found` without the tenant. */
  async put(tenantId: string, id: string, data: PutInput<E>, options: ChangeOptions = {}): Promise<Put<E>> {
    return await this.records.replace(this.keyOf(await this.tenantOf(tenantId), id), data, options);
  }

  async update(tenantId: string, id: string, updates: UpdateInput<E>, options: ChangeOptions = {}): Promise<Stored<E> | null> {
    return await this.records.patch(this.keyOf(tenantId, id), updates, options);
  }

  async delete(tenantId: string, id: string, options: ChangeOptions = {}): Promise<boolean> {
    return await this.records.remove(this.keyOf(tenantId, id), options, `${this.entity.name}.deleted`) !== null;
  }

  /** The full key. The full key of another tenant's record becomes one that does not exist. */
  protected keyOf(tenantId: string, id: string): string {
    const prefix = `${familyOf(this.entity)}:${shortId(tenantId)}:`;
    return id.startsWith(prefix) ? id : `${prefix}${id}`;
  }

  /** The short id of an existing tenant. For a caller of another tenant or the platform it reads the tenant. Throws `not_found`. */
  protected async tenantOf(tenantId: string): Promise<string> {
    const id = shortId(tenantId);
    const isOwn = this.work.context.tenantId !== null;
    if (!isOwn && !(isSegment(id) && await this.work.read(`tenant:${id}`))) throw errors.notFound("tenant", id);
    return id;
  }
}

function shortId(tenantId: string): string {
  return tenantId.slice(tenantId.indexOf(":") + 1);
}
