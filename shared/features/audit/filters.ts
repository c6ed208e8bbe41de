import { hashOfEmail } from "../../core/personal-data.ts";
import type { UnitOfWork } from "../../core/unit-of-work.ts";
import { errors } from "../../kernel/errors.ts";
import type { Condition } from "../../kv/store.ts";
import { withheldGroups } from "../events/patterns.ts";

export interface AuditFilters {
  readonly resource?: string;
  readonly resourceId?: string;
  /** An action, or a prefix that ends in `*`: `tenant.*`. */
  readonly action?: string;
  readonly userId?: string;
  readonly userEmail?: string;
  /** Instants: `from ≤ timestamp < to`. */
  readonly from?: string;
  readonly to?: string;
}

/** The conditions of the filters. An entry has the key of an email address instead of the address, which older ones have. */
export async function conditions({ context, platform: { personal } }: UnitOfWork, filters: AuditFilters): Promise<Condition[]> {
  const { userEmail, ...others } = filters;
  const readable = [...conditionsOf(others), ...readableBy(context.scopes)];
  if (!userEmail) return readable;
  const ids = await personal.idsWithEmail(await hashOfEmail(userEmail));
  return [...readable, { field: "userEmail", in: [userEmail, ...ids], boundBy: userEmail }];
}

/** Leaves out the entries on records that the caller must not read. Without scopes, the caller is the program. */
export function readableBy(scopes: ReadonlySet<string> | undefined): Condition[] {
  const withheld = withheldGroups(scopes);
  return withheld.length === 0 ? [] : [{ field: "resource", notIn: withheld }];
}

/** An empty text counts as absent. */
export function conditionsOf(filters: Omit<AuditFilters, "userEmail">): Condition[] {
  const { action, from, to, ...exact } = Object.fromEntries(Object.entries(filters).filter(([, value]) => value !== "")) as AuditFilters;
  const fields = Object.entries(exact).flatMap(([field, value]): Condition[] => value === undefined ? [] : [{ field, in: [value] }]);
  const time: Condition[] = from === undefined && to === undefined ? [] : [
    { field: "timestamp", ...(from === undefined ? {} : { from }), ...(to === undefined ? {} : { to }) },
  ];
  return [...fields, ...actionCondition(action), ...time];
}

function actionCondition(action: string | undefined): Condition[] {
  if (action === undefined || action === "*") return [];
  if (!action.includes("*")) return [{ field: "action", in: [action] }];
  if (!/^[a-z0-9._-]+\*$/.test(action)) throw errors.parameter("action", "may contain * only at the end, such as tenant.*");
  return [{ field: "action", prefix: action.slice(0, -1) }];
}
