import { expect } from "vitest";
import { knownRootKeys } from "../../../shared/core/root-keys.ts";
import { SecretBox } from "../../../shared/core/secret-box.ts";
import type { Sealed } from "../../../shared/core/sealed.ts";
import { webhook } from "../../../shared/features/webhooks/entity.ts";
import type { JsonObject } from "../../../shared/kernel/json.ts";
import { keyOf } from "../../../shared/kv/define.ts";
import { PREVIOUS_ROOT_KEY, ROOT_KEY } from "../../support/root-key.ts";
import type { TestContext } from "../../support/test-context.ts";
import type { Killed } from "./killed.test.ts";

const WEBHOOKS = 80;
const FAR = "2999-01-01T00:00:00.000Z";

/** Webhooks of the platform whose secrets are under the root key before the one of the processes. */
export async function rootKeys({ store, clock, dump }: TestContext): Promise<Killed> {
  const before = new SecretBox(knownRootKeys(PREVIOUS_ROOT_KEY), clock);
  const keys = Array.from(
    { length: WEBHOOKS },
    (_, i) => keyOf(webhook, { id: `webhook_${clock.now()}_rotated${String(i).padStart(5, "0")}` }),
  );
  const { tenantId: _, ...example } = webhook.example;
  const records = await Promise.all(keys.map(async (key) => {
    const sealedSecret = await before.seal(key, "sealedSecret", key);
    const id = key.slice("webhook:".length);
    return [key, { ...webhook.schema.parse(example), id, sealedSecret, enabled: false, status: "disabled", nextCheckAt: FAR }] as const;
  }));
  await store.mset(records as unknown as [string, JsonObject][]);
  return {
    check: async () => {
      const after = new SecretBox(knownRootKeys(ROOT_KEY), clock);
      const found = await store.mget(keys);
      for (const [i, key] of keys.entries()) {
        const { sealedSecret } = found[i]?.value as { readonly sealedSecret: Sealed };
        expect(await after.open(key, "sealedSecret", sealedSecret)).toBe(key);
        expect(sealedSecret.ciphertext).toBe(records[i]?.[1].sealedSecret.ciphertext);
      }
      const notes = (await dump("audit")).map(({ value }) => value as JsonObject).filter(({ action }) => action === "root-key.rewrapped");
      expect(notes.reduce((sum, { data }) => sum + Number((data as JsonObject)["records"]), 0)).toBe(WEBHOOKS);
      const states = (await dump("rootkey")).map(({ value }) => value as JsonObject);
      expect(states.filter(({ unusedSince }) => unusedSince === undefined)).toMatchObject([{ records: expect.any(Number) as number }]);
    },
  };
}
