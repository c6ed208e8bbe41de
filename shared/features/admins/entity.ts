import { z } from "zod";
import { defineEntity } from "../../kv/define.ts";
import type { RecordOf } from "../../kv/define.ts";
import { email, instant, segment } from "../../core/values.ts";

export const ADMIN_ROLES = ["super_admin", "admin", "support", "read_only"] as const;
export type AdminRole = (typeof ADMIN_ROLES)[number];

export const adminUser = defineEntity({
  name: "admin-user",
  summary: "A person who administers the platform; `userId` is its Supabase Auth id.",
  key: "admin:{userId}",
  schema: z.looseObject({
    userId: segment,
    email,
    name: z.string().min(1).max(200),
    role: z.enum(ADMIN_ROLES),
    /** Scopes beyond the role's. */
    permissions: z.array(z.string()).max(100).default([]),
    enabled: z.boolean().default(true),
    lastLoginAt: instant.optional(),
    createdAt: instant,
    updatedAt: instant.optional(),
  }),
  owner: "platform",
  filterable: ["role", "enabled", "email"],
  sortable: ["email", "name", "createdAt"],
  searchable: ["email", "name"],
  indexes: [["createdAt"], ["email"], ["name"], ["role"]],
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

export type AdminUser = RecordOf<typeof adminUser>;
