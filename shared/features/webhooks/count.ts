import { errors, type InnkeepError } from "../../kernel/errors.ts";
import { keyOf } from "../../kv/define.ts";
import type { Mutation } from "../../kv/store.ts";
import { webhookCount } from "./entity.ts";

/** The maximum number of webhooks. */
export const MAX_WEBHOOKS = { tenant: 20, platform: 100 } as const;
/** No tenant can have this id. */
const PLATFORM = "global";

/** Counts a webhook that is created or deleted. A creation above the maximum is refused by the commit. */
export function counted(tenantId: string | undefined, by: 1 | -1): Mutation {
  const holder = tenantId ?? PLATFORM;
  const own = tenantId === undefined ? {} : { tenantId };
  return {
    op: "increment",
    key: keyOf(webhookCount, { holder }),
    add: [{ path: ["count"], by, ...(by > 0 ? { max: maximumOf(tenantId) } : {}) }],
    initial: { value: { holder, ...own, count: 0 }, tenantId: tenantId ?? null },
  };
}

/** The error of a commit that was refused because of the maximum. */
export function tooMany(tenantId: string | undefined): (conflict: string, reason: "version" | "bounds") => InnkeepError | undefined {
  return (_, reason) => {
    if (reason !== "bounds") return undefined;
    const owner = tenantId === undefined ? "the platform" : "a tenant";
    const message = `exceeds the limit of ${maximumOf(tenantId)} webhooks of ${owner}; delete one first`;
    return errors.validation([{ path: "/tenantId", message, code: "too_many" }]);
  };
}

function maximumOf(tenantId: string | undefined): number {
  return tenantId === undefined ? MAX_WEBHOOKS.platform : MAX_WEBHOOKS.tenant;
}
