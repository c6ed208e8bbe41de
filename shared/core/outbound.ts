/** A request to a system that is not ours: a webhook's receiver, or a provider. */
export interface OutboundRequest {
  readonly method: string;
  readonly url: string;
  /** Without `host`, `connection`, `content-length`, `transfer-encoding`, `accept-encoding`, `expect`, `upgrade`, which the client sets. */
  readonly headers: Readonly<Record<string, string>>;
  readonly body?: Uint8Array;
  /** From the first step to the last byte. */
  readonly timeoutMs: number;
  /** The response's body is cut here. */
  readonly maxBodyBytes: number;
  readonly signal?: AbortSignal;
}

/**
 * `address_refused`: the URL is not allowed. `dns_failed`: its name has no address, or one that is not public. Nothing was connected
 * in both cases. `connection_closed`: closed by the receiver, or by `signal`, before the response was complete. `invalid_response`:
 * what arrived is not HTTP/1.1.
 */
export const OUTBOUND_FAULTS = [
  "address_refused",
  "dns_failed",
  "connect_failed",
  "tls_failed",
  "timeout",
  "connection_closed",
  "invalid_response",
] as const;
export type OutboundFault = (typeof OUTBOUND_FAULTS)[number];

export interface OutboundResponse {
  readonly ok: true;
  readonly status: number;
  /** By lower-case name. Values of a repeated header are joined by `, `. */
  readonly headers: Readonly<Record<string, string>>;
  readonly body: Uint8Array<ArrayBuffer>;
  /** Whether the body was longer than `maxBodyBytes`. */
  readonly truncated: boolean;
  readonly durationMs: number;
}

export interface OutboundFailure {
  readonly ok: false;
  readonly code: OutboundFault;
  /** A sentence for the owner of the URL. Contains nothing that the receiver sent. */
  readonly message: string;
  readonly durationMs: number;
}

export type OutboundResult = OutboundResponse | OutboundFailure;

/** Which URLs may be called. */
export interface OutboundRules {
  readonly ports: readonly number[];
  /** Whether http and https to this machine's loopback addresses are allowed too, on any port. For development. */
  readonly local: boolean;
}

export const DEFAULT_OUTBOUND_RULES: OutboundRules = { ports: [443], local: false };

/** Calls systems that are not ours. Follows no redirects, keeps no cookies, decompresses nothing. */
export interface Outbound {
  /** For the check of a URL when it is saved, by `urlFault`. `send` checks again. */
  readonly rules: OutboundRules;
  /** Returns what happened. Throws only for a request that no receiver could get, such as a header with a line break. */
  send(request: OutboundRequest): Promise<OutboundResult>;
}

/** For programs that call nobody. */
export const NO_OUTBOUND: Outbound = {
  rules: DEFAULT_OUTBOUND_RULES,
  send: () =>
    Promise.resolve({ ok: false, code: "connect_failed", message: "This program makes no calls to other systems.", durationMs: 0 }),
};
