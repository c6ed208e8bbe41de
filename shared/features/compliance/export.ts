import { Collection, type Stored } from "../../core/collection.ts";
import { Records } from "../../core/records.ts";
import type { UnitOfWork } from "../../core/unit-of-work.ts";
import { InnkeepError, isInnkeepError, isOutage } from "../../kernel/errors.ts";
import type { AnyEntity } from "../../kv/define.ts";
import { appended, creationOf, type FileStep, MAX_APPEND_BYTES, newFile } from "../files/content.ts";
import { storedFile } from "../files/entity.ts";
import { exportReady } from "../notifications/export-ready.ts";
import { notify } from "../notifications/notify.ts";
import { archiveOf, manifestOf } from "./archive.ts";
import { complianceRequest, type ExportRun, exportRun } from "./entity.ts";
import { exportedRecord, MEDIA_TYPES, renderers } from "./formats.ts";
import { downloadEnd, isOpen, moved } from "./rules.ts";

type StoredRun = Stored<typeof exportRun>;
type StoredRequest = Stored<typeof complianceRequest>;
type Part = ExportRun["parts"][number];

const PAGE_RECORDS = 200;
/** So many records fit a commit, however long they are. */
const FEW_RECORDS = 4;
/** Of the progress, the share of the records. The rest is the archive. */
const RECORDS_PERCENT = 95;

/** The kinds of records that a tenant's export can contain. */
export async function exportedEntities({ platform }: UnitOfWork): Promise<AnyEntity[]> {
  return (await platform.registry()).filter(({ exported, owner }) => exported && owner !== "platform");
}

/** The steps of an export. Each is one commit, which checks what it was decided on, so that a repeated step does nothing twice. */
export class ExportSteps {
  readonly #requests: Records<typeof complianceRequest>;
  readonly #runs: Collection<typeof exportRun>;
  readonly #files: Collection<typeof storedFile>;

  constructor(private readonly work: UnitOfWork) {
    this.#requests = new Records(complianceRequest, work);
    this.#runs = new Collection(exportRun, work.store);
    this.#files = new Collection(storedFile, work.store);
  }

  /** Makes the next step of an open request, which was read just before. */
  async next(request: StoredRequest): Promise<void> {
    const run = await this.#runs.get(this.#runs.key({ tenantId: request.tenantId, requestId: request.id }));
    // Without its files, which have expired, the export begins again.
    if (!run || run.expiresAt <= this.work.now()) await this.#begin(request, run);
    else if (run.at < run.parts.length) await this.#write(request, run);
    else if (run.manifestId === undefined) await this.#createManifest(request, run);
    else await this.#finish(request, run, run.manifestId);
  }

  async #begin(request: StoredRequest, before: StoredRun | null): Promise<void> {
    const entities = (await exportedEntities(this.work)).filter(({ name }) => request.dataTypes?.includes(name) ?? true);
    await this.#requests.change(this.#requests.keyOfRecord(request), {}, "compliance-request.started", (now) => {
      if (!isOpen(now)) return { record: now };
      const startedAt = this.work.now();
      const after: ExportRun = {
        tenantId: request.tenantId,
        requestId: request.id,
        startedAt,
        expiresAt: downloadEnd(startedAt),
        at: 0,
        parts: entities.map(({ name }) => ({ type: name, records: 0 })),
      };
      return { record: moved(now, "processing", { progress: 0 }, startedAt), changes: [{ entity: exportRun, before, after }] };
    });
  }

  /** Writes the next page of the present part. A part that fails is left out, and the others go on. */
  async #write(request: StoredRequest, run: StoredRun): Promise<void> {
    const part = run.parts[run.at] as Part;
    try {
      const entity = (await exportedEntities(this.work)).find(({ name }) => name === part.type);
      if (!entity) throw new InnkeepError("internal", "This kind of records no longer exists.");
      if (part.fileId === undefined) await this.#createPart(request, run, part);
      else await this.#writePage(request, run, part, { entity, fileId: part.fileId });
    } catch (error) {
      if (isOutage(error) || isPassing(error)) throw error;
      const code = isInnkeepError(error) ? error.code : "internal";
      this.work.platform.logger.error("export_part_failed", { request: request.id, type: part.type, code });
      await this.#commit(request, run, () => ({ after: closed(run, { ...part, error: code }) }));
    }
  }

  async #createPart(request: StoredRequest, run: StoredRun, part: Part): Promise<void> {
    const { format = "ndjson" } = request;
    await this.#commit(request, run, () => {
      const step = this.#newFile(run, `${part.type}.${format}`, MEDIA_TYPES[format]);
      return { after: withPart(run, { ...part, fileId: step.file.id }), step };
    });
  }

  async #writePage(
    request: StoredRequest,
    run: StoredRun,
    part: Part,
    { entity, fileId }: { readonly entity: AnyEntity; readonly fileId: string },
  ): Promise<void> {
    const file = await this.#files.get(this.#files.key({ tenantId: run.tenantId, id: fileId }));
    if (!file) throw new InnkeepError("internal", "The file was deleted.");
    const render = async (limit: number) => {
      const cursor = run.cursor === undefined ? {} : { cursor: run.cursor };
      const page = await this.work.store.query({ entity, scope: run.tenantId, limit, ...cursor });
      const records = page.entries.map((entry) => exportedRecord(entity, this.work.store, entry));
      const place = { isFirst: run.cursor === undefined, isLast: page.cursor === null };
      const text = await renderers[request.format ?? "ndjson"](entity, records, place);
      return { page, content: new TextEncoder().encode(text) };
    };
    const many = await render(PAGE_RECORDS);
    const { page, content } = many.content.length <= MAX_APPEND_BYTES ? many : await render(FEW_RECORDS);
    const written = { ...part, records: part.records + page.entries.length };
    const after = page.cursor === null ? closed(run, written) : { ...withPart(run, written), cursor: page.cursor };
    const step = await appended(this.work, file, content, { isLast: page.cursor === null });
    await this.#commit(request, run, () => ({ after, step }));
  }

  async #createManifest(request: StoredRequest, run: StoredRun): Promise<void> {
    await this.#commit(request, run, () => {
      const step = this.#newFile(run, "manifest.json", "application/json");
      return { after: { ...run, manifestId: step.file.id }, step };
    });
  }

  /** The manifest, the archive, and the end of the request in one commit. */
  async #finish(request: StoredRequest, run: StoredRun, manifestId: string): Promise<void> {
    const { tenantId } = run;
    const done = run.parts.filter(({ error }) => error === undefined);
    const keys = [manifestId, ...done.map(({ fileId = "" }) => fileId)].map((id) => this.#files.key({ tenantId, id }));
    const [empty, ...files] = await this.#files.getMany(keys);
    const parts = files.filter((file) => file !== null);
    if (!empty || parts.length < done.length) throw new InnkeepError("internal", "A file of the export was deleted.");
    const asOf = { from: run.startedAt, to: this.work.now() };
    const text = manifestOf({ request, run, files: parts, entities: await exportedEntities(this.work), asOf });
    const manifest = await appended(this.work, empty, new TextEncoder().encode(text), { isLast: true });
    await this.#requests.change(this.#requests.keyOfRecord(request), {}, "compliance-request.completed", async (now) => {
      if (!isOpen(now)) return { record: now };
      const archive = creationOf(this.work, {
        ...newFile(this.work, { tenantId, name: `export-${request.id}.zip`, mediaType: "application/zip", expiresAt: run.expiresAt }),
        ...await archiveOf([manifest.file, ...parts]),
      });
      const shown = run.parts.map(({ type, records, error }) => ({ type, records, ...(error === undefined ? {} : { error }) }));
      const result = { asOf, parts: shown, fileId: archive.file.id, expiresAt: run.expiresAt };
      const told = await notify(this.work, [exportReady({ tenantId, id: request.id, expiresAt: run.expiresAt })]);
      return {
        record: { ...moved(now, "completed", {}, asOf.to), ...result },
        changes: [{ entity: exportRun, before: run, after: null }, ...told.changes],
        checks: [...manifest.checks, ...archive.checks],
        mutations: [...manifest.mutations, ...archive.mutations, ...told.mutations],
      };
    });
  }

  #newFile({ tenantId, expiresAt }: StoredRun, name: string, mediaType: string): FileStep {
    return creationOf(this.work, newFile(this.work, { tenantId, name, mediaType, expiresAt }));
  }

  /** One attempt: if anything has changed, the next step is decided on what is there then. The end of a part moves the progress. */
  async #commit(
    request: StoredRequest,
    before: StoredRun,
    decide: () => { readonly after: ExportRun; readonly step?: FileStep },
  ): Promise<void> {
    await this.work.transact(() => {
      const { after, step = { checks: [], mutations: [] } } = decide();
      const progress = Math.floor(RECORDS_PERCENT * after.at / after.parts.length);
      const changes = [
        { entity: exportRun, before, after },
        ...(after.at === before.at ? [] : [{
          entity: complianceRequest,
          before: request,
          after: { ...request, progress, updatedAt: this.work.now() },
        }]),
      ];
      const commit = { changes, checks: step.checks, mutations: step.mutations, audit: "none" as const, attempts: 1, result: {} };
      return { commit, resultOf: before.tenantId };
    });
  }
}

/** Whether the step can succeed later, without a change of its data. */
function isPassing(error: unknown): boolean {
  return (["write_conflict", "tenant_deleted", "not_found"] as const).some((code) => isInnkeepError(error, code));
}

function withPart(run: ExportRun, part: Part): ExportRun {
  return { ...run, parts: run.parts.map((each, i) => i === run.at ? part : each) };
}

/** The part is complete or given up, and the next one begins. */
function closed(run: ExportRun, part: Part): ExportRun {
  const { cursor: _, ...rest } = withPart(run, part);
  return { ...rest, at: run.at + 1 } as ExportRun;
}
