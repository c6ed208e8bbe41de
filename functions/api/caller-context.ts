import type { Context as HonoContext } from "hono";
import type { Clock } from "../../shared/kernel/clock.ts";
import type { Context, Idempotency } from "../../shared/kernel/context.ts";
import type { Caller } from "../../shared/core/caller.ts";
import type { AppEnv } from "./middleware/request-context.ts";

const ADDRESS = /^[0-9a-fA-F:.]{2,45}$/;

/** The context of the caller's services. A tenant's user or key is bound to that tenant, which the database enforces as well. */
export function callerContext(c: HonoContext<AppEnv>, caller: Caller, clock: Clock, idempotency?: Idempotency): Context {
  // Each proxy appends the address it received the request from. The caller may have written everything to its left.
  const ipAddress = c.req.header("x-forwarded-for")?.split(",").at(-1)?.trim();
  const userAgent = c.req.header("user-agent")?.slice(0, 256);
  return Object.freeze({
    actor: caller.actor,
    tenantId: caller.tenantId,
    requestId: c.get("requestId"),
    clock,
    scopes: caller.scopes,
    ...(caller.kind === "user" ? { role: caller.role } : {}),
    ...(ipAddress && ADDRESS.test(ipAddress) ? { ipAddress } : {}),
    ...(userAgent ? { userAgent } : {}),
    ...(idempotency ? { idempotency } : {}),
  });
}
