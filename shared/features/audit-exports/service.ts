import { Collection, type Stored } from "../../core/collection.ts";
import type { CreateInput } from "../../core/fields.ts";
import { type Filters, listPage, type Page, type Pagination, selectionOf, type Sort } from "../../core/paging.ts";
import { Records } from "../../core/records.ts";
import { notesOf } from "../../core/notes.ts";
import type { Decision, UnitOfWork } from "../../core/unit-of-work.ts";
import { errors, InnkeepError } from "../../kernel/errors.ts";
import type { JsonObject } from "../../kernel/json.ts";
import type { ChangeOptions } from "../../kernel/version.ts";
import { GLOBAL, keyOf } from "../../kv/define.ts";
import { linkTo } from "../files/links.ts";
import { shortTenantId, tenant } from "../tenants/entity.ts";
import { type AuditExport, auditExport, openAuditExports } from "./entity.ts";
import { ended, filtersOf, isOpen, MAX_OPEN } from "./rules.ts";

type StoredExport = Stored<typeof auditExport>;

/** An export without the state of its job. */
export type ExportView = { readonly [F in keyof StoredExport as F extends "run" ? never : F]: StoredExport[F] } & {
  /** The path of the signed link of a completed export, from the API's root. */
  readonly downloadUrl?: string;
};

/** Exports of the audit log to files. A caller that is bound to a tenant exports that tenant's entries only. */
export class AuditExportService {
  readonly #exports: Records<typeof auditExport>;

  constructor(private readonly work: UnitOfWork) {
    this.#exports = new Records(auditExport, work);
  }

  /** The exports of one tenant; without one, all that the caller may see. */
  async list(tenantId?: string, filters: Filters = {}, sort?: Sort, pagination?: Pagination): Promise<Page<ExportView>> {
    const scope = tenantId === undefined ? {} : { scope: shortTenantId(tenantId) };
    const page = await listPage(this.#exports, { ...selectionOf(auditExport, filters), sort, pagination, ...scope });
    return { ...page, data: await Promise.all(page.data.map((found) => this.#shown(found))) };
  }

  async get(id: string): Promise<ExportView | null> {
    const found = await this.#exports.get(id);
    return found && await this.#shown(found);
  }

  /**
   * Requests an export, which the job `audit-exports` writes. Throws `validation_failed`, `not_found` for another or no tenant, and
   * `too_many_exports`.
   */
  async create(data: CreateInput<typeof auditExport>, options: ChangeOptions = {}): Promise<ExportView> {
    const input = this.#exports.checkCreate(data);
    const { from, to } = data;
    if (from !== undefined && to !== undefined && to <= from) {
      throw errors.validation([{ path: "/to", message: "must be after /from", code: "invalid" }]);
    }
    const tenantId = this.#tenantIdOf(data.tenantId);
    const request = { ...input, ...(tenantId === undefined ? {} : { tenantId }) };
    const { idempotencyKey: key } = options;
    const { result, version } = await this.work.transact(
      () => this.#requested(request),
      key === undefined ? undefined : { operation: "audit-export.created", key, request: request as JsonObject },
    );
    return await this.#shown({ ...result, version } as StoredExport);
  }

  /** What was written by then cannot be downloaded, and expires. Null if there is none. Throws `invalid_transition`. */
  async cancel(id: string, options: ChangeOptions = {}): Promise<ExportView | null> {
    const changed = await this.#exports.change(id, options, "audit-export.cancelled", (before) => (
      { record: ended(before, "cancelled", this.work.now()) }
    ));
    return changed && await this.#shown(changed);
  }

  /** Of the body, else the caller's own. Throws `not_found` for another's. */
  #tenantIdOf(given: string | undefined): string | undefined {
    const own = this.work.context.tenantId;
    const tenantId = given === undefined ? own ?? undefined : shortTenantId(given);
    if (own !== null && tenantId !== own) throw errors.notFound("tenant", tenantId);
    return tenantId;
  }

  /** The new export. Its audit entry is like that of an export that is sent at once. */
  async #requested(request: Readonly<Record<string, unknown>> & { readonly tenantId?: string }): Promise<Decision<AuditExport>> {
    const tenantId = request.tenantId ?? null;
    const [open] = await Promise.all([this.#open(tenantId), this.#assertTenant(tenantId)]);
    const requestedBy = this.work.context.actor.id;
    const record = this.#exports.newRecord({ ...request, status: "queued", progress: 0, requestedBy });
    const { audit, event } = notesOf("audit-export.created", record.id, { entity: auditExport, before: null, after: record });
    const data = { format: record.format, filters: Object.keys(filtersOf(record)), exportId: record.id };
    const exported = { ...audit, action: "audit.exported", resource: "audit-log", resourceId: tenantId ?? "all", data };
    const after = { tenantId: tenantId ?? GLOBAL, exports: [...open.ids, record.id], updatedAt: this.work.now() };
    const changes = [{ entity: auditExport, before: null, after: record }, { entity: openAuditExports, before: open.before, after }];
    return { commit: { changes, audit: [exported], events: [event], result: record }, resultOf: tenantId };
  }

  /** A caller's own tenant was read with the caller. */
  async #assertTenant(tenantId: string | null): Promise<void> {
    if (tenantId === null || tenantId === this.work.context.tenantId) return;
    if (!await this.work.store.get(keyOf(tenant, { id: tenantId }))) throw errors.notFound("tenant", tenantId);
  }

  /** The exports that have not ended. They are read only if the limit may be reached. Throws `too_many_exports`. */
  async #open(
    tenantId: string | null,
  ): Promise<{ readonly before: Stored<typeof openAuditExports> | null; readonly ids: readonly string[] }> {
    const before = await new Collection(openAuditExports, this.work.store).get(keyOf(openAuditExports, { tenantId: tenantId ?? GLOBAL }));
    const { exports: listed } = before ?? { exports: [] };
    if (listed.length < MAX_OPEN) return { before, ids: listed };
    const found = await this.#exports.getMany(listed.map((id) => keyOf(auditExport, { id })));
    const ids = found.flatMap((one) => one && isOpen(one) ? [one.id] : []);
    if (ids.length < MAX_OPEN) return { before, ids };
    const owner = tenantId === null ? "The platform" : "The tenant";
    throw new InnkeepError(
      "too_many_exports",
      `${owner} has ${MAX_OPEN} exports that are not complete. Wait for one of them, or cancel it.`,
    );
  }

  async #shown({ run: _, ...found }: StoredExport): Promise<ExportView> {
    const { status, fileId, tenantId, expiresAt } = found;
    const isOffered = status === "completed" && fileId !== undefined && expiresAt !== undefined && expiresAt > this.work.now();
    const link = isOffered ? { downloadUrl: await linkTo(this.work.platform.secrets, { id: fileId, tenantId, expiresAt }) } : {};
    return { ...found, ...link } as ExportView;
  }
}
