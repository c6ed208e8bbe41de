import { createBackend, loadServices, type Services } from "../../../shared/container.ts";
import { DEFAULT_OUTBOUND_RULES, type Outbound, type OutboundFault, type OutboundRequest } from "../../../shared/core/outbound.ts";
import type { Context } from "../../../shared/kernel/context.ts";
import { silentLogger } from "../../../shared/kernel/logger.ts";
import type { Store } from "../../../shared/kv/store.ts";
import { ADMIN, KEYS, openTestContext } from "../../support/test-context.ts";

/** A response, or the fault instead of one. */
export type Scripted = OutboundFault | { readonly status: number; readonly body?: string; readonly headers?: Record<string, string> };

/** A network whose next responses the test chooses. It keeps the requests. */
export class ScriptedNetwork implements Outbound {
  readonly rules = DEFAULT_OUTBOUND_RULES;
  readonly requests: OutboundRequest[] = [];
  /** What happens while a request is under way. */
  during: () => Promise<unknown> = () => Promise.resolve();
  next: Scripted = { status: 200 };

  async send(request: OutboundRequest) {
    this.requests.push(request);
    await this.during();
    if (typeof this.next === "string") return { ok: false, code: this.next, message: "It failed.", durationMs: 7 } as const;
    const { status, body = "", headers = {} } = this.next;
    return { ok: true, status, headers, body: new TextEncoder().encode(body), truncated: false, durationMs: 7 } as const;
  }
}

/** A test context, and services that call the scripted network. */
export async function openIntegrations() {
  const context = await openTestContext();
  const network = new ScriptedNetwork();
  const servicesOf = await loadServices();
  const over = (store: Store, caller: Partial<Context> = {}): Services => {
    const backend = createBackend({ store, clock: context.clock, logger: silentLogger, ...KEYS, outbound: network });
    return servicesOf(backend.bind({ actor: ADMIN, tenantId: null, requestId: "req_test", clock: context.clock, ...caller }));
  };
  return { ...context, context, network, over, integrations: over(context.store).IntegrationService };
}

export const TOKEN = "pat-eu1-0123456789abcdef";
export const HUBSPOT = { credentials: { accessToken: TOKEN } };
