import type { TenantStatus } from "./entity.ts";
import { errors } from "../../kernel/errors.ts";

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
