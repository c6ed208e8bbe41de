import { z } from "zod";
import { periodOf } from "../../core/periods.ts";
import { day, period } from "../../core/values.ts";
import { isoTime } from "../../kernel/clock.ts";
import { defineEntity, keyOf } from "../../kv/define.ts";
import type { Mutation } from "../../kv/store.ts";

/** Counted in the commit that creates a tenant, so that a chart reads a few records instead of the tenants. */
export const signUps = defineEntity({
  name: "sign-ups",
  summary: "The number of tenants created on each day of a month, in several records so that creations do not wait for each other.",
  key: "signups:{month}:{shard}",
  schema: z.looseObject({
    month: period,
    shard: z.string(),
    days: z.record(day, z.int().min(1).meta({ description: "Tenants created on the day, also those that were deleted since." })),
  }),
  owner: "platform",
  frequentUpdates: true,
  example: { month: "2026-01", shard: "3", days: { "2026-01-01": 2 } },
});

const SHARDS = 8;

/** Counts a new tenant on the present day, in the commit that creates it. */
export function signUp(tenantId: string, nowMs: number): Mutation {
  const place = { month: periodOf(nowMs), shard: String(shardOf(tenantId)) };
  const today = isoTime(nowMs).slice(0, 10);
  return {
    op: "increment",
    key: keyOf(signUps, place),
    add: [{ path: ["days", today], by: 1 }],
    initial: { value: { ...place, days: {} } },
  };
}

/** The keys of all records of a month. */
export function signUpKeys(month: string): string[] {
  return Array.from({ length: SHARDS }, (_, shard) => keyOf(signUps, { month, shard: String(shard) }));
}

function shardOf(tenantId: string): number {
  let hash = 0;
  for (let i = 0; i < tenantId.length; i++) hash = (hash * 31 + tenantId.charCodeAt(i)) >>> 0;
  return hash % SHARDS;
}
