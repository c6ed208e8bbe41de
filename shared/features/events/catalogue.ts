import { billingEvents } from "./catalogue-billing.ts";
import { complianceEvents } from "./catalogue-compliance.ts";
import { deliveryEvents } from "./catalogue-delivery.ts";
import { emailEvents } from "./catalogue-emails.ts";
import { integrationEvents } from "./catalogue-integrations.ts";
import { platformEvents } from "./catalogue-platform.ts";
import { webhookEvents } from "./catalogue-webhooks.ts";
import { type EventType, isTenantScoped } from "./event-type.ts";
import { matches } from "./patterns.ts";

const all = [
  ...billingEvents,
  ...complianceEvents,
  ...deliveryEvents,
  ...emailEvents,
  ...integrationEvents,
  ...platformEvents,
  ...webhookEvents,
];

/** Every type of event that the program emits, by name. A test compares it with the events of all services. */
export const eventTypes: readonly EventType[] = all.sort((a, b) => a.type < b.type ? -1 : 1);

const names: ReadonlySet<string> = new Set(eventTypes.map(({ type }) => type));

/** Whether it selects types: `*`, a type, or the beginning of types with `.*`, such as `tenant.*`. */
export function isPattern(pattern: string): boolean {
  return names.has(pattern) || eventTypes.some(({ type }) => matches(pattern, type));
}

/** Whether it selects a type that a tenant's webhook can get. */
export function isTenantPattern(pattern: string): boolean {
  return eventTypes.some((each) => matches(pattern, each.type) && isTenantScoped(each));
}

/** The types that any of the patterns selects. */
export function typesOf(patterns: readonly string[]): string[] {
  return eventTypes.flatMap(({ type }) => patterns.some((pattern) => matches(pattern, type)) ? [type] : []);
}
