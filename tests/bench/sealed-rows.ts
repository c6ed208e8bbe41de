import { SecretBox } from "../../shared/core/secret-box.ts";
import type { Sealed } from "../../shared/core/sealed.ts";
import { systemClock } from "../../shared/kernel/clock.ts";
import type { JsonObject } from "../../shared/kernel/json.ts";
import type { Store } from "../../shared/kv/store.ts";
import { KEYS } from "../support/test-context.ts";
import { byName, interleave, ratio } from "./measure.ts";
import { rate, type Row } from "./report.ts";

const CREDENTIALS = { secretKey: "sk_test_of_the_benchmark_0123456789", webhookSecret: "whsec_of_the_benchmark_0123456789" };
const FIELD = "credentials";
const OPERATIONS = { plain: 2_000, sealed: 2_000 } as const;

/** What the encryption of a field adds to a set, and its decryption to a get. */
export async function sealedRows(store: Store, report: (row: Row) => void): Promise<void> {
  const box = new SecretBox(KEYS.rootKeys, systemClock);
  const keyOf = (i: number) => `sealed:${i % 1_000}`;
  const set = (key: string, credentials: JsonObject) => store.set(key, { provider: "stripe", enabled: true, credentials });
  for (let i = 0; i < 1_000; i++) await set(keyOf(i), await box.seal(keyOf(i), FIELD, CREDENTIALS));
  const contenders = {
    set: [
      { name: "plain", run: (i: number) => set(keyOf(i), CREDENTIALS) },
      { name: "sealed", run: async (i: number) => await set(keyOf(i), await box.seal(keyOf(i), FIELD, CREDENTIALS)) },
    ],
    get: [
      { name: "plain", run: (i: number) => store.get(`plain:${i % 1_000}`) },
      {
        name: "sealed",
        run: async (i: number) => {
          const { credentials } = (await store.get(keyOf(i)))?.value as { readonly credentials: Sealed };
          const { secretKey } = await box.open(keyOf(i), FIELD, credentials) as typeof CREDENTIALS;
          if (secretKey !== CREDENTIALS.secretKey) throw new Error("decryption gave another value");
        },
      },
    ],
  };
  for (const operation of ["get", "set"] as const) {
    if (operation === "get") await store.mset(Array.from({ length: 1_000 }, (_, i) => [`plain:${i}`, { credentials: CREDENTIALS }]));
    for (const callers of [1, 16]) {
      const of = byName(await interleave(contenders[operation], { callers, operations: OPERATIONS, rounds: 7 }));
      report({
        operation: operation === "set" ? "set with an encrypted field" : "get with its encrypted field decrypted",
        callers,
        store: rate(of("sealed")),
        against: `plain ${operation}`,
        other: rate(of("plain")),
        ratio: ratio(of("sealed"), of("plain")),
        target: null,
      });
    }
  }
}
