import { errors, InnkeepError } from "../../kernel/errors.ts";
import type { Tenant, TenantStatus } from "./entity.ts";

/** The moves anybody with the right may make by naming the state. */
export const TENANT_TRANSITIONS: Readonly<Record<TenantStatus, readonly TenantStatus[]>> = {
  pending: ["trial", "active"],
  trial: ["active", "suspended", "cancelled"],
  active: ["suspended", "cancelled"],
  suspended: ["active", "cancelled"],
  cancelled: [],
};

/** The two moves that only their own action makes, never a status in a PATCH. */
export interface ExplicitMove {
  /** `reactivate`: cancelled → active. */
  readonly reactivation?: boolean;
  /** `unsuspend` of a tenant that was on trial: suspended → trial. */
  readonly unsuspension?: boolean;
}

/** Whether the tenant changes state or has it already. Throws `invalid_transition` with the allowed list. */
export function nextStatus(from: TenantStatus, to: TenantStatus, move: ExplicitMove = {}): "change" | "same" {
  if (from === to) return "same";
  const allowed = [...TENANT_TRANSITIONS[from]];
  if (move.reactivation && from === "cancelled") allowed.push("active");
  if (move.unsuspension && from === "suspended") allowed.push("trial");
  if (!allowed.includes(to)) throw errors.transition(from, to, allowed);
  return "change";
}

/** One asked step of a tenant's state machine. */
export interface StatusMove extends ExplicitMove {
  readonly to?: TenantStatus | undefined;
  readonly reason?: string | undefined;
}

/** The state machine's step with the times it leaves; a state it already has changes nothing but the reason for it. */
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

/** The state that lifting a suspension restores. Throws `invalid_transition` where there is none to lift. */
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

/** The status of a new tenant and its reason. Throws `validation_failed` where they do not go together. */
export function initialStatus(
  { status, suspensionReason }: { readonly status?: TenantStatus | undefined; readonly suspensionReason?: string | undefined },
  hasTrial: boolean,
): TenantStatus {
  const initial = status ?? (hasTrial ? "trial" : "active");
  if (initial === "suspended" && !suspensionReason) throw missingReason();
  if (initial !== "suspended" && suspensionReason !== undefined) throw strayReason();
  return initial;
}

/** Throws `legal_hold`. */
export function assertNoLegalHold(tenant: Tenant): void {
  if (tenant.metadata?.["legalHold"] !== true) return;
  throw new InnkeepError("legal_hold", `Tenant ${tenant.id} is under legal hold. Lift the hold before you delete it.`);
}

/** `metadata.legalHold` is the platform's: a tenant cannot lift the hold it is under. Null would drop all metadata, and the hold with it. */
export function heldMetadata(metadata: unknown): string[] {
  if (metadata === null) return ["/metadata"];
  return typeof metadata === "object" && "legalHold" in metadata ? ["/metadata/legalHold"] : [];
}
