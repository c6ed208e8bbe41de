import { z } from "zod";
import { segment } from "../../core/values.ts";
import { auditExport } from "../audit-exports/entity.ts";
import { erasure } from "../erasures/entity.ts";
import { complianceRequest, deletionCertificate } from "../compliance/entity.ts";
import { legalHold } from "../legal-holds/entity.ts";
import { eventsOf, type EventType, eventWithout } from "./event-type.ts";

const { id: ERASURE, userId: PERSON } = erasure.example;
const erased = z.object({
  erasureId: segment,
  userId: z.string().optional().meta({ description: "The person's id in Supabase Auth." }),
  emailHashes: z.array(z.string()).meta({
    description: "Of each email address of the person the SHA-256 of `innkeep email:` and the address in lower case, in hexadecimal.",
  }),
  tenantId: segment.optional().meta({ description: "Absent in the event of the platform." }),
}).meta({ examples: [{ erasureId: ERASURE, userId: PERSON, emailHashes: [] }] });

/** Requests under data protection law, and exports of the audit log. */
export const complianceEvents: readonly EventType[] = [
  ...eventsOf(complianceRequest, {
    "compliance-request.created": {
      description: "A request under data protection law was made.",
      example: { status: "pending", progress: 0 },
    },
    "compliance-request.started": { description: "A request is being handled.", example: { status: "processing", progress: 0 } },
    "compliance-request.completed": "A request was answered. An export can be downloaded.",
    "compliance-request.failed": {
      description: "A request could not be answered.",
      example: { status: "failed", error: "The identity of the person is not proven." },
    },
    "compliance-request.reopened": { description: "A failed request is tried again.", example: { status: "pending", progress: 0 } },
    "compliance-request.held": {
      description: "A legal hold prevents a deletion whose grace period is over.",
      example: { type: "deletion", status: "pending", progress: 0, heldSince: "2026-01-08T00:00:00.000Z" },
    },
    "compliance-request.cancelled": { description: "A request was withdrawn.", example: { status: "cancelled" } },
  }),
  ...eventsOf(deletionCertificate, {
    "deletion-certificate.signed": "A deletion was certified: what it has removed and kept was counted and signed.",
  }),
  eventWithout("subject.erased", {
    description: "A person was erased. Erase what you hold of the person; the answer 2xx acknowledges it.",
    data: erased,
    subject: String(ERASURE),
  }),
  ...eventsOf(legalHold, {
    "legal-hold.created": "A legal hold was placed on a tenant or a person.",
    "legal-hold.released": {
      description: "A legal hold was released.",
      example: { status: "released", releasedAt: "2026-06-01T00:00:00.000Z" },
    },
  }),
  ...eventsOf(auditExport, {
    "audit-export.created": {
      description: "An export of the audit log to a file was requested.",
      example: { status: "queued", progress: 0, entries: 0 },
    },
    "audit-export.completed": "An export of the audit log is complete and can be downloaded.",
    "audit-export.failed": { description: "An export of the audit log has failed.", example: { status: "failed", progress: 40 } },
    "audit-export.cancelled": { description: "An export of the audit log was cancelled.", example: { status: "cancelled", progress: 40 } },
  }),
];
