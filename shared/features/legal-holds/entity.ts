import { z } from "zod";
import { byServer, changedInstant, createdInstant, createOnly, generated, given } from "../../core/fields.ts";
import { email, instant, segment } from "../../core/values.ts";
import { defineEntity, type RecordOf } from "../../kv/define.ts";
import { shortTenantId } from "../tenants/entity.ts";

/** Tenants that a hold on a person extends to. */
export const MAX_TENANTS = 50;
const TENANT = { description: "The tenant of which nothing may be deleted." };
const tenantReference = z.string().transform(shortTenantId).pipe(segment);

export const legalHold = defineEntity({
  name: "legal-hold",
  summary: "A duty to keep the data of a tenant or of a person, until it is released.",
  key: "legalhold:{id}",
  schema: z.looseObject({
    id: generated("hold", segment),
    tenantId: createOnly(given(segment.optional().meta(TENANT), tenantReference.optional().meta(TENANT))),
    userId: createOnly(segment.optional().meta({ description: "The user id of the person whose data may not be erased." })),
    email: createOnly(email.optional().meta({ description: "The email address of the person whose data may not be erased." })),
    tenants: byServer(
      z.array(segment).max(MAX_TENANTS).optional().meta({
        description: "Of a hold on a person: the tenants with records that named the person. Nothing of them may be deleted either.",
      }),
    ),
    reason: createOnly(
      z.string().trim().min(1).max(1_000).meta({ description: "Why the data must be kept, such as the number of a case." }),
    ),
    status: byServer(z.enum(["active", "released"])),
    placedBy: byServer(z.string()),
    releasedAt: byServer(instant.optional()),
    releasedBy: byServer(z.string().optional()),
    createdAt: createdInstant(instant),
    updatedAt: changedInstant(instant),
  }),
  owner: "platform",
  retention: { days: 2_190, after: "releasedAt" },
  filterable: ["tenantId", "userId", "status"],
  sortable: ["createdAt", "releasedAt"],
  indexes: [["createdAt"], ["status", "createdAt"]],
  personal: ["reason", "email"],
  subjects: { userId: "userId", email: "email" },
  userIds: ["placedBy", "releasedBy"],
  example: {
    id: "hold_1767225600000_a1b2c3d4e5f6",
    tenantId: "tn_1767225600000_a1b2c3d4e5f6",
    reason: "Case 12 O 345/26",
    status: "active",
    placedBy: "5f0c3a52-6c43-4b3a-9d0a-4a1f2f0a7b11",
    createdAt: "2026-01-01T00:00:00.000Z",
    updatedAt: "2026-01-01T00:00:00.000Z",
  },
});

export const heldPerson = defineEntity({
  name: "held-person",
  summary: "A user or an email address under legal hold. A commit that erases data of the person checks that there is none.",
  key: "heldperson:{kind}:{name}",
  schema: z.looseObject({
    kind: z.enum(["user", "email"]),
    name: segment.meta({ description: "The user id, or the SHA-256 of the address as in the keys of personal data." }),
    holds: z.int().min(1).meta({ description: "The number of active holds." }),
  }),
  owner: "platform",
  subjects: { userId: "name" },
  example: { kind: "user", name: "5f0c3a52-6c43-4b3a-9d0a-4a1f2f0a7b11", holds: 1 },
});

export type LegalHold = RecordOf<typeof legalHold>;
