import { Collection } from "../../core/collection.ts";
import type { UnitOfWork } from "../../core/unit-of-work.ts";
import type { Actor } from "../../kernel/context.ts";
import { newNonce } from "../../kernel/ids.ts";
import { keyOf } from "../../kv/define.ts";
import type { Mutation } from "../../kv/store.ts";
import { type CallOutcome, type ConnectorEvent, connectorEvent, MAX_LATENCY_MS, MAX_MESSAGE_BYTES } from "./entity.ts";

/** One call of another system, as its caller reports it. */
export interface LoggedCall {
  readonly target?: string | undefined;
  readonly outcome: CallOutcome;
  readonly statusCode?: number | undefined;
  readonly latencyMs?: number | undefined;
  /** The text that was sent. Only its length is stored, unless the integration's config has `logMessages: true`. */
  readonly message?: string | undefined;
  /** Default: the caller. */
  readonly actor?: Actor | undefined;
}

/** Whether the policy of an integration is to store the texts of messages. */
export function keepsMessages(integration: { readonly config: Readonly<Record<string, unknown>> } | null): boolean {
  return integration?.config["logMessages"] === true;
}

/** What is stored of a message. Not a hash: a short text, such as a code, could be guessed from it. */
export function redactedMessage(text: string, keepsText: boolean): NonNullable<ConnectorEvent["message"]> {
  const bytes = new TextEncoder().encode(text);
  return { bytes: bytes.length, ...(keepsText ? { text: cut(bytes) } : {}) };
}

/** The text up to the limit, without half a character at its end and without what the store cannot hold. */
function cut(bytes: Uint8Array): string {
  const text = new TextDecoder().decode(bytes.subarray(0, MAX_MESSAGE_BYTES), { stream: true });
  return text.replaceAll("\u0000", "\ufffd");
}

/** The entry of a call. Call it only within a decision. */
export function entryOf(
  work: UnitOfWork,
  tenantId: string,
  connector: string,
  action: string,
  { message, actor = work.context.actor, latencyMs, ...call }: Omit<LoggedCall, "message"> & {
    readonly message?: ConnectorEvent["message"];
  },
): { readonly record: ConnectorEvent; readonly mutation: Mutation } {
  const place = { tenantId, timestamp: work.now() };
  const record = {
    id: keyOf(connectorEvent, { ...place, nonce: newNonce() }),
    ...place,
    connector,
    action,
    ...Object.fromEntries(Object.entries(call).filter(([, value]) => value !== undefined)),
    actor,
    ...(actor.type === "user" || actor.type === "admin" ? { userId: actor.id } : {}),
    ...(latencyMs === undefined ? {} : { latencyMs: Math.min(MAX_LATENCY_MS, Math.max(0, latencyMs)) }),
    ...(message ? { message } : {}),
    requestId: work.context.requestId,
  } as ConnectorEvent;
  return { record, mutation: new Collection(connectorEvent, work.store).set(record) };
}
