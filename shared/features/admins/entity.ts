import { z } from "zod";
import { byServer, changedInstant, createdInstant, createOnly, given } from "../../core/fields.ts";
import { ADMIN_ROLES } from "../../core/scopes.ts";
import { email, instant, segment } from "../../core/values.ts";
import { defineEntity, type RecordOf } from "../../kv/define.ts";

export const admin = defineEntity({
  name: "admin",
  summary: "An administrator of the platform. `userId` is the user's Supabase Auth id.",
  key: "admin:{userId}",
  schema: z.looseObject({
    userId: createOnly(segment),
    email,
    name: given(z.string().min(1).max(200), z.string().trim().min(1).max(200)),
    role: z.enum(ADMIN_ROLES),
    /** Scopes in addition to the role's. */
    permissions: z.array(z.string().max(100)).max(100).default([]),
    enabled: z.boolean().default(true),
    lastLoginAt: byServer(instant.optional()),
    createdAt: createdInstant(instant),
    updatedAt: changedInstant(instant.optional()),
  }),
  owner: "platform",
  filterable: ["role", "enabled", "email"],
  sortable: ["email", "name", "createdAt"],
  searchable: ["email", "name"],
  indexes: [["createdAt"], ["email"], ["name"], ["role"]],
  personal: ["email", "name"],
  subjects: { userId: "userId", email: "email" },
  example: {
    userId: "5f0c3a52-6c43-4b3a-9d0a-4a1f2f0a7b11",
    email: "ops@innkeep.example",
    name: "Night Operator",
    role: "super_admin",
    permissions: [],
    enabled: true,
    createdAt: "2026-01-01T00:00:00.000Z",
  },
});

export type Admin = RecordOf<typeof admin>;
