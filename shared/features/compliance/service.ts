import { Collection, type Stored } from "../../core/collection.ts";
import { EntityService, TenantReadService } from "../../core/entity-service.ts";
import type { CreateInput } from "../../core/fields.ts";
import { type Filters, listPage, type Page, type Pagination, selectionOf, type Sort } from "../../core/paging.ts";
import { Records } from "../../core/records.ts";
import type { FileReply } from "../../core/reply.ts";
import type { UnitOfWork } from "../../core/unit-of-work.ts";
import { errors, InnkeepError } from "../../kernel/errors.ts";
import type { JsonObject } from "../../kernel/json.ts";
import type { ChangeOptions } from "../../kernel/version.ts";
import { downloadOf } from "../files/download.ts";
import { storedFile } from "../files/entity.ts";
import { linkTo } from "../files/links.ts";
import { tenant } from "../tenants/entity.ts";
import { isUnderLegalHold } from "../tenants/rules.ts";
import { isSigned } from "./deletion.ts";
import { complianceRequest, deletionCertificate, type RequestStatus, type RequestType } from "./entity.ts";
import { exportedEntities } from "./export.ts";
import { Handler } from "./handler.ts";
import { groundsOf, recordsLeft } from "./inventory.ts";
import { archiveIdOf, assertByHand, assertOptions, dueFrom, dueness, moved, runFrom, type StatusStep } from "./rules.ts";

type StoredRequest = Stored<typeof complianceRequest>;

/** A request with what follows from the present time. */
export type RequestView = StoredRequest & {
  readonly overdue: boolean;
  readonly remainingDays: number | null;
  /** The path of the signed link, from the API's root. */
  readonly downloadUrl?: string;
};

/** What a deletion would do with one kind of records. */
export interface PreviewedRecords {
  readonly entity: string;
  readonly pattern: string;
  readonly deleted: number;
  readonly kept: number;
  /** On what ground records are kept. */
  readonly ground?: string;
}

export interface DeletionPreview {
  readonly tenantId: string;
  /** Whether a legal hold prevents the deletion now. */
  readonly legalHold: boolean;
  readonly records: PreviewedRecords[];
}

export interface CertificateCheck {
  readonly id: string;
  /** Whether the certificate is as it was signed. */
  readonly valid: boolean;
  /** Records of the tenant that should have been deleted; 0 if the deletion was complete. */
  readonly remaining: number;
  readonly found: readonly { readonly entity: string; readonly pattern: string; readonly count: number }[];
}

export type RequestOptions = ChangeOptions & Omit<CreateInput<typeof complianceRequest>, "type">;
export type StatusOptions = ChangeOptions & StatusStep;

/** Steps of one call of `process`. */
const MAX_STEPS = 1_000;

/** The requests under data protection law. */
export class ComplianceService extends TenantReadService<typeof complianceRequest> {
  constructor(work: UnitOfWork) {
    super(work, complianceRequest);
  }

  /** The requests of one tenant; without one, of all. Throws `not_found` if the tenant does not exist. */
  override async list(tenantId?: string, filters: Filters = {}, sort?: Sort, pagination?: Pagination): Promise<Page<RequestView>> {
    const page = tenantId === undefined
      ? await listPage(this.records, { ...selectionOf(complianceRequest, filters), sort, pagination })
      : await super.list(tenantId, filters, sort, pagination);
    return { ...page, data: await Promise.all(page.data.map((request) => this.#shown(request))) };
  }

  /** By its id or full key, or by its tenant and id. Null if there is no such request. */
  override async get(idOrTenantId: string, requestId?: string): Promise<RequestView | null> {
    const key = requestId === undefined ? await this.#keyOf(idOrTenantId) : this.keyOf(idOrTenantId, requestId);
    const found = key === null ? null : await this.records.get(key);
    return found && await this.#shown(found);
  }

  /** Throws `validation_failed`, and `not_found` if the tenant does not exist. The job `compliance` does an export. */
  async createRequest(
    tenantId: string,
    type: RequestType,
    requestedBy: string,
    requestedByEmail: string | undefined,
    options: RequestOptions = {},
  ): Promise<RequestView> {
    const { ifMatch, ifNoneMatch, idempotencyKey, ...given } = options;
    const input = this.records.checkCreate({ ...given, type } as CreateInput<typeof complianceRequest>);
    this.#assertMayAsk(type);
    assertOptions(input, await this.#exportable(options));
    const owner = await this.tenantOf(tenantId);
    const request = {
      ...input,
      ...(type === "export" ? { format: options.format ?? "ndjson" } : {}),
      tenantId: owner,
      status: "pending",
      progress: 0,
      requestedBy,
      requestedByEmail,
      ...(type === "deletion" && this.work.context.tenantId === null ? { byPlatform: true } : {}),
      dueAt: dueFrom(this.work.now()),
      runAt: runFrom({ type, gracePeriodDays: options.gracePeriodDays }, this.work.now()),
    };
    const decide = () => ({ record: this.records.newRecord(request) });
    const change = { ifMatch, ifNoneMatch, idempotencyKey };
    return await this.#shown(await this.records.create("compliance-request.created", decide, change, request as unknown as JsonObject));
  }

  /** Sets the status as people do who handle the request. Throws `invalid_transition`, `validation_failed`. Null if there is none. */
  async updateStatus(id: string, status: RequestStatus, options: StatusOptions = {}): Promise<RequestView | null> {
    const { progress, error, ...change } = options;
    return await this.#change(id, `compliance-request.${ACTIONS[status]}`, change, (before) => {
      assertByHand(before, status);
      return moved(before, status, { progress, error }, this.work.now());
    }, { status, ...(progress === undefined ? {} : { progress }), ...(error === undefined ? {} : { error }) });
  }

  /** Withdraws an open request. What an export has written by then is not downloadable, and expires. Throws `invalid_transition`, `forbidden`. */
  async cancel(id: string, options: ChangeOptions = {}): Promise<RequestView | null> {
    return await this.#change(id, "compliance-request.cancelled", options, (before) => {
      this.#assertMayCancel(before);
      return moved(before, "cancelled", {}, this.work.now());
    });
  }

  /** Does now what the job does with the request, as far as one call can. Null if there is no such request. */
  async process(id: string): Promise<RequestView | null> {
    const key = await this.#keyOf(id);
    if (key === null) return null;
    await new Handler(this.work).run(key, MAX_STEPS);
    return await this.get(key);
  }

  /** What the deletion of the tenant would remove and keep now, and on what ground. Nothing is written. Null if there is no tenant. */
  async previewDeletion(tenantId: string): Promise<DeletionPreview | null> {
    const owner = await new Records(tenant, this.work).get(tenantId);
    if (!owner) return null;
    const [left, grounds] = await Promise.all([recordsLeft(this.work, owner.id), groundsOf(this.work)]);
    const records = left.filter(({ after, kept }) => after + kept > 0).map(({ entity, after, kept }) => ({
      entity: entity.name,
      pattern: entity.key,
      deleted: after,
      kept,
      ...(kept > 0 ? { ground: grounds(entity) } : {}),
    }));
    return { tenantId: owner.id, legalHold: isUnderLegalHold(owner), records };
  }

  /** The archive of a completed export. The download is audited. Null if there is no such request. Throws `export_not_ready`. */
  async download(tenantId: string, requestId: string): Promise<FileReply | null> {
    const request = await this.records.get(this.keyOf(tenantId, requestId));
    if (!request) return null;
    const files = new Collection(storedFile, this.work.store);
    const id = archiveIdOf(request, this.work.now());
    const file = await files.get(files.key({ tenantId: request.tenantId, id }));
    if (!file) throw errors.notFound("file", id);
    return await downloadOf(this.work, file);
  }

  async #change(
    id: string,
    action: string,
    options: ChangeOptions,
    decide: (before: StoredRequest) => StoredRequest,
    request: JsonObject = {},
  ): Promise<RequestView | null> {
    const key = await this.#keyOf(id);
    const changed = key === null
      ? null
      : await this.records.change(key, options, action, (before) => ({ record: decide(before) }), request);
    return changed && await this.#shown(changed);
  }

  /** The full key of a request, whose short id does not name its tenant. */
  async #keyOf(id: string): Promise<string | null> {
    if (id.includes(":")) return id;
    const { records: [found] } = await this.records.list({ where: [{ field: "id", in: [id] }], limit: 1 });
    return found ? this.records.keyOfRecord(found) : null;
  }

  async #shown(request: StoredRequest): Promise<RequestView> {
    const { fileId, tenantId, expiresAt } = request;
    const isOffered = fileId !== undefined && expiresAt !== undefined && expiresAt > this.work.now();
    const link = isOffered ? { downloadUrl: await linkTo(this.work.platform.secrets, { id: fileId, tenantId, expiresAt }) } : {};
    return { ...request, ...dueness(request, this.work.context.clock.now()), ...link };
  }

  /** The kinds of records that an export can contain; not read for a request without them. */
  async #exportable({ dataTypes }: { readonly dataTypes?: readonly string[] | undefined }): Promise<string[]> {
    return dataTypes === undefined ? [] : (await exportedEntities(this.work)).map(({ name }) => name);
  }

  /** Throws `forbidden` for a deletion by a user or key of the tenant that is not its owner. */
  #assertMayAsk(type: RequestType): void {
    const { tenantId, role } = this.work.context;
    if (type !== "deletion" || tenantId === null || role === "owner") return;
    throw new InnkeepError("forbidden", "Only the tenant's owner, or the platform, can request its deletion.");
  }

  /** Who may request a deletion may cancel it, but a tenant's owner not that of the platform. Throws `forbidden`. */
  #assertMayCancel({ type, byPlatform }: StoredRequest): void {
    const { tenantId, role } = this.work.context;
    if (type !== "deletion" || tenantId === null || (role === "owner" && !byPlatform)) return;
    const who = byPlatform ? "the platform, which has requested it," : "the tenant's owner, or the platform,";
    throw new InnkeepError("forbidden", `Only ${who} can cancel this deletion.`);
  }
}

/** The certificates of deletions, for the platform. */
export class DeletionCertificateService extends EntityService<typeof deletionCertificate> {
  constructor(work: UnitOfWork) {
    super(work, deletionCertificate);
  }

  /** Checks the signature, and counts again what the store has of the deleted tenant. Null if there is no such certificate. */
  async verify(id: string): Promise<CertificateCheck | null> {
    const certificate = await this.get(id);
    if (!certificate) return null;
    const [valid, left] = await Promise.all([isSigned(this.work, certificate), recordsLeft(this.work, certificate.deletedTenant)]);
    const found = left.filter(({ after }) => after > 0).map(({ entity, after }) => ({
      entity: entity.name,
      pattern: entity.key,
      count: after,
    }));
    return { id: certificate.id, valid, remaining: found.reduce((sum, { count }) => sum + count, 0), found };
  }
}

const ACTIONS: Readonly<Record<RequestStatus, string>> = {
  pending: "reopened",
  processing: "started",
  completed: "completed",
  failed: "failed",
  cancelled: "cancelled",
};
