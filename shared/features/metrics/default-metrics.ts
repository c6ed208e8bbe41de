import type { CreateInput } from "../../core/fields.ts";
import type { metric } from "./entity.ts";

/** The metrics that a new platform starts with. Platform admins can change them. The default plans limit them. */
export const DEFAULT_METRICS = [
  { id: "users", name: "Users", unit: "users", kind: "gauge", description: "People who can sign in." },
  { id: "properties", name: "Properties", unit: "properties", kind: "gauge", description: "Managed properties." },
  { id: "rooms", name: "Rooms", unit: "rooms", kind: "gauge", description: "Rooms of all properties." },
  { id: "storage", name: "Storage", unit: "bytes", kind: "gauge", description: "Stored bytes." },
  { id: "bookings", name: "Bookings", unit: "bookings", kind: "counter", description: "Bookings made in the month." },
  {
    id: "api_calls",
    name: "API calls",
    unit: "calls",
    kind: "counter",
    description: "API requests in the month.",
    dimensions: ["endpoint", "method"],
  },
] as const satisfies readonly CreateInput<typeof metric>[];

export type DefaultMetric = (typeof DEFAULT_METRICS)[number]["id"];
