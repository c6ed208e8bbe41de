import type { CreateInput } from "../../core/fields.ts";
import type { plan } from "./entity.ts";

const MONTHLY_USD = { currency: "USD", interval: "monthly", active: true } as const;
const GIB = 1024 ** 3;

/**
 * The plans that a new platform starts with. Platform admins can change them. Their limits name the metrics of
 * default-metrics.ts, which must be created first.
 */
export const DEFAULT_PLANS: readonly (CreateInput<typeof plan> & { readonly id: string })[] = [
  {
    ...MONTHLY_USD,
    id: "Trial",
    name: "Trial",
    displayName: "Trial",
    description: "Two weeks to try one property.",
    price: 0,
    trialDays: 14,
    limits: { users: 3, properties: 1, rooms: 20, bookings: 100, api_calls: 10_000, storage: GIB, customDomains: 0 },
    features: ["front-desk", "housekeeping", "booking-engine"],
  },
  {
    ...MONTHLY_USD,
    id: "Basic",
    name: "Basic",
    displayName: "Basic",
    description: "For a single hotel.",
    price: 9_900,
    limits: { users: 10, properties: 1, rooms: 60, bookings: 1_000, api_calls: 100_000, storage: 10 * GIB, customDomains: 0 },
    features: ["front-desk", "housekeeping", "booking-engine", "email-support"],
  },
  {
    ...MONTHLY_USD,
    id: "Pro",
    name: "Pro",
    displayName: "Professional",
    description: "For groups of hotels that sell on several channels.",
    price: 29_900,
    limits: { users: 50, properties: 10, rooms: 500, bookings: 10_000, api_calls: 1_000_000, storage: 100 * GIB, customDomains: 3 },
    features: [
      "front-desk",
      "housekeeping",
      "booking-engine",
      "channel-manager",
      "reports",
      "api",
      "webhooks",
      "custom-domain",
      "email-support",
    ],
  },
  {
    ...MONTHLY_USD,
    id: "Enterprise",
    name: "Enterprise",
    displayName: "Enterprise",
    description: "For chains: no limits, single sign-on, a named contact.",
    price: 99_900,
    limits: { users: null, properties: null, rooms: null, bookings: null, api_calls: null, storage: null, customDomains: null },
    features: [
      "front-desk",
      "housekeeping",
      "booking-engine",
      "channel-manager",
      "reports",
      "api",
      "webhooks",
      "custom-domain",
      "sso",
      "audit-export",
      "priority-support",
    ],
  },
];
