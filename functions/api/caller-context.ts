import type { Context as HonoContext } from "hono";
import type { Clock } from "../../shared/kernel/clock.ts";
import type { Context, Idempotency } from "../../shared/kernel/context.ts";
import type { Caller } from "../../shared/core/caller.ts";
import type { AppEnv } from "./middleware/request-context.ts";

const ADDRESS = /^[0-9a-fA-F:.]{2,45}$/;
/** Some proxies append the port too, by which one client would count as many. */
const WITH_PORT = /^(?:\[([^\]]+)\]|(\d+\.\d+\.\d+\.\d+)):\d+$/;

/** The address that the last proxy received the request from. Each appends one; the caller may have written everything to its left. */
export function addressOf(c: HonoContext): string | undefined {
  const last = c.req.header("x-forwarded-for")?.split(",").at(-1)?.trim() ?? "";
  const [, v6, v4] = WITH_PORT.exec(last) ?? [];
  const address = v6 ?? v4 ?? last;
  return ADDRESS.test(address) ? address : undefined;
}

/** The context of the caller's services. A tenant's user or key is bound to that tenant, which the database enforces as well. */
export function callerContext(c: HonoContext<AppEnv>, caller: Caller, clock: Clock, idempotency?: Idempotency): Context {
  const ipAddress = addressOf(c);
  const userAgent = c.req.header("user-agent")?.slice(0, 256);
  return Object.freeze({
    actor: caller.actor,
    tenantId: caller.tenantId,
    requestId: c.get("requestId"),
    clock,
    scopes: caller.scopes,
    ...(caller.kind === "user" ? { role: caller.role } : {}),
    ...(ipAddress === undefined ? {} : { ipAddress }),
    ...(userAgent ? { userAgent } : {}),
    ...(idempotency ? { idempotency } : {}),
  });
}
