import type { Outbound, OutboundFault, OutboundRequest, OutboundResult, OutboundRules } from "../core/outbound.ts";
import { addressKind, isAddress, isLocalHost, urlFault } from "../core/outbound-url.ts";
import type { Connection, Network } from "../ports.ts";
import { MessageFault, readResponse, requestBytes } from "./http-message.ts";

export interface OutboundOptions {
  readonly rules: OutboundRules;
  readonly network: Network;
  /** See `untilStep`. Default: 250 ms, longer than a resolver usually takes. */
  readonly dnsStepMs?: number;
}

/** How many addresses of one host are tried. */
const MAX_ADDRESSES = 4;
const DNS_STEP_MS = 250;
const BY_VERSION = (a: string, b: string) => Number(a.includes(":")) - Number(b.includes(":"));

class CallFault extends Error {
  override readonly name = "CallFault";
  constructor(readonly code: OutboundFault, message: string) {
    super(message);
  }
}

/**
 * A client for HTTP/1.1 that connects only to public addresses. `fetch` resolves a name again after every check of it, so a name can
 * pass the check and lead to a private address. Here the address that is checked is the one that is connected to.
 */
export function createOutbound({ rules, network, dnsStepMs = DNS_STEP_MS }: OutboundOptions): Outbound {
  return {
    rules,
    async send(request) {
      const startedAt = performance.now();
      const durationMs = () => Math.round(performance.now() - startedAt);
      const call = new Call(request, rules, network, dnsStepMs);
      try {
        return { ok: true, ...await call.run(), durationMs: durationMs() };
      } catch (error) {
        if (!(error instanceof CallFault || error instanceof MessageFault)) throw error;
        return { ok: false, code: error.code, message: error.message, durationMs: durationMs() };
      }
    },
  };
}

type Response = Omit<Extract<OutboundResult, { ok: true }>, "ok" | "durationMs">;

/** One call. Every step ends when its time is over, and every connection that it made is closed. */
class Call {
  readonly #request: OutboundRequest;
  readonly #rules: OutboundRules;
  readonly #network: Network;
  readonly #over = new AbortController();
  readonly #endsAt: number;
  /** What the call waits for, in words that follow "within 15 s:". */
  #step = "its name was not resolved";

  constructor(request: OutboundRequest, rules: OutboundRules, network: Network, private readonly dnsStepMs: number) {
    this.#request = request;
    this.#rules = rules;
    this.#network = network;
    this.#endsAt = performance.now() + request.timeoutMs;
  }

  async run(): Promise<Response> {
    const { timeoutMs, signal } = this.#request;
    const timer = setTimeout(() => this.#end("timeout"), timeoutMs);
    const stop = () => this.#end("stopped");
    signal?.addEventListener("abort", stop, { once: true });
    if (signal?.aborted) stop();
    try {
      return await this.#exchange();
    } finally {
      clearTimeout(timer);
      signal?.removeEventListener("abort", stop);
      this.#end("done");
    }
  }

  #end(reason: "timeout" | "stopped" | "done"): void {
    const seconds = this.#request.timeoutMs / 1_000;
    this.#over.abort(
      reason === "timeout"
        ? new CallFault("timeout", `The receiver did not answer within ${seconds} s: ${this.#step}.`)
        : new CallFault("connection_closed", "The call was stopped before the response."),
    );
  }

  async #exchange(): Promise<Response> {
    const { method, headers, body, maxBodyBytes } = this.#request;
    const fault = await urlFault(this.#request.url, this.#rules);
    if (fault !== null) throw new CallFault("address_refused", `The URL ${fault}.`);
    const url = new URL(this.#request.url);
    const bytes = requestBytes({ method, url, headers, body });
    const addresses = await this.#addressesOf(url.hostname);
    const connection = await this.#connect(url, addresses);
    try {
      this.#step = "the request was not answered";
      // A receiver can respond before it has read the request, and closes the connection then.
      connection.write(bytes).catch(() => undefined);
      const read = () => this.#inTime(connection.read()).catch((error: unknown) => this.#closed(error));
      return await readResponse(read, { method, maxBodyBytes });
    } finally {
      connection.close();
    }
  }

  /** The addresses to connect to, each of which is allowed. */
  async #addressesOf(hostname: string): Promise<readonly string[]> {
    if (isAddress(hostname)) return [hostname.replace(/^\[|\]$/g, "")];
    // What the local rule allows is this machine, whatever a resolver says.
    if (this.#rules.local && await isLocalHost(hostname)) return ["127.0.0.1", "::1"];
    const startedAt = performance.now();
    const found = await this.#inTime(this.#network.resolve(hostname)).catch((error: unknown) => {
      const own = ownFault(error);
      if (own) throw own;
      // Like a name without an address.
      return [];
    });
    const kinds = await Promise.all(found.map(addressKind));
    if (found.length === 0 || !kinds.every((kind) => kind === "public")) {
      await this.#inTime(untilStep(performance.now() - startedAt, this.dnsStepMs));
      throw new CallFault("dns_failed", `The name ${hostname} has no public address.`);
    }
    return found.toSorted(BY_VERSION).slice(0, MAX_ADDRESSES);
  }

  /** Tries one address after the other. Each may take its share of the time that is left. */
  async #connect(url: URL, addresses: readonly string[]): Promise<Connection> {
    const port = Number(url.port) || (url.protocol === "https:" ? 443 : 80);
    this.#step = "the connection was not accepted";
    for (const [i, address] of addresses.entries()) {
      const shareMs = (this.#endsAt - performance.now()) / (addresses.length - i);
      const isLast = i === addresses.length - 1;
      const connection = await this.#connectWithin(address, port, isLast ? null : shareMs).catch((error: unknown) => {
        const own = ownFault(error);
        if (own) throw own;
        if (isLast) throw new CallFault("connect_failed", `${url.hostname} does not accept connections on port ${port}.`);
        return null;
      });
      if (connection) return url.protocol === "https:" ? await this.#secure(connection, url.hostname) : connection;
    }
    throw new CallFault("connect_failed", `${url.hostname} has no address.`);
  }

  async #connectWithin(address: string, port: number, shareMs: number | null): Promise<Connection> {
    const tooLate = new AbortController();
    const timer = shareMs === null ? undefined : setTimeout(() => tooLate.abort(), shareMs);
    try {
      const signal = AbortSignal.any([this.#over.signal, tooLate.signal]);
      return await this.#inTime(this.#network.connect(address, port, signal), signal);
    } finally {
      clearTimeout(timer);
    }
  }

  async #secure(connection: Connection, hostname: string): Promise<Connection> {
    this.#step = "the TLS handshake was not completed";
    try {
      return await this.#inTime(connection.secure(hostname.replace(/^\[|\]$/g, ""), this.#over.signal, ["http/1.1"]));
    } catch (error) {
      connection.close();
      throw ownFault(error) ?? new CallFault("tls_failed", `No TLS connection was made: ${tlsReason(error)}.`);
    }
  }

  #closed(error: unknown): never {
    throw ownFault(error) ?? new CallFault("connection_closed", "The receiver closed the connection before the end of its response.");
  }

  /** Rejects when the call is over, also if the operation never ends. */
  async #inTime<T>(operation: Promise<T>, signal = this.#over.signal): Promise<T> {
    let stop: (() => void) | undefined;
    const over = new Promise<never>((_, reject) => {
      stop = () => reject(signal.reason as Error);
      signal.addEventListener("abort", stop, { once: true });
      if (signal.aborted) stop();
    });
    try {
      return await Promise.race([operation, over]);
    } finally {
      if (stop) signal.removeEventListener("abort", stop);
    }
  }
}

/**
 * Waits for the rest of a step. The error of a name that does not exist and of one with a private address come after the same time,
 * and with the same message, so that nobody learns from them which names a private network has.
 */
async function untilStep(tookMs: number, stepMs: number): Promise<void> {
  await new Promise((resolve) => setTimeout(resolve, stepMs - tookMs % stepMs));
}

function ownFault(error: unknown): CallFault | null {
  return error instanceof CallFault ? error : null;
}

/** By OpenSSL's codes in Node, and the words of rustls in Deno. The message itself can quote the certificate. */
function tlsReason(error: unknown): string {
  const { code = "", message } = error instanceof Error ? error as Error & { readonly code?: string } : { message: String(error) };
  const text = `${code} ${message}`;
  if (/expired/i.test(text)) return "the receiver's certificate has expired";
  if (/NotValidYet|NOT_YET_VALID/i.test(text)) return "the receiver's certificate is not valid yet";
  if (/ALTNAME|NotValidForName|not valid for name/i.test(text)) return "the receiver's certificate is for another host";
  if (/SELF_SIGNED|UNABLE_TO|UnknownIssuer/i.test(text)) {
    return "the receiver's certificate is not issued by a trusted authority, or its chain is incomplete";
  }
  return "the handshake failed";
}
