import { auditEntry } from "../../core/audit-entry.ts";
import { Collection, type Stored } from "../../core/collection.ts";
import { notesOf } from "../../core/notes.ts";
import { Records } from "../../core/records.ts";
import type { UnitOfWork } from "../../core/unit-of-work.ts";
import { isInnkeepError, isOutage } from "../../kernel/errors.ts";
import type { Condition, Scope } from "../../kv/store.ts";
import { conditions } from "../audit/filters.ts";
import { exportOrder, exportPage, exportText } from "../audit/export.ts";
import { appended, creationOf, type FileStep, MAX_APPEND_BYTES, newFile } from "../files/content.ts";
import { storedFile } from "../files/entity.ts";
import { exportReady } from "../notifications/export-ready.ts";
import { type Notice, notify } from "../notifications/notify.ts";
import { type AuditExport, auditExport } from "./entity.ts";
import { downloadEnd, ended, filtersOf, isOpen, MEDIA_TYPES, progressOf } from "./rules.ts";

type StoredExport = Stored<typeof auditExport>;
type Run = NonNullable<AuditExport["run"]>;

const PAGE_ENTRIES = 500;
/** A page that does not fit a commit is read again with so many times fewer entries. */
const FEWER = 8;
/** Errors after which a repeated step can succeed, without a change of the export. */
const PASSING = ["tenant_deleted", "not_found", "root_key_unavailable"] as const;

/** Writes exports, in steps of one commit each. A step that is repeated after a crash writes nothing twice. */
export class ExportSteps {
  readonly #exports: Records<typeof auditExport>;
  readonly #files: Collection<typeof storedFile>;

  constructor(private readonly work: UnitOfWork) {
    this.#exports = new Records(auditExport, work);
    this.#files = new Collection(storedFile, work.store);
  }

  /** At most so many steps of one export. An error that no repetition can resolve ends it as failed. */
  async run(id: string, steps: number): Promise<void> {
    try {
      for (let step = 0; step < steps; step++) {
        const found = await this.#exports.get(id);
        if (!found || !isOpen(found)) return;
        await this.#attempt(found);
      }
    } catch (error) {
      if (isOutage(error) || PASSING.some((code) => isInnkeepError(error, code))) throw error;
      await this.#fail(
        id,
        isInnkeepError(error) ? error.message : `The program failed (${error instanceof Error ? error.name : "unknown"}).`,
      );
    }
  }

  /** A step that lost against another writer is decided again, on what is there then. */
  async #attempt(found: StoredExport): Promise<void> {
    const { run, fileId = "", tenantId, expiresAt = "" } = found;
    // A file that has expired is written anew.
    const file = run && expiresAt > this.work.now() ? await this.#files.get(this.#files.key({ tenantId, id: fileId })) : null;
    try {
      if (run && file) await this.#write(found, run, file);
      else await this.#begin(found);
    } catch (error) {
      if (!isInnkeepError(error, "write_conflict")) throw error;
    }
  }

  async #begin(found: StoredExport): Promise<void> {
    const { tenantId, format } = found;
    const scope = scopeOf(found);
    const where = await this.#conditions(found, scope);
    const total = await this.work.store.count({ entity: auditEntry, scope, where });
    await this.#commit(found, () => {
      const expiresAt = downloadEnd(this.work.now());
      const step = creationOf(
        this.work,
        newFile(this.work, { tenantId, name: `audit.${format}`, mediaType: MEDIA_TYPES[format], expiresAt }),
      );
      const run = { where: [...where], total };
      return { after: { ...found, status: "running", progress: 0, entries: 0, run, fileId: step.file.id, expiresAt }, step };
    });
  }

  /** The filters, and an end: entries that are written meanwhile are not in the file. */
  async #conditions(found: StoredExport, scope: Scope): Promise<Condition[]> {
    const { to, ...filters } = filtersOf(found);
    const now = this.work.now();
    if (scope === "any") return await conditions(this.work, { ...filters, to: to !== undefined && to < now ? to : now });
    const head = await this.work.store.chainHead(scope);
    return [...await conditions(this.work, filtersOf(found)), { field: "seq", to: (head?.seq ?? 0) + 1 }];
  }

  async #write(found: StoredExport, run: Run, file: Stored<typeof storedFile>): Promise<void> {
    const { entries, content, cursor } = await this.#page(found, run);
    const isLast = cursor === null;
    const step = await appended(this.work, file, content, { isLast });
    const written = found.entries + entries;
    if (!isLast) {
      const after = { ...found, entries: written, progress: progressOf(written, run.total), run: { ...run, cursor } };
      return await this.#commit(found, () => ({ after, step }));
    }
    const { run: _, ...rest } = found;
    const { bytes, sha256 } = step.file;
    await this.#commit(found, () => {
      const completedAt = this.work.now();
      return { after: { ...rest, entries: written, status: "completed", progress: 100, bytes, sha256, completedAt } as AuditExport, step };
    }, "audit-export.completed");
  }

  /** The next page of the file, of as many entries as fit a commit. */
  async #page(found: StoredExport, { where, cursor }: Run) {
    const scope = scopeOf(found);
    const query = { scope, where: where as unknown as Condition[], orderBy: exportOrder(scope) };
    for (let limit = PAGE_ENTRIES;; limit = Math.ceil(limit / FEWER)) {
      const page = await exportPage(this.work, query, cursor ?? null, limit);
      const content = new TextEncoder().encode(await exportText(page.entries, MEDIA_TYPES[found.format], cursor === undefined));
      if (content.length <= MAX_APPEND_BYTES || limit === 1) return { entries: page.entries.length, content, cursor: page.cursor };
    }
  }

  /** One attempt: if anything has changed, the next step is decided on what is there then. */
  async #commit(
    before: StoredExport,
    decide: () => { readonly after: AuditExport; readonly step: FileStep },
    action?: string,
  ): Promise<void> {
    await this.work.transact(async () => {
      const { after, step: { checks, mutations } } = decide();
      const change = { entity: auditExport, before, after: { ...after, updatedAt: this.work.now() } };
      const notes = action === undefined ? null : notesOf(action, before.id, change);
      const noted = notes ? { audit: [notes.audit], events: [notes.event] } : { audit: "none" as const };
      const told = await notify(this.work, after.status === "completed" ? [readyNotice(after)] : []);
      const all = { changes: [change, ...told.changes], checks, mutations: [...mutations, ...told.mutations], ...noted };
      return { commit: { ...all, attempts: 1, result: {} }, resultOf: before.tenantId ?? null };
    });
  }

  async #fail(id: string, error: string): Promise<void> {
    await this.#exports.change(id, {}, "audit-export.failed", (before) => (
      { record: isOpen(before) ? ended(before, "failed", this.work.now(), error.slice(0, 1_000)) : before }
    ));
  }
}

function readyNotice({ tenantId, id, expiresAt = "" }: AuditExport): Notice {
  return exportReady({ tenantId: tenantId ?? null, id, expiresAt });
}

function scopeOf({ tenantId }: AuditExport): Scope {
  return tenantId ?? "any";
}
