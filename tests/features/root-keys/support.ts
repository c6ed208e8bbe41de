import { z } from "zod";
import { createBackend } from "../../../shared/container.ts";
import { knownRootKeys } from "../../../shared/core/root-keys.ts";
import { sealed } from "../../../shared/core/sealed.ts";
import { segment } from "../../../shared/core/values.ts";
import { JobService } from "../../../shared/features/jobs/service.ts";
import { rootKey } from "../../../shared/features/root-keys/entity.ts";
import { checkedRootKeys } from "../../../shared/features/root-keys/known.ts";
import { RootKeyService } from "../../../shared/features/root-keys/service.ts";
import { systemContext } from "../../../shared/kernel/context.ts";
import { silentLogger } from "../../../shared/kernel/logger.ts";
import { defineEntity, keyOf } from "../../../shared/kv/define.ts";
import type { Store } from "../../../shared/kv/store.ts";
import type { OpenStore } from "../../support/store.ts";

/** A record of a tenant with two encrypted fields. */
export const safe = defineEntity({
  name: "safe",
  summary: "Declared for this test.",
  key: "safe:{tenantId}:{id}",
  schema: z.looseObject({
    tenantId: segment,
    id: segment,
    label: z.string(),
    first: sealed.nullable(),
    second: sealed.optional(),
  }),
  owner: "tenant",
  encrypted: ["first", "second"],
  example: { tenantId: "tn_1", id: "s_1", label: "a safe", first: null },
});

/** Shares the family of `safe` and sorts before it. */
export const box = defineEntity({
  name: "box",
  summary: "Declared for this test.",
  key: "safe:{id}",
  schema: z.looseObject({ id: segment, content: sealed }),
  owner: "platform",
  encrypted: ["content"],
  example: { id: "b_1", content: { keyId: "0".repeat(16), wrappedKey: "AAAA", ciphertext: "AAAA" } },
});

export const bytesOf = (fill: number) => new Uint8Array(32).fill(fill);

/** A process with the root key of this byte, and previous ones. */
export function processWith(
  { clock, store }: Pick<OpenStore, "clock" | "store">,
  current: number,
  previous: readonly number[] = [],
  over: Store = store,
) {
  const source = knownRootKeys(bytesOf(current), previous.map(bytesOf));
  const context = systemContext(clock, "req_test", "root-keys");
  const backend = createBackend({
    store: over,
    clock,
    logger: silentLogger,
    registry: () => Promise.resolve([rootKey, safe, box]),
    rootKeys: checkedRootKeys(source, () => backend.bind(context)),
  });
  const work = backend.bind(context);
  const { secrets } = work.platform;
  return {
    work,
    secrets,
    start: () => secrets.rootKeys(),
    list: () => new RootKeyService(work).list(),
    states: async () => Object.fromEntries((await new RootKeyService(work).list()).map(({ id, state, records }) => [id, [state, records]])),
    /** Calls the job until its run is complete. */
    run: async (options: { readonly dryRun?: boolean } = {}) => {
      for (;;) {
        const report = await new JobService(work).run("root-keys", options);
        if (report.complete || report.errors.length > 0) return report;
      }
    },
    seal: (key: string, field: string, value: string) => secrets.seal(key, field, value),
    safeWith: async (tenantId: string, id: string, first: string | null, second?: string) => {
      const key = keyOf(safe, { tenantId, id });
      const value = {
        tenantId,
        id,
        label: "a safe",
        first: first === null ? null : await secrets.seal(key, "first", first),
        ...(second === undefined ? {} : { second: await secrets.seal(key, "second", second) }),
      };
      await store.set(key, value, { tenantId });
      return key;
    },
    boxWith: async (id: string, content: string) => {
      const key = keyOf(box, { id });
      await store.set(key, { id, content: await secrets.seal(key, "content", content) });
      return key;
    },
  };
}
