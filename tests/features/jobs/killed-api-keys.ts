import { expect } from "vitest";
import type { JsonObject } from "../../../shared/kernel/json.ts";
import type { TestContext } from "../../support/test-context.ts";
import type { Services } from "../../../shared/container.ts";
import type { Killed } from "./killed.test.ts";

const KEYS_OF_A_KIND = 8;
const SPREAD_MS = 5_000;
const DAY_MS = 24 * 3_600_000;

/** Keys for which something is due while the processes are killed: a reminder, the expiry, the disabling, the end of an overlap. */
export async function apiKeys(context: TestContext & Services): Promise<Killed> {
  const { clock } = context;
  const { id: tenantId } = await context.tenant();
  const expected: (readonly [id: string, action: string])[] = [];
  const make = async (
    action: string,
    options: Parameters<typeof context.ApiKeyService.generate>[2],
    { ApiKeyService }: Services = context,
  ) => {
    const { id } = await ApiKeyService.generate(action, ["read:plans"], { tenantId, ...options });
    expected.push([id, action]);
    return id;
  };
  for (let i = 0; i < KEYS_OF_A_KIND; i++) {
    const dueInMs = Math.ceil((i + 1) * SPREAD_MS / KEYS_OF_A_KIND);
    for (const days of [14, 7, 1]) await make("api-key.expiring", { expiresAt: clock.iso(days * DAY_MS + dueInMs) });
    await make("api-key.expired", { expiresAt: clock.iso(dueInMs) });
    const rotated = await make("api-key.secret_retired", {});
    await context.ApiKeyService.rotate(rotated, { overlapSeconds: Math.ceil(dueInMs / 1_000) });
    // A clock of its own: the work for the other jobs is made at the same time.
    const yesterdayMs = clock.now() + dueInMs - DAY_MS;
    await make("api-key.disabled", { autoDisableAfterDays: 1 }, context.as({ clock: { now: () => yesterdayMs } }));
  }
  const rotations = expected.filter(([, action]) => action === "api-key.secret_retired").length;
  return {
    check: async () => {
      while ((await context.as().JobService.run("api-keys")).processed > 0);
      const events = (await context.dump("outbox")).map(({ value }) => value as JsonObject);
      const written = await context.auditOf(tenantId);
      for (const [id, action] of expected) {
        const own = ({ type, action: named, subject, resourceId }: JsonObject) =>
          (subject ?? resourceId) === id && (type ?? named) === action;
        expect([events, written].map((notes) => notes.filter(own).length), `${action} of ${id}`).toEqual([1, 1]);
        expect((await context.ApiKeyService.get(id))?.enabled).toBe(action !== "api-key.disabled");
      }
      const lookUps = (await context.dump("apikeyhash")).filter((entry) => entry.tenantId === tenantId);
      expect(lookUps).toHaveLength(expected.length);
      expect(rotations).toBe(KEYS_OF_A_KIND);
    },
  };
}
