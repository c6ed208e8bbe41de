import { auditEntry } from "../../core/audit-entry.ts";
import { shortTenantId, tenant } from "../tenants/entity.ts";
import { errors } from "../../kernel/errors.ts";
import type { JsonObject } from "../../kernel/json.ts";
import { Collection } from "../../core/collection.ts";
import type { Stored } from "../../core/collection.ts";
import type { Scope } from "../../kv/store.ts";
import { FileReply } from "../../core/reply.ts";
import { streamOf } from "../../core/stream.ts";
import { listPage } from "../../core/paging.ts";
import type { Page, Pagination } from "../../core/paging.ts";
import type { UnitOfWork } from "../../core/unit-of-work.ts";
import { dataFault } from "../audit-actions/data-schema.ts";
import { declarationOf, undeclared } from "../audit-actions/declared.ts";
import { type ChainPart, type ChainReport, type Recorded, verifyPart } from "./chain.ts";
import { checkpointsOf } from "./checkpoints.ts";
import { exportContent, exportOrder, exportPage } from "./export.ts";
import type { ExportedEntry } from "./exported.ts";
import { type AuditFilters, conditions, conditionsOf, readableBy } from "./filters.ts";
import { note, noteRead } from "./reading.ts";

export type { AuditFilters, ChainPart, ChainReport };

export type StoredAuditEntry = Stored<typeof auditEntry>;

export interface AuditLogOptions {
  readonly tenantId?: string;
  readonly changes?: { readonly before: JsonObject; readonly after: JsonObject };
  readonly data?: JsonObject;
}

/** Attempts at a part while the chain changes. */
const MAX_READS = 3;

export class AuditService {
  readonly #entries: Collection<typeof auditEntry>;

  constructor(private readonly work: UnitOfWork) {
    this.#entries = new Collection(auditEntry, work.store);
  }

  /** Newest first. With a tenant, its chain in the order of `seq`. Without, a platform caller gets the entries of all chains. */
  async list(tenantId?: string, pagination?: Pagination, filters: AuditFilters = {}): Promise<Page<StoredAuditEntry>> {
    const scope: Scope = this.#scope(tenantId) ?? "any";
    const field = scope === "any" ? "timestamp" : "seq";
    return await this.#shown(
      await listPage(this.#entries, { where: await conditions(this.work, filters), scope, pagination }, [{ field, direction: "desc" }]),
    );
  }

  /** All entries on one record, newest first. A platform caller gets those of every chain. */
  async getByResource(resource: string, resourceId: string, pagination?: Pagination): Promise<Page<StoredAuditEntry>> {
    const where = [...conditionsOf({ resource, resourceId }), ...readableBy(this.work.context.scopes)];
    const scope = this.work.context.tenantId ?? "any";
    return await this.#shown(await listPage(this.#entries, { where, scope, pagination }, [{ field: "timestamp", direction: "desc" }]));
  }

  /**
   * Writes an entry without changing a record, such as for an action in another system. Throws `validation_failed`, also for an action
   * that is not declared and for data that does not match the schema of a custom action.
   */
  async log(action: string, resource: string, resourceId: string, options: AuditLogOptions = {}): Promise<void> {
    const declared = await declarationOf(this.work, action);
    if (!declared) throw errors.validation([undeclared(action)]);
    const { actionVersion, dataSchema } = declared;
    const fault = dataFault(options.data, dataSchema);
    if (fault) throw errors.validation([fault]);
    const version = actionVersion === undefined ? {} : { actionVersion };
    const entity = (await this.work.platform.registry()).find(({ name }) => name === resource);
    const note = { action, ...version, resource, resourceId, entity, ...options };
    await this.work.transact(() => ({ commit: { audit: [note], result: {} }, resultOf: null }));
  }

  /**
   * Every entry as it is stored, read page by page, and in `opened` its personal data. With a tenant, or for a bound caller, one chain
   * in its order; else the entries of all chains, oldest first. They contain `seq`, `prevHash` and `hash`, so that a complete chain can
   * be verified elsewhere.
   */
  async *export(tenantId?: string, filters: AuditFilters = {}): AsyncGenerator<ExportedEntry, void, undefined> {
    const scope = this.#scope(tenantId) ?? "any";
    const query = { scope, where: await conditions(this.work, filters), orderBy: exportOrder(scope) };
    let cursor: string | null = null;
    do {
      const page = await exportPage(this.work, query, cursor);
      yield* page.entries;
      cursor = page.cursor;
    } while (cursor !== null);
  }

  /** The export as a file, in one of `EXPORT_TYPES`, which is sent while it is read. The export is audited before. */
  async download(tenantId: string | undefined, filters: AuditFilters, mediaType: string): Promise<FileReply> {
    const scope = this.#scope(tenantId);
    const where = await conditions(this.work, filters);
    await note(this.work, "audit.exported", scope, { format: mediaType, filters: Object.keys(filters) });
    const query = { scope: scope ?? "any", where, orderBy: exportOrder(scope ?? "any") } as const;
    const content = streamOf(exportContent(this.work, query, mediaType), this.work.platform.logger);
    return new FileReply(content, { name: mediaType === "text/csv" ? "audit.csv" : "audit.ndjson", type: mediaType });
  }

  /** Like `list`, for a person or program outside: that they read the log is audited, once an hour. */
  async read(tenantId?: string, pagination?: Pagination, filters: AuditFilters = {}): Promise<Page<StoredAuditEntry>> {
    await noteRead(this.work, this.#scope(tenantId), Object.keys(filters));
    return await this.list(tenantId, pagination, filters);
  }

  /** Like `verifyPart`, for a person or program outside: each verification is audited. */
  async checkPart(tenantId: string | undefined, part: Parameters<AuditService["verifyPart"]>[1]): Promise<ChainPart> {
    const report = await this.verifyPart(tenantId, part);
    await note(this.work, "audit.verified", this.#scope(tenantId) ?? "global", { ok: report.ok, checked: report.checked });
    return report;
  }

  /** Verifies one chain to its end and names the first invalid entry. Throws `not_found` for a tenant that never existed. */
  async verify(tenantId?: string): Promise<ChainReport> {
    let checked = 0;
    let cursor: string | undefined;
    for (;;) {
      const { nextCursor, ...part } = await this.verifyPart(tenantId, { cursor });
      checked += part.checked;
      if (nextCursor === undefined || part.firstBroken) return { ...part, checked };
      cursor = nextCursor;
    }
  }

  /** Verifies up to `limit` entries, from the beginning or from a cursor. Throws `not_found`, `invalid_cursor`, `invalid_parameter`. */
  async verifyPart(
    tenantId?: string,
    part: { readonly cursor?: string | undefined; readonly limit?: number | undefined } = {},
  ): Promise<ChainPart> {
    const scope = this.#scope(tenantId);
    const { store, platform: keys } = this.work;
    let recorded = await this.#recorded(scope);
    // A deleted tenant's chain is retained. A tenant without a chain and without a record never existed.
    if (!recorded.head && scope !== null && !await new Collection(tenant, store).get(scope)) throw errors.notFound("tenant", scope);
    for (let attempt = 1;; attempt++) {
      const report = await verifyPart(store, scope, recorded, { ...part, keys });
      if (report.ok || attempt === MAX_READS) return report;
      // Retention may have deleted entries, or written a checkpoint, between the reads.
      const now = await this.#recorded(scope);
      if (JSON.stringify(now) === JSON.stringify(recorded)) return report;
      recorded = now;
    }
  }

  async #recorded(scope: string | null): Promise<Recorded> {
    const [checkpoints, head] = await Promise.all([checkpointsOf(this.work.store, scope), this.work.store.chainHead(scope)]);
    return { head, checkpoints };
  }

  /** The short id of the requested tenant, else of the caller's own. Null: the platform. Throws `not_found` for another's. */
  #scope(tenantId: string | undefined): string | null {
    const own = this.work.context.tenantId;
    const asked = tenantId === undefined ? own : shortTenantId(tenantId);
    // The caller's store would return the caller's own entries for the other tenant.
    if (own !== null && asked !== own) throw errors.notFound("tenant", asked ?? "");
    return asked;
  }

  /** The page with the personal data of its entries. */
  async #shown(page: Page<StoredAuditEntry>): Promise<Page<StoredAuditEntry>> {
    const opened = await this.work.platform.personal.open(page.data as readonly JsonObject[]);
    return { ...page, data: opened.map(({ entry }) => entry as StoredAuditEntry) };
  }
}
