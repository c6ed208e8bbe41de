import { z } from "zod";
import { day } from "../../core/values.ts";
import { isoTime } from "../../kernel/clock.ts";
import { defineEntity, keyOf } from "../../kv/define.ts";
import { newNonce } from "../../kernel/ids.ts";
import type { Mutation } from "../../kv/store.ts";

/** Written in the commit that creates a tenant. It names no tenant, so it stays when the tenant is deleted. */
export const signUp = defineEntity({
  name: "sign-up",
  summary: "Says that a tenant was created on a day. It counts as a sign-up of that day also after the tenant was deleted.",
  key: "signup:{day}:{~nonce}",
  schema: z.looseObject({ day: day.meta({ description: "In UTC." }) }),
  owner: "platform",
  filterable: ["day"],
  rollup: { groupBy: ["day"] },
  example: { day: "2026-01-01" },
});

/** Counts a new tenant on the present day. */
export function signUpNow(nowMs: number): Mutation {
  const today = isoTime(nowMs).slice(0, 10);
  return { op: "set", key: keyOf(signUp, { day: today, nonce: newNonce() }), value: { day: today } };
}
