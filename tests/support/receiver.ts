import { createServer, type IncomingMessage, type ServerResponse } from "node:http";
import { createServer as createSecureServer } from "node:https";
import type { AddressInfo, Socket } from "node:net";
import { setTimeout as sleep } from "node:timers/promises";
import type { Identity } from "./certificates.ts";

/** A request that arrived whole. */
export interface Received {
  readonly method: string;
  /** With the query. */
  readonly path: string;
  /** By lower-case name. */
  readonly headers: Readonly<Record<string, string>>;
  /** The bytes as they were sent. */
  readonly bytes: Uint8Array<ArrayBuffer>;
  readonly text: string;
}

/** A status, or a whole response. `delayMs` passes before it is sent. */
export interface Reply {
  readonly status?: number;
  readonly headers?: Readonly<Record<string, string>>;
  readonly body?: string | Uint8Array;
  readonly delayMs?: number;
}

/**
 * What a request gets: a response; `hang`: nothing, and the connection stays open; `close`: the connection is closed; `raw`: these
 * bytes, one each `everyMs` if that is given, and then the connection is closed unless `hold`.
 */
export type Answer =
  | number
  | Reply
  | "hang"
  | "close"
  | { readonly raw: string; readonly everyMs?: number; readonly hold?: boolean };
export type Script = Answer | ((request: Received) => Answer | Promise<Answer>);

/** A receiver of webhooks on this machine that does what a test tells it. */
export interface Receiver {
  /** Without a slash at its end. */
  readonly url: string;
  readonly port: number;
  readonly received: readonly Received[];
  /** Requests without a response, now and at most so far. */
  readonly inFlight: number;
  readonly maxInFlight: number;
  readonly connections: number;
  /** The scripts of the next requests, in order; the last one is for all that follow. Default: 200. */
  script(...scripts: readonly Script[]): void;
  /** Resolves when so many requests have arrived since the start, with all of them. */
  waitFor(count: number): Promise<readonly Received[]>;
  close(): Promise<void>;
}

export interface ReceiverOptions {
  /** Makes it an HTTPS server. */
  readonly identity?: Identity;
  /** The host in `url`. Default: 127.0.0.1, with `identity` localhost. */
  readonly host?: string;
}

export async function startReceiver({ identity, host = identity ? "localhost" : "127.0.0.1" }: ReceiverOptions = {}): Promise<Receiver> {
  const received: Received[] = [];
  const sockets = new Set<Socket>();
  const waiting = new Set<() => void>();
  let scripts: Script[] = [200];
  let connections = 0;
  let inFlight = 0;
  let maxInFlight = 0;
  const handle = async (request: IncomingMessage, response: ServerResponse): Promise<void> => {
    maxInFlight = Math.max(maxInFlight, ++inFlight);
    response.once("close", () => inFlight--);
    const one = await receive(request);
    received.push(one);
    for (const check of waiting) check();
    const script = (scripts.length > 1 ? scripts.shift() : scripts[0]) ?? 200;
    await respond(response, typeof script === "function" ? await script(one) : script);
  };
  const listener = (request: IncomingMessage, response: ServerResponse) =>
    void handle(request, response).catch((error: unknown) => response.destroy(error instanceof Error ? error : undefined));
  const server = identity ? createSecureServer({ ...identity }, listener) : createServer(listener);
  server.on("connection", (socket) => {
    connections++;
    sockets.add(socket);
    socket.on("error", () => socket.destroy());
    socket.on("close", () => sockets.delete(socket));
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const { port } = server.address() as AddressInfo;
  return {
    url: `${identity ? "https" : "http"}://${host}:${port}`,
    port,
    received,
    get inFlight() {
      return inFlight;
    },
    get maxInFlight() {
      return maxInFlight;
    },
    get connections() {
      return connections;
    },
    script: (...next) => void (scripts = [...next]),
    waitFor: (count) =>
      new Promise((resolve) => {
        const check = () => {
          if (received.length < count) return;
          waiting.delete(check);
          resolve(received);
        };
        waiting.add(check);
        check();
      }),
    close: async () => {
      for (const socket of sockets) socket.destroy();
      await new Promise((resolve) => server.close(resolve));
    },
  };
}

async function receive(request: IncomingMessage): Promise<Received> {
  const parts: Uint8Array[] = [];
  for await (const part of request) parts.push(part as Uint8Array);
  const bytes = Uint8Array.from(Buffer.concat(parts));
  const headers = Object.fromEntries(Object.entries(request.headers).map(([name, value]) => [name, [value ?? ""].flat().join(", ")]));
  return { method: request.method ?? "", path: request.url ?? "", headers, bytes, text: new TextDecoder().decode(bytes) };
}

async function respond(response: ServerResponse, answer: Answer): Promise<void> {
  if (answer === "hang") return;
  if (answer === "close") return void response.destroy();
  if (typeof answer === "object" && "raw" in answer) return await writeRaw(response, answer);
  const { status = 200, headers = {}, body = "", delayMs = 0 } = typeof answer === "number" ? { status: answer } : answer;
  if (delayMs > 0) await sleep(delayMs);
  response.writeHead(status, headers).end(body);
}

async function writeRaw({ socket }: ServerResponse, { raw, everyMs, hold }: Extract<Answer, { raw: string }>): Promise<void> {
  if (everyMs === undefined) socket?.write(raw, "latin1");
  else {
    for (const character of raw) {
      if (socket?.destroyed) return;
      socket?.write(character, "latin1");
      await sleep(everyMs);
    }
  }
  if (!hold) socket?.end();
}
