import { declaredActionOf } from "../../core/actions.ts";
import { Collection } from "../../core/collection.ts";
import type { UnitOfWork } from "../../core/unit-of-work.ts";
import type { FieldError } from "../../kernel/errors.ts";
import type { JsonObject } from "../../kernel/json.ts";
import { isSegment } from "../../kv/key.ts";
import { type AuditAction, auditAction, CUSTOM_PREFIX } from "./entity.ts";

/** What an entry needs of the declaration of its action. */
export interface Declaration {
  /** Absent for an action of the program. */
  readonly actionVersion?: number;
  readonly dataSchema?: JsonObject | undefined;
}

/** The declared ones of these custom actions, by name. */
export async function customActions(work: UnitOfWork, actions: readonly string[]): Promise<ReadonlyMap<string, AuditAction>> {
  const collection = new Collection(auditAction, work.store);
  const asked = [...new Set(actions)].filter((action) => action.startsWith(CUSTOM_PREFIX) && isSegment(action));
  const found = await collection.getMany(asked.map((id) => collection.key({ id })));
  return new Map(found.flatMap((one) => one ? [[one.id, one]] : []));
}

/** The declaration of an action of the program, or of a custom action; null if there is none. */
export async function declarationOf(work: UnitOfWork, action: string): Promise<Declaration | null> {
  if (action.startsWith(CUSTOM_PREFIX)) return declarationIn((await customActions(work, [action])).get(action));
  const { actions, registry } = work.platform;
  const declared = declaredActionOf(action, actions, await registry());
  return declared ? { dataSchema: declared.dataSchema } : null;
}

export function declarationIn(custom: AuditAction | undefined): Declaration | null {
  return custom ? { actionVersion: custom.actionVersion, dataSchema: custom.dataSchema as JsonObject | undefined } : null;
}

export function undeclared(action: string): FieldError {
  const message = `${JSON.stringify(action.slice(0, 100))} is not a declared action. GET /v1/audit/actions lists those of the program; ` +
    "a platform admin declares others at /v1/audit/custom-actions.";
  return { path: "/action", message, code: "undeclared_action" };
}
