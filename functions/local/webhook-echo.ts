import { createServer, type IncomingMessage, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { z } from "zod";
import { signatureHeaders } from "../../shared/features/webhooks/signature.ts";
import { OWN_REQUEST_ID } from "./log-lines.ts";
import { Refusal } from "./refusal.ts";

const PATH = "/v1/webhooks";
/** How the webhook of the receiver is found again. */
const DESCRIPTION = "npm start -- --webhook-echo";
const MAX_AGE_SECONDS = 300;
const PLACES = 12;

const webhookSchema = z.object({ id: z.string(), enabled: z.boolean(), description: z.string().optional() });
const listSchema = z.object({ data: z.array(webhookSchema) });
const madeSchema = webhookSchema.extend({ secret: z.string() });
const eventSchema = z.object({ type: z.string(), subject: z.string(), tenantId: z.string().optional() });
const problemSchema = z.object({ detail: z.string() });

/** Calls a route of the API as an administrator. */
export type CallApi = (method: string, path: string, body?: object) => Promise<{ readonly status: number; readonly body: unknown }>;

export interface WebhookEcho {
  /** The URL of the receiver. */
  readonly url: string;
  /** Disables the webhook and ends the receiver. */
  close(): Promise<void>;
}

/** Calls of the local API with a token. */
export function apiOf(url: string, token: string): CallApi {
  return async (method, path, body) => {
    const response = await fetch(`${url}${path}`, {
      method,
      headers: { authorization: `Bearer ${token}`, "content-type": "application/json", "x-request-id": OWN_REQUEST_ID },
      ...(body === undefined ? {} : { body: JSON.stringify(body) }),
    });
    return { status: response.status, body: await response.json().catch(() => null) as unknown };
  };
}

/**
 * Starts a receiver of webhooks on this machine, and a webhook of the platform that sends it every event. Prints one line for each
 * request, with whether its signature is valid.
 */
export async function startWebhookEcho(call: CallApi, say: (line: string) => void): Promise<WebhookEcho> {
  let secret = "";
  const server = createServer((request, response) => {
    receive(request, response, secret).then(say, (error: unknown) => {
      response.destroy();
      say(`webhook: the request was not read: ${error instanceof Error ? error.message : String(error)}`);
    });
  });
  await new Promise<void>((resolve, reject) => void server.once("error", reject).listen(0, "127.0.0.1", resolve));
  const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}/`;
  const end = () => new Promise<void>((resolve) => void server.close(() => resolve()).closeAllConnections());
  try {
    const webhook = await subscribe(call, url);
    secret = webhook.secret;
    return {
      url,
      close: async () => {
        // Without a receiver, its deliveries would only fail.
        await asked(call, "PATCH", `${PATH}/${webhook.id}`, { enabled: false }).catch((error: Error) => say(error.message));
        await end();
      },
    };
  } catch (error) {
    await end();
    throw error;
  }
}

/** Makes the webhook, or directs that of an earlier start to this receiver, with a new secret. */
async function subscribe(call: CallApi, url: string): Promise<z.output<typeof madeSchema>> {
  const { data } = listSchema.parse(await asked(call, "GET", `${PATH}?limit=100`));
  const found = data.find(({ description }) => description === DESCRIPTION);
  if (!found) return madeSchema.parse(await asked(call, "POST", PATH, { url, events: ["*"], description: DESCRIPTION }));
  await asked(call, "PATCH", `${PATH}/${found.id}`, { url });
  if (!found.enabled) await asked(call, "POST", `${PATH}/${found.id}/enable`);
  return madeSchema.parse(await asked(call, "POST", `${PATH}/${found.id}/rotate-secret`, { overlapSeconds: 0 }));
}

async function asked(call: CallApi, method: string, path: string, body?: object): Promise<unknown> {
  const answer = await call(method, path, body);
  if (answer.status < 300) return answer.body;
  throw new Refusal(`the webhook of the echo: ${problemSchema.safeParse(answer.body).data?.detail ?? `status ${answer.status}`}`);
}

/** Responds, and returns the line about the request. */
async function receive(request: IncomingMessage, response: ServerResponse, secret: string): Promise<string> {
  const parts: Uint8Array[] = [];
  for await (const part of request) parts.push(part as Uint8Array);
  const body = Uint8Array.from(Buffer.concat(parts));
  const fault = await signatureFault(request.headers, body, secret);
  response.writeHead(fault === null ? 204 : 401).end();
  const event = eventSchema.safeParse(parsed(new TextDecoder().decode(body))).data;
  const what = event ? `${event.type} ${event.subject}${event.tenantId === undefined ? "" : ` of ${event.tenantId}`}` : "not an event";
  return `webhook ${String(request.headers["webhook-id"] ?? "without an id")}: ${what}; ${fault ?? "valid signature"}`;
}

async function signatureFault(headers: IncomingMessage["headers"], body: Uint8Array, secret: string): Promise<string | null> {
  const [id, timestamp, signatures] = ["webhook-id", "webhook-timestamp", "webhook-signature"].map((name) => String(headers[name] ?? ""));
  const timestampMs = /^\d{1,12}$/.test(timestamp ?? "") ? Number(timestamp) * 1_000 : NaN;
  if (!(Math.abs(Date.now() - timestampMs) <= MAX_AGE_SECONDS * 1_000)) return "INVALID timestamp";
  const { "webhook-signature": expected = "" } = await signatureHeaders({ id: id ?? "", timestampMs, body }, [secret]);
  if (signatures?.split(" ").includes(expected)) return null;
  return `INVALID signature: ${signatures?.slice(0, PLACES) || "none"}… instead of ${expected.slice(0, PLACES)}…`;
}

function parsed(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return null;
  }
}
