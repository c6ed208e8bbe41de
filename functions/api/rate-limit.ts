import type { Context } from "hono";
import type { Caller } from "../../shared/core/caller.ts";
import type { ChargeOptions, Payer, RateDecision, RateLimiter } from "../../shared/core/rate-limiter.ts";
import type { Route } from "../../shared/core/route.ts";
import { InnkeepError, isInnkeepError } from "../../shared/kernel/errors.ts";
import { parseUrl } from "../../shared/kernel/web-url.ts";
import { addressOf } from "./caller-context.ts";
import type { AppEnv } from "./middleware/request-context.ts";

/** The charge of one request to its caller's rate limit. */
export interface RequestCharge {
  /** Starts the charge while the caller's records are read, so that it adds no wait. */
  start(payer: Payer): void;
  /** Waits for the charge, for the headers of the response. Throws `rate_limited` if the request is denied. */
  settle(caller: Caller): Promise<void>;
  /** Charges a refused request to its caller, if that is known, else to its address. Throws `rate_limited`, or the error again. */
  refuse(error: unknown): Promise<never>;
}

const UNLIMITED: RequestCharge = {
  start() {},
  settle: () => Promise.resolve(),
  refuse: (error) => Promise.reject(error),
};

export function chargeOf(c: Context<AppEnv>, { cost = 1 }: Route, limiter: RateLimiter | null): RequestCharge {
  if (!limiter || cost === 0) return UNLIMITED;
  let started: Promise<RateDecision | null> | undefined;
  const charge = (payer: Payer, options: ChargeOptions = {}) => limiter.charge(payer, { cost, ...options });
  const chargeAddress = async () => {
    const address = addressOf(c);
    if (address !== undefined) enforce(c, await charge({ kind: "address", address: networkOf(address) }));
  };
  return {
    start(payer) {
      if (limiter.knows(payer)) started = charge(payer);
    },
    async settle(caller) {
      if (caller.kind === "anonymous") return await chargeAddress();
      if (caller.kind === "key") {
        const payer = { kind: "key", id: caller.actor.id } as const;
        // A new limit counts at once, though the charge was started under the old one.
        if (limiter.learn(payer, caller.rateLimit) || !started) started = charge(payer);
      }
      enforce(c, await started ?? null);
    },
    async refuse(error) {
      if (started && !isInnkeepError(error, "unauthenticated")) enforce(c, await started);
      else if (isInnkeepError(error) && error.status < 500) await chargeAddress();
      throw error;
    },
  };
}

/** Sets the values of the headers (draft-ietf-httpapi-ratelimit-headers, structured fields of RFC 9651). */
function enforce(c: Context<AppEnv>, decision: RateDecision | null): void {
  if (!decision) return;
  const { allowed, limit: { limit, windowSeconds }, remaining, resetSeconds } = decision;
  c.set("rateLimit", { policy: `"default";q=${limit};w=${windowSeconds}`, state: `"default";r=${remaining};t=${resetSeconds}` });
  if (allowed) return;
  const message = `You have sent more than ${limit} requests in ${windowSeconds} s. Wait ${resetSeconds} s before the next one.`;
  throw new InnkeepError("rate_limited", message, [], { retryAfterSeconds: resetSeconds });
}

const IPV6_GROUPS = 8;
const NETWORK_GROUPS = 4;

/** An IPv6 address without its last 64 bits, which its holder chooses. An IPv4 address stays as it is, also as `::ffff:1.2.3.4`. */
export function networkOf(address: string): string {
  const canonical = address.includes(":") ? parseUrl(`http://[${address}]`)?.hostname.slice(1, -1) : undefined;
  if (canonical === undefined) return address;
  const [left = "", right = ""] = canonical.split("::");
  const [head, tail] = [left, right].map((part) => part.split(":").filter(Boolean)) as [string[], string[]];
  const groups = [...head, ...Array<string>(IPV6_GROUPS - head.length - tail.length).fill("0"), ...tail];
  return groups.slice(0, 6).join(":") === "0:0:0:0:0:ffff" ? canonical : groups.slice(0, NETWORK_GROUPS).join(":");
}
