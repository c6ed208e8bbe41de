import type { Outbound, OutboundFault, OutboundResult } from "../../core/outbound.ts";
import type { JsonObject } from "../../kernel/json.ts";
import type { CallOutcome } from "../connector-events/entity.ts";
import type { Credentials, Provider, Sign } from "./provider.ts";

export const TEST_TIMEOUT_MS = 10_000;
/** Bytes of a response that are searched for signs. */
const MAX_BODY_BYTES = 16_384;

/** The result of a call. */
export interface Result {
  readonly outcome: CallOutcome;
  readonly statusCode?: number;
  readonly durationMs: number;
  /** Whether the provider said that the credentials will never work again. */
  readonly revoked: boolean;
}

const FAULTS: Readonly<Record<OutboundFault, CallOutcome>> = {
  address_refused: "unreachable",
  dns_failed: "unreachable",
  connect_failed: "unreachable",
  connection_closed: "unreachable",
  tls_failed: "tls_failed",
  timeout: "timeout",
  invalid_response: "unexpected",
};

const STATUSES: Readonly<Record<number, CallOutcome>> = {
  401: "invalid_credentials",
  403: "forbidden",
  404: "not_found",
  429: "rate_limited",
};

/** Tests a connection by the provider's own call. */
export async function testConnection(
  outbound: Outbound,
  provider: Provider,
  config: JsonObject,
  credentials: Credentials,
): Promise<Result> {
  const { body, ...request } = provider.test(config, credentials);
  const result = await outbound.send({
    ...request,
    ...(body === undefined ? {} : { body: new TextEncoder().encode(body) }),
    timeoutMs: TEST_TIMEOUT_MS,
    maxBodyBytes: MAX_BODY_BYTES,
  });
  return resultOf(result, provider.signs);
}

/** What a response means. */
export function resultOf(result: OutboundResult, signs: readonly Sign[] = []): Result {
  const { durationMs } = result;
  if (!result.ok) return { outcome: FAULTS[result.code], durationMs, revoked: false };
  const { status: statusCode, headers } = result;
  const text = new TextDecoder().decode(result.body);
  const sign = signs.find(({ status = statusCode, body }) => status === statusCode && body.test(text));
  const outcome = sign?.outcome ?? (statusCode >= 200 && statusCode < 300 ? "ok" : STATUSES[statusCode] ?? "unexpected");
  // RFC 6750, section 3.1.
  const says = outcome === "invalid_credentials" && /error_description="[^"]*revoked/i.test(headers["www-authenticate"] ?? "");
  return { outcome, statusCode, durationMs, revoked: sign?.revoked === true || says };
}
