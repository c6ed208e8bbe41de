import type { Context as HonoContext } from "hono";
import { isIdempotencyKey, MAX_KEY_CHARS } from "../../shared/core/keyed-call.ts";
import { isMutation, type Route } from "../../shared/core/route.ts";
import type { Context, Idempotency } from "../../shared/kernel/context.ts";
import { errors, InnkeepError } from "../../shared/kernel/errors.ts";
import type { JsonObject } from "../../shared/kernel/json.ts";

/** Returns the request's `Idempotency-Key` with the parsed parts that a repeat must match: route, path, tenant, query and body. */
export function readIdempotency(c: HonoContext, route: Route, request: Readonly<Record<string, unknown>>): Idempotency | undefined {
  const key = isMutation(route) ? c.req.header("idempotency-key") : undefined;
  if (key === undefined) return undefined;
  if (!isIdempotencyKey(key)) throw errors.parameter("Idempotency-Key", `must be 1 to ${MAX_KEY_CHARS} visible ASCII characters`);
  return { operation: `${route.method} ${route.path}`, key, request: request as JsonObject };
}

/** The calls with a key that run in this process. Of calls in different processes, one commit succeeds. */
export class RunningCalls {
  readonly #running = new Set<string>();

  /** Throws `idempotency_in_progress` while a call of the same caller with the same key runs. */
  async run<T>({ actor, tenantId, idempotency }: Context, work: () => Promise<T>): Promise<T> {
    if (!idempotency) return await work();
    const call = JSON.stringify([actor.type, actor.id, tenantId, idempotency.key]);
    if (this.#running.has(call)) {
      const message = "A request with this idempotency key is still running. Wait for it to end, then repeat yours.";
      throw new InnkeepError("idempotency_in_progress", message);
    }
    this.#running.add(call);
    try {
      return await work();
    } finally {
      this.#running.delete(call);
    }
  }
}
