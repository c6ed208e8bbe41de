import { complianceRequest } from "../compliance/entity.ts";
import { eventsOf, type EventType } from "./event-type.ts";

/** Requests under data protection law. */
export const complianceEvents: readonly EventType[] = eventsOf(complianceRequest, {
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
  "compliance-request.cancelled": { description: "A request was withdrawn.", example: { status: "cancelled" } },
});
