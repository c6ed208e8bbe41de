import { addDays } from "../../core/periods.ts";
import { errors } from "../../kernel/errors.ts";
import type { AuditFilters } from "../audit/filters.ts";
import type { AuditExport } from "./entity.ts";

/** How long a file can be downloaded. */
const DOWNLOAD_DAYS = 7;

/** The exports of one tenant, or of the platform, that can wait or run at the same time. */
export const MAX_OPEN = 3;

export const MEDIA_TYPES: Readonly<Record<AuditExport["format"], string>> = { ndjson: "application/x-ndjson", csv: "text/csv" };

/** Whether the job still has to do something. */
export function isOpen({ status }: Pick<AuditExport, "status">): boolean {
  return status === "queued" || status === "running";
}

export function downloadEnd(now: string): string {
  return addDays(now, DOWNLOAD_DAYS);
}

/** The filters as the log names them. Those that are absent are left out. */
export function filtersOf(
  given: Pick<AuditExport, "resource" | "resourceId" | "actorId" | "actorEmail" | "action" | "from" | "to">,
): AuditFilters {
  const { resource, resourceId, actorId: userId, actorEmail: userEmail, action, from, to } = given;
  const filters = { resource, resourceId, userId, userEmail, action, from, to };
  return Object.fromEntries(Object.entries(filters).filter(([, value]) => value !== undefined));
}

/** The export without what only an open one has. Throws `invalid_transition` for one that has ended. */
export function ended<E extends AuditExport>(before: E, status: "cancelled" | "failed", now: string, error?: string): E {
  if (!isOpen(before)) throw errors.transition(before.status, status, [], "An export");
  const { run: _, fileId: __, expiresAt: ___, ...rest } = before;
  return { ...rest, status, completedAt: now, ...(error === undefined ? {} : { error }) } as unknown as E;
}

/** Percent of the entries. The last page of the file makes it 100. */
export function progressOf(written: number, total: number): number {
  return Math.min(99, Math.floor(100 * written / Math.max(total, 1)));
}
