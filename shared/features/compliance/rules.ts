import { addDays } from "../../core/periods.ts";
import { isoTime } from "../../kernel/clock.ts";
import { errors, InnkeepError } from "../../kernel/errors.ts";
import type { ComplianceRequest, RequestStatus } from "./entity.ts";

/** GDPR, Article 12(3): one month. */
const DUE_DAYS = 30;
/** How long an export can be downloaded. */
const DOWNLOAD_DAYS = 7;
/** Between the end of the grace period and a deletion that a legal hold prevents, the hold is looked at this often. */
const HOLD_MS = 3_600_000;
const DEFAULT_GRACE_DAYS = 7;
const DAY_MS = 86_400_000;

/** What people can set. The job makes the same steps. */
export const REQUEST_TRANSITIONS: Readonly<Record<RequestStatus, readonly RequestStatus[]>> = {
  pending: ["processing", "completed", "failed", "cancelled"],
  processing: ["completed", "failed", "cancelled"],
  completed: [],
  failed: ["pending"],
  cancelled: [],
};

/** A step of a request's state machine. */
export interface StatusStep {
  readonly progress?: number | undefined;
  readonly error?: string | undefined;
}

/** The request after the step. Throws `invalid_transition`, and `validation_failed` for a failure without a reason. */
export function moved<R extends ComplianceRequest>(request: R, to: RequestStatus, step: StatusStep, now: string): R {
  const { error: _, completedAt: _completedAt, ...rest } = request.status === "failed" && to === "pending"
    ? reopened(request, now)
    : request;
  if (request.status !== to) assertMove(request, to);
  if (to === "failed" && !step.error) throw refused("/error", "is required for a failed request", "required");
  if (to !== "failed" && step.error !== undefined) throw refused("/error", "is allowed only for a failed request", "not_applicable");
  const progress = to === "completed" ? 100 : to === "pending" ? 0 : step.progress ?? request.progress;
  const ended = isOpen({ status: to }) ? {} : { completedAt: request.status === to ? request.completedAt : now };
  return { ...rest, status: to, progress, ...ended, ...(to === "failed" ? { error: step.error } : {}) } as R;
}

/** A deletion that failed has its whole grace period again, and an export is made at once. */
function reopened<R extends ComplianceRequest>(request: R, now: string): R {
  const runAt = runFrom(request, now);
  return runAt === undefined ? request : { ...request, runAt };
}

/** Throws `invalid_transition` for a deletion that is to be completed by hand: its certificate would be untrue. */
export function assertByHand({ type, status: from }: ComplianceRequest, to: RequestStatus): void {
  if (type !== "deletion" || to !== "completed") return;
  const allowed = REQUEST_TRANSITIONS[from].filter((each) => each !== "completed");
  const text = "Only the program completes a deletion, after its grace period. Wait for it, or cancel the request.";
  throw new InnkeepError("invalid_transition", text, [], { from, to, allowed });
}

function assertMove({ status: from }: ComplianceRequest, to: RequestStatus): void {
  if (!REQUEST_TRANSITIONS[from].includes(to)) throw errors.transition(from, to, REQUEST_TRANSITIONS[from], "A request");
}

function refused(path: string, message: string, code: string): InnkeepError {
  return errors.validation([{ path, message, code }]);
}

/** Throws `validation_failed` for options that belong to another type of request. */
export function assertOptions({ type, format, dataTypes, gracePeriodDays }: Partial<ComplianceRequest>, known: readonly string[]): void {
  const stray = (path: string, value: unknown, of: string) => (
    value === undefined || type === of ? [] : [{ path, message: `is allowed only for a request of type ${of}`, code: "not_applicable" }]
  );
  const unknown = (dataTypes ?? []).flatMap((name, i) => (
    known.includes(name)
      ? []
      : [{ path: `/dataTypes/${i}`, message: `must be one of ${known.toSorted().join(", ")}`, code: "unknown_type" }]
  ));
  const faults = [
    ...stray("/format", format, "export"),
    ...stray("/dataTypes", dataTypes, "export"),
    ...stray("/gracePeriodDays", gracePeriodDays, "deletion"),
    ...unknown,
  ];
  if (faults.length > 0) throw errors.validation(faults);
}

/** Whether the request still waits for its answer. */
export function isOpen({ status }: Pick<ComplianceRequest, "status">): boolean {
  return status === "pending" || status === "processing";
}

/** From when on the program handles a new request; undefined for a request that people handle. */
export function runFrom({ type, gracePeriodDays = DEFAULT_GRACE_DAYS }: Pick<ComplianceRequest, "type" | "gracePeriodDays">, now: string) {
  if (type === "export") return now;
  return type === "deletion" ? addDays(now, gracePeriodDays) : undefined;
}

/** A deletion that a legal hold prevents. It is looked at again later. */
export function held<R extends ComplianceRequest>(request: R, nowMs: number): R {
  return { ...request, heldSince: request.heldSince ?? isoTime(nowMs), runAt: isoTime(nowMs + HOLD_MS) };
}

export function dueFrom(created: string): string {
  return addDays(created, DUE_DAYS);
}

export function downloadEnd(now: string): string {
  return addDays(now, DOWNLOAD_DAYS);
}

/** What follows from the present time: days until the answer is due, below 0 after that, and null for an answered request. */
export function dueness(request: Pick<ComplianceRequest, "status" | "dueAt">, nowMs: number) {
  if (!isOpen(request)) return { overdue: false, remainingDays: null };
  const leftMs = Date.parse(request.dueAt) - nowMs;
  return { overdue: leftMs < 0, remainingDays: Math.floor(leftMs / DAY_MS) };
}

/** The id of the archive. Throws `export_not_ready`, or `link_expired` after the end of the download. */
export function archiveIdOf({ type, status, fileId, expiresAt = "" }: ComplianceRequest, now: string): string {
  if (fileId === undefined) {
    const why = type === "export" ? `This export is ${status} and has no archive.` : `This request is a ${type}.`;
    throw new InnkeepError("export_not_ready", `${why} Only an export that the program has completed can be downloaded.`);
  }
  if (expiresAt <= now) throw new InnkeepError("link_expired", `The download ended at ${expiresAt}. Request a new export.`);
  return fileId;
}
