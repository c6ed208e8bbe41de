import type { OutboundResult } from "../../core/outbound.ts";
import { REDACTED } from "../../core/redaction.ts";
import type { UnitOfWork } from "../../core/unit-of-work.ts";
import { isoTime } from "../../kernel/clock.ts";
import { type EventView, eventView, type NumberedEvent, thinView } from "../events/view.ts";
import { RESPONSE_BYTES, type Webhook } from "./entity.ts";
import { type Attempted, outcomeOf, retryAfterMs } from "./schedule.ts";
import type { Signing } from "./secret.ts";
import { signatureHeaders } from "./signature.ts";

/** From the first step of a request to the last byte of its response. */
export const ATTEMPT_TIMEOUT_MS = 15_000;
/** A shorter value of a header is no secret, and would hide ordinary words. */
const MIN_SECRET_CHARS = 6;
const USER_AGENT = "Innkeep-Webhooks/1";

/** What is sent. `id` becomes `webhook-id`. */
export interface Message {
  readonly id: string;
  readonly payload: EventView;
}

/** An event as the webhook gets it. */
export function messageOf({ payload }: Pick<Webhook, "payload">, event: NumberedEvent): Message {
  return { id: event.id, payload: payload === "thin" ? thinView(event) : eventView(event) };
}

/** Sends a message once. The bytes that are signed are the bytes that are sent. Redirects are not followed. */
export async function attempt(
  { platform, context }: UnitOfWork,
  { url }: Pick<Webhook, "url">,
  { secrets, headers }: Signing,
  { id, payload }: Message,
): Promise<Attempted> {
  const timestampMs = context.clock.now();
  const body = new TextEncoder().encode(JSON.stringify(payload));
  const result = await platform.outbound.send({
    method: "POST",
    url,
    headers: {
      ...headers,
      "content-type": "application/json",
      "user-agent": USER_AGENT,
      ...await signatureHeaders({ id, timestampMs, body }, secrets),
    },
    body,
    timeoutMs: ATTEMPT_TIMEOUT_MS,
    maxBodyBytes: RESPONSE_BYTES,
  });
  const ended = { at: isoTime(timestampMs), durationMs: Math.round(result.durationMs) };
  if (!result.ok) return { ...ended, outcome: "unreachable", error: `${result.code}: ${result.message}` };
  return { ...ended, ...ofResponse(result, valuesOf(headers), context.clock.now()) };
}

function ofResponse(
  { status, headers, body }: Extract<OutboundResult, { ok: true }>,
  sent: readonly string[],
  nowMs: number,
): Pick<Attempted, "outcome" | "statusCode" | "error" | "responseBody" | "retryAfterMs"> {
  const outcome = outcomeOf(status);
  const wanted = outcome === "success" ? undefined : retryAfterMs(headers["retry-after"], nowMs);
  return {
    outcome,
    statusCode: status,
    responseBody: withoutValues(bodyText(body), sent),
    ...(outcome === "success" ? {} : { error: faultOf(status) }),
    ...(wanted === undefined ? {} : { retryAfterMs: wanted }),
  };
}

/** The values of the headers, and what follows a scheme such as `Bearer`, which a receiver may send back alone. */
function valuesOf(headers: Signing["headers"]): string[] {
  return Object.values(headers).flatMap((value) => [value, value.slice(value.indexOf(" ") + 1)]);
}

function faultOf(status: number): string {
  if (status === 410) return "The receiver responded with status 410, so the webhook was disabled.";
  if (status >= 300 && status < 400) return `The receiver responded with status ${status}. Redirects are not followed.`;
  return `The receiver responded with status ${status}.`;
}

/**
 * The text without the values of the additional headers, which a receiver may send back. A value at the end may have been cut with
 * the body.
 */
export function withoutValues(text: string, values: readonly string[]): string {
  let rest = text;
  for (const value of values.toSorted((a, b) => b.length - a.length).filter(({ length }) => length >= MIN_SECRET_CHARS)) {
    for (const form of [value, JSON.stringify(value).slice(1, -1)]) {
      rest = rest.replaceAll(form, REDACTED);
      let cut = form.length - 1;
      while (cut >= MIN_SECRET_CHARS && !rest.endsWith(form.slice(0, cut))) cut--;
      if (cut >= MIN_SECRET_CHARS) rest = `${rest.slice(0, -cut)}${REDACTED}`;
    }
  }
  return rest.slice(0, RESPONSE_BYTES);
}

/** The body as text that can be stored and shown: binary is replaced by its size. A character that was cut is left out. */
export function bodyText(body: Uint8Array): string {
  try {
    const text = new TextDecoder("utf-8", { fatal: true }).decode(body, { stream: true });
    // Control characters could not be stored (U+0000), or would change what a terminal or a page shows, as those of direction do.
    // deno-lint-ignore no-control-regex
    return text.replace(/[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\u200e\u200f\u202a-\u202e\u2066-\u2069]/g, "\ufffd");
  } catch {
    // The decoder throws a TypeError for what is not UTF-8.
    return `(binary, ${body.length} bytes)`;
  }
}
