import type { JsonObject } from "../kernel/json.ts";
import { isInnkeepError } from "../kernel/errors.ts";
import type { ChangeOptions } from "../kernel/version.ts";
import type { AnyEntity, RecordOf } from "../kv/define.ts";
import type { Stored } from "./collection.ts";
import type { CreateInput, UpdateInput } from "./fields.ts";
import { type Filters, listPage, type Page, type Pagination, selectionOf, type Sort } from "./paging.ts";
import { Records } from "./records.ts";
import type { UnitOfWork } from "./unit-of-work.ts";

/** The five operations of an entity. A service of more rules extends it and overrides what differs. */
export abstract class EntityService<E extends AnyEntity> {
  protected readonly records: Records<E>;

  constructor(protected readonly work: UnitOfWork, protected readonly entity: E) {
    this.records = new Records(entity, work);
  }

  /** Filters by declared field, range, search and creation time; `sort` as `-mrr,name`, newest first when left out. */
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

  /** JSON merge patch; null when there is none. */
  async update(id: string, updates: UpdateInput<E>, options: ChangeOptions = {}): Promise<Stored<E> | null> {
    return await this.records.patch(id, updates, options);
  }

  /** Whether there was one to delete. */
  async delete(id: string, options: ChangeOptions = {}): Promise<boolean> {
    return await this.records.remove(id, options, `${this.entity.name}.deleted`) !== null;
  }

  /**
   * Deletes what nothing uses. Whoever begins to use a record checks its version in that commit, so nobody does after the
   * deletion; for one that came between the look and the deletion the record is put back.
   */
  protected async deleteUnused(id: string, options: ChangeOptions, assertUnused: (record: Stored<E>) => Promise<void>): Promise<boolean> {
    const deleted = await this.records.remove(id, options, `${this.entity.name}.deleted`, async (before) => {
      await assertUnused(before);
      return {};
    });
    if (!deleted) return false;
    try {
      await assertUnused(deleted);
    } catch (error) {
      await this.#putBack(deleted);
      throw error;
    }
    return true;
  }

  /** Whoever made a record of this id again meanwhile was faster, and its users have theirs. */
  async #putBack({ version: _, ...record }: Stored<E>): Promise<void> {
    try {
      await this.records.create(`${this.entity.name}.restored`, () => ({ record: record as unknown as RecordOf<E> }));
    } catch (error) {
      if (!isInnkeepError(error, "already_exists")) throw error;
    }
  }
}
