import { describe, expect, test } from "vitest";
import { eventTypes, isPattern, typesOf } from "../../../shared/features/events/catalogue.ts";
import type { ResourceTraits } from "../../../shared/core/scopes.ts";
import { exampleEvent } from "../../../shared/features/events/event-type.ts";
import { matches, withheldFrom } from "../../../shared/features/events/patterns.ts";
import { features } from "../../../shared/features/index.ts";
import { eventFault } from "../../support/event-contract.ts";

describe("the catalogue of event types", () => {
  test("W17: every type has a description and an example that matches its schema, and the names are unique", () => {
    for (const of of eventTypes) {
      expect(of.type).toMatch(/^[a-z][a-z-]*(\.[a-z_]+)+$/);
      expect(of.description, of.type).toMatch(/^[A-Z].*\.$/s);
      expect(eventFault(exampleEvent(of)), of.type).toBeNull();
    }
    expect(new Set(eventTypes.map(({ type }) => type)).size).toBe(eventTypes.length);
  });

  test("W17: a schema finds a missing record, a record of another form and a member that is not declared", () => {
    const of = eventTypes.find(({ type }) => type === "tenant.suspended");
    const event = of && exampleEvent(of);
    if (!event) throw new Error("the type is missing");
    expect(eventFault({ ...event, data: {} })).toBe("tenant.suspended: /data must have required property 'tenant'");
    expect(eventFault({ ...event, data: { ...event.data, tenant: { ...event.data["tenant"] as object, status: "asleep" } } }))
      .toContain("/data/tenant/status must be equal to one of the allowed values");
    expect(eventFault({ ...event, data: { ...event.data, more: 1 } })).toContain("more, which are not declared");
    const { tenantId: _, ...without } = event;
    expect(eventFault(without)).toBe("tenant.suspended:  must have required property 'tenantId'");
    expect(eventFault({ ...event, type: "tenant.asleep" })).toBe("tenant.asleep is not declared");
  });

  test("W17: a secret in a record is shown as redacted, and its schema says so", () => {
    const of = eventTypes.find(({ type }) => type === "api-key.created");
    const event = of && exampleEvent(of);
    expect(event?.data["apiKey"]).toMatchObject({ hash: "[redacted]" });
  });
});

describe("a selection of event types", () => {
  test.each([
    ["*", "tenant.created", true],
    ["tenant.*", "tenant.created", true],
    ["tenant.created", "tenant.created", true],
    ["usage.alert.*", "usage.alert.resolved", true],
    ["usage.*", "usage.alert.resolved", true],
    ["usage.alert.*", "usage.alert", false],
    ["tenant", "tenant.created", false],
    ["ten*", "tenant.created", false],
    ["usage.*", "usage-event.voided", false],
    ["tenant.created", "tenant.updated", false],
  ])("W01: %s and %s: %s", (pattern, type, selected) => {
    expect(matches(pattern, type)).toBe(selected);
  });

  test("W22: the events about each resource that viewers must not read are withheld from a caller without its scope", () => {
    const traits = features.flatMap((feature) => Object.entries<ResourceTraits>(feature.scopes));
    const secret = traits.flatMap(([resource, of]) => of.secret ? [resource] : []);
    const groups: Readonly<Record<string, string>> = { "api-keys": "api-key", compliance: "compliance-request", emails: "email-address" };
    expect(withheldFrom(new Set())).toEqual(secret.map((resource) => `${groups[resource]}.*`));
    expect(withheldFrom(new Set(secret.map((resource) => `read:${resource}`)))).toEqual([]);
  });

  test.each([["*", true], ["invoice.*", true], ["invoice.paid", true], ["invoice.asleep", false], ["nothing.*", false], ["", false]])(
    "W01: %s selects at least one type: %s",
    (pattern, known) => {
      expect(isPattern(pattern)).toBe(known);
      expect(typesOf([pattern]).length > 0).toBe(known);
    },
  );
});
