import { createContainer } from "../../shared/container.ts";
import { apiKey } from "../../shared/features/api-keys/entity.ts";
import { hashRowOf } from "../../shared/features/api-keys/rules.ts";
import { hashOf, newSecret } from "../../shared/features/api-keys/secret.ts";
import { systemClock } from "../../shared/kernel/clock.ts";
import { systemContext } from "../../shared/kernel/context.ts";
import type { JsonObject } from "../../shared/kernel/json.ts";
import { silentLogger } from "../../shared/kernel/logger.ts";
import { sha256Hex } from "../../shared/kernel/sha256.ts";
import type { Store } from "../../shared/kv/store.ts";
import { API_KEY_SECRET } from "../support/test-context.ts";
import type { Habit } from "./habit.ts";
import { byName, interleave, ratio } from "./measure.ts";
import { rate } from "./report.ts";
import type { Row } from "./report.ts";

const KEYS = 20_000;
const PER_COMMIT = 400;

/** Verification of an API key: a look-up by its hash, against loading all keys and comparing their hashes. */
export async function keyRows(store: Store, habit: Habit, report: (row: Row) => void): Promise<void> {
  const secrets: string[] = [];
  for (let from = 0; from < KEYS; from += PER_COMMIT) {
    const made = await Promise.all(Array.from({ length: PER_COMMIT }, (_, i) => keyOf(from + i)));
    await store.mset(made.flatMap(({ record, row }) => [
      [`apikey:${record.id}`, record as JsonObject] as const,
      [`apikeyhash:${row.hash}`, row as JsonObject] as const,
    ]));
    await habit.msetInOneStatement(made.map(({ record, plain }) => [`apikey:${record.id}`, { ...record, hash: plain }] as const));
    secrets.push(...made.map(({ secret }) => secret));
  }
  const container = await createContainer({ store, clock: systemClock, logger: silentLogger, apiKeySecret: API_KEY_SECRET });
  const { ApiKeyService } = container.services(systemContext(systemClock));
  const secretOf = (i: number) => secrets[i * 7 % KEYS] ?? "";
  const contenders = [
    {
      name: "look-up",
      run: async (i: number) => {
        if (!(await ApiKeyService.verify(secretOf(i))).valid) throw new Error("a valid key was refused");
      },
    },
    {
      name: "scan",
      run: async (i: number) => {
        const hash = await sha256Hex(secretOf(i));
        if (!(await habit.getByPrefix("apikey:")).some((key) => key["hash"] === hash)) throw new Error("a valid key was not found");
      },
    },
  ];
  for (const callers of [1, 16]) {
    const of = byName(await interleave(contenders, { callers, operations: { "look-up": 400, scan: callers === 1 ? 5 : 16 }, rounds: 7 }));
    report({
      operation: `verification of an API key among ${KEYS.toLocaleString("en")}`,
      callers,
      store: rate(of("look-up")),
      against: "habit: loads all keys",
      other: rate(of("scan")),
      ratio: ratio(of("look-up"), of("scan")),
      target: 100,
    });
  }
  await container.platform.uses.flush();
}

async function keyOf(i: number) {
  const { secret, prefix, last4 } = await newSecret("live");
  const hash = await hashOf(secret, API_KEY_SECRET);
  const { tenantId: _, ...example } = apiKey.example;
  const record = apiKey.schema.parse({ ...example, id: `key_1767225600000_${String(i).padStart(12, "0")}`, prefix, last4, hash });
  return { secret, record, row: hashRowOf(record, hash), plain: await sha256Hex(secret) };
}
