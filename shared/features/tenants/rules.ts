import { errors, InnkeepError } from "../../kernel/errors.ts";
import type { Tenant, TenantStatus } from "./entity.ts";

/** The transitions that a PATCH of the status can make, too. */
export const TENANT_TRANSITIONS: Readonly<Record<TenantStatus, readonly TenantStatus[]>> = {
  pending: ["trial", "active"],
  trial: ["active", "suspended", "cancelled"],
  active: ["suspended", "cancelled"],
  suspended: ["active", "cancelled"],
  cancelled: [],
};

/** The two transitions that only an action of their own makes, never a PATCH of the status. */
export interface ExplicitMove {
  /** `reactivate`: cancelled → active. */
  readonly reactivation?: boolean;
  /** `unsuspend` of a tenant that was on trial: suspended → trial. */
  readonly unsuspension?: boolean;
}

/** Whether the status changes, or is the same already. Throws `invalid_transition` with the allowed statuses. */
export function nextStatus(from: TenantStatus, to: TenantStatus, move: ExplicitMove = {}): "change" | "same" {
  if (from === to) return "same";
  const allowed = [...TENANT_TRANSITIONS[from]];
  if (move.reactivation && from === "cancelled") allowed.push("active");
  if (move.unsuspension && from === "suspended") allowed.push("trial");
  if (!allowed.includes(to)) throw errors.transition(from, to, allowed);
  return "change";
}

/** A requested step of a tenant's state machine. */
export interface StatusMove extends ExplicitMove {
  readonly to?: TenantStatus | undefined;
  readonly reason?: string | undefined;
}

/** The tenant after a step, with the times of the transition. If it has the status already, only the reason changes. */
export function moveStatus<T extends Tenant>(tenant: T, move: StatusMove, now: string): T {
  if (move.reactivation) assertReactivable(tenant.status);
  const to = move.unsuspension ? stateBefore(tenant) : move.to ?? tenant.status;
  const reason = move.reason?.trim();
  const step = nextStatus(tenant.status, to, move);
  if (reason !== undefined && to !== "suspended") throw strayReason();
  if (step === "same") return reason === undefined ? tenant : { ...tenant, suspensionReason: reason };
  const { suspendedFrom: _from, suspensionReason: _reason, ...rest } = tenant;
  switch (to) {
    case "suspended": {
      if (!reason) throw missingReason();
      const suspendedFrom = tenant.status === "trial" ? "trial" : "active";
      return { ...tenant, status: to, suspendedAt: now, suspensionReason: reason, suspendedFrom };
    }
    case "cancelled":
      return { ...rest, status: to, cancelledAt: now } as unknown as T;
    default: {
      const { cancelledAt: _cancelledAt, ...live } = rest;
      return { ...live, status: to, ...(tenant.status === "suspended" ? { unsuspendedAt: now } : {}) } as unknown as T;
    }
  }
}

/** The status that `unsuspend` restores; a live tenant's own. Throws `invalid_transition` for a pending or cancelled tenant. */
function stateBefore(tenant: Tenant): TenantStatus {
  if (tenant.status === "suspended") return tenant.suspendedFrom ?? "active";
  if (tenant.status === "trial" || tenant.status === "active") return tenant.status;
  throw refusedAction(tenant.status, "unsuspend only a suspended tenant");
}

/** Reactivation is the way back from `cancelled` alone; a tenant that is active already stays so. Throws `invalid_transition`. */
function assertReactivable(from: TenantStatus): void {
  if (from === "cancelled" || from === "active") return;
  throw refusedAction(from, "reactivate only a cancelled tenant", from === "suspended" ? " Unsuspend it instead." : "");
}

function refusedAction(from: TenantStatus, rule: string, advice = ""): InnkeepError {
  const details = { from, to: "active", allowed: [...TENANT_TRANSITIONS[from]] };
  return new InnkeepError("invalid_transition", `You can ${rule}, and this one is ${from}.${advice}`, [], details);
}

export function missingReason(): InnkeepError {
  return errors.validation([{ path: "/suspensionReason", message: "is required to suspend a tenant", code: "required" }]);
}

function strayReason(): InnkeepError {
  return errors.validation([{ path: "/suspensionReason", message: "is allowed only for a suspended tenant", code: "not_applicable" }]);
}

/** The status of a new tenant. Throws `validation_failed` for a suspension without a reason, or a reason without one. */
export function initialStatus(
  { status, suspensionReason }: { readonly status?: TenantStatus | undefined; readonly suspensionReason?: string | undefined },
  hasTrial: boolean,
): TenantStatus {
  const initial = status ?? (hasTrial ? "trial" : "active");
  if (initial === "suspended" && !suspensionReason) throw missingReason();
  if (initial !== "suspended" && suspensionReason !== undefined) throw strayReason();
  return initial;
}

/**
 * Whether nothing of the tenant may be deleted: a legal hold is active, or its metadata says so. A value such as `"yes"` was meant as
 * a hold: only false and null are none.
 */
export function isUnderLegalHold({ legalHolds = 0, metadata }: Pick<Tenant, "legalHolds" | "metadata">): boolean {
  const hold = metadata?.["legalHold"] ?? false;
  return legalHolds > 0 || hold !== false;
}

/** Throws `legal_hold` if the tenant is under legal hold. */
export function assertNoLegalHold(tenant: Tenant): void {
  if (!isUnderLegalHold(tenant)) return;
  throw new InnkeepError("legal_hold", `Tenant ${tenant.id} is under legal hold. Release the hold before you delete it.`);
}

/**
 * The members of a metadata patch that a tenant's own user may not set, as JSON Pointers: `metadata.legalHold`, so that a tenant
 * cannot lift its hold, and null, which would remove all metadata with the hold.
 */
export function forbiddenMetadata(metadata: unknown): string[] {
  if (metadata === null) return ["/metadata"];
  return typeof metadata === "object" && "legalHold" in metadata ? ["/metadata/legalHold"] : [];
}
