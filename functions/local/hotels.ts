import type { DefaultMetric } from "../../shared/features/metrics/default-metrics.ts";

/** The tenants of the demo. All values are fixed except the dates, which end today. */
export interface Hotel {
  readonly name: string;
  readonly subdomain: string;
  readonly region: "us-east-1" | "us-west-2" | "eu-west-1" | "ap-southeast-1" | "ap-northeast-1";
  readonly plan: "Trial" | "Basic" | "Pro" | "Enterprise";
  readonly ownerName: string;
  readonly customDomain?: string;
  readonly rooms: number;
  readonly properties: number;
  /** Its earlier plan. */
  readonly upgradedFrom?: "Basic" | "Pro";
  readonly ending?: "suspended" | "cancelled";
  /** Default: it joined before the first month of usage. */
  readonly joinedDaysAgo?: number;
}

export const HOTELS: readonly Hotel[] = [
  {
    name: "Hotel Aurora",
    subdomain: "aurora",
    region: "eu-west-1",
    plan: "Pro",
    ownerName: "Ada Auer",
    customDomain: "stay.aurora.example",
    rooms: 140,
    properties: 2,
  },
  {
    name: "Bellevue Palace",
    subdomain: "bellevue",
    region: "eu-west-1",
    plan: "Enterprise",
    ownerName: "Bruno Keller",
    customDomain: "rooms.bellevue.example",
    rooms: 820,
    properties: 9,
    upgradedFrom: "Pro",
  },
  { name: "Casa Coral", subdomain: "casa-coral", region: "us-east-1", plan: "Basic", ownerName: "Carla Ibáñez", rooms: 24, properties: 1 },
  {
    name: "Dockside Rooms",
    subdomain: "dockside",
    region: "us-west-2",
    plan: "Basic",
    ownerName: "Derek Okafor",
    rooms: 38,
    properties: 1,
  },
  {
    name: "Élan Boutique",
    subdomain: "elan",
    region: "eu-west-1",
    plan: "Pro",
    ownerName: "Élodie Marchand",
    rooms: 64,
    properties: 3,
    upgradedFrom: "Basic",
  },
  {
    name: "Fjordview Lodge",
    subdomain: "fjordview",
    region: "eu-west-1",
    plan: "Basic",
    ownerName: "Frida Nordahl",
    rooms: 57,
    properties: 1,
  },
  {
    name: "Grand Meridian",
    subdomain: "grand-meridian",
    region: "ap-southeast-1",
    plan: "Enterprise",
    ownerName: "Grace Tan",
    customDomain: "book.meridian.example",
    rooms: 1_450,
    properties: 14,
  },
  { name: "Hanami Ryokan", subdomain: "hanami", region: "ap-northeast-1", plan: "Pro", ownerName: "Haruto Sato", rooms: 72, properties: 4 },
  {
    name: "Inca Trail Hostel",
    subdomain: "inca-trail",
    region: "us-east-1",
    plan: "Trial",
    ownerName: "Inés Quispe",
    rooms: 12,
    properties: 1,
    joinedDaysAgo: 6,
  },
  {
    name: "Juniper Inn",
    subdomain: "juniper",
    region: "us-west-2",
    plan: "Trial",
    ownerName: "June Park",
    rooms: 9,
    properties: 1,
    joinedDaysAgo: 3,
  },
  {
    name: "Kestrel Airport Hotel",
    subdomain: "kestrel",
    region: "us-east-1",
    plan: "Pro",
    ownerName: "Kofi Mensah",
    rooms: 210,
    properties: 1,
    ending: "suspended",
  },
  {
    name: "Lagoon Retreat",
    subdomain: "lagoon",
    region: "ap-southeast-1",
    plan: "Basic",
    ownerName: "Lina Suarez",
    rooms: 18,
    properties: 1,
    ending: "cancelled",
  },
];

/**
 * The usage of a hotel on a day: the current amount for users, properties, rooms and storage, the day's amount for bookings
 * and api_calls. It is deterministic: the same hotel, metric and day give the same number.
 */
export function usageOn(hotel: Hotel, metric: DefaultMetric, day: string): number {
  const noise = unit(`${hotel.subdomain}:${metric}:${day}`);
  const isWeekend = [0, 6].includes(new Date(`${day}T00:00:00.000Z`).getUTCDay());
  switch (metric) {
    case "users":
      return Math.max(1, Math.round(Math.min(hotel.rooms / 12, 48)));
    case "properties":
      return hotel.properties;
    case "rooms":
      return hotel.rooms;
    case "bookings":
      return Math.round(hotel.rooms * (isWeekend ? 0.32 : 0.2) * (0.5 + noise));
    case "api_calls":
      return Math.round(hotel.rooms * 42 * (0.6 + 0.8 * noise));
    case "storage":
      // About 2 MiB per room and month since October 2024.
      return Math.round(hotel.rooms * (Date.parse(day) / 86_400_000 - 20_000) * 70_000);
  }
}

/** Hashes a text to a number in [0, 1), by FNV-1a and a final mix. */
function unit(text: string): number {
  let hash = 0x811c9dc5;
  for (const character of text) hash = Math.imul(hash ^ (character.codePointAt(0) ?? 0), 0x01000193);
  hash = Math.imul(hash ^ (hash >>> 15), 0x2c1b3c6d);
  return ((hash ^ (hash >>> 13)) >>> 0) / 2 ** 32;
}
