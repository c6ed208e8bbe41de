import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { redactedMessage } from "../../../shared/features/connector-events/log.ts";
import { codeOf } from "../../support/store.ts";
import { openTestContext, userOf } from "../../support/test-context.ts";

let context: Awaited<ReturnType<typeof openTestContext>>;
beforeAll(async () => void (context = await openTestContext()));
afterAll(() => context.close());

const SLACK = { credentials: { botToken: "xoxb-0123456789" } };

describe("the log of calls", () => {
  test("I13: has connector, action, target, actor, outcome, latency and tenant, the newest first, and can be filtered", async () => {
    const [{ id }, other] = [await context.tenant(), await context.tenant()];
    const { ConnectorEventService: log } = context;
    await log.log(id, "stripe", "create_charge", { target: "ch_1", outcome: "ok", latencyMs: 120, statusCode: 200 });
    context.clock.advance(1_000);
    await log.log(id, "xero", "read_invoices", { outcome: "timeout", latencyMs: 10_000 });
    await log.log(other.id, "xero", "read_invoices", { outcome: "ok" });
    const { data } = await log.list(id);
    expect(data).toMatchObject([
      { connector: "xero", action: "read_invoices", outcome: "timeout", timestamp: context.clock.iso() },
      {
        connector: "stripe",
        action: "create_charge",
        target: "ch_1",
        actor: { type: "admin", id: "admin-1" },
        outcome: "ok",
        latencyMs: 120,
        tenantId: id,
      },
    ]);
    expect((await log.list(id, { outcome: "timeout" })).data).toHaveLength(1);
    expect((await log.list(id, { connector: "stripe" })).data).toHaveLength(1);
    expect((await log.list(id, { timestampFrom: context.clock.iso() })).data).toHaveLength(1);
    // The entries are themselves the record.
    expect((await context.auditOf(id)).map(({ action }) => action)).toEqual(["tenant.created"]);
  });

  test("I13: several calls of one millisecond are several entries", async () => {
    const { id } = await context.tenant();
    await Promise.all(Array.from({ length: 20 }, () => context.ConnectorEventService.log(id, "xero", "read", { outcome: "ok" })));
    expect((await context.ConnectorEventService.list(id, {}, undefined, { limit: 100 })).data).toHaveLength(20);
  });

  test("I14: a message is its length, and its text only if the integration's config says so", async () => {
    const { id } = await context.tenant();
    const text = "Room 12: Frau Müller checks out at 9.";
    const log = () => context.ConnectorEventService.logSlackMessage(id, "#front-desk", text, "user-7");
    const redacted = { bytes: new TextEncoder().encode(text).length };
    const expected = { connector: "slack", action: "send_message", target: "#front-desk", actor: { type: "user", id: "user-7" } };
    expect(await log()).toMatchObject({ ...expected, message: redacted });
    await context.IntegrationService.connect(id, "slack", SLACK);
    expect((await log()).message).toEqual(redacted);
    expect(JSON.stringify(await context.dump())).not.toContain("Frau Müller");
    await context.IntegrationService.connect(id, "slack", { config: { logMessages: true } });
    expect((await log()).message).toEqual({ ...redacted, text });
  });

  test("I14: a call of an integration logs its message by the same policy", async () => {
    const { id } = await context.tenant();
    await context.IntegrationService.connect(id, "slack", SLACK);
    const call = { action: "send_message", target: "#bar", message: "A secret party." };
    await context.IntegrationService.call(id, "slack", call, () => Promise.resolve({ outcome: "ok", value: null }));
    const { data: [entry] } = await context.ConnectorEventService.list(id);
    expect(entry?.message).toEqual({ bytes: 15 });
  });

  test("I14: a long text is cut between two characters, and one that the store cannot hold is stored", () => {
    expect(redactedMessage(`${"a".repeat(4_095)}ü`, true).text).toBe("a".repeat(4_095));
    expect(redactedMessage("a\u0000b", true)).toMatchObject({ bytes: 3, text: "a\ufffdb" });
  });

  test("I13: invalid entries and unknown tenants are refused, and a tenant's user reads those of its tenant alone", async () => {
    const [{ id }, other] = [await context.tenant(), await context.tenant()];
    const { ConnectorEventService: log } = context;
    for (const [connector, action] of [["a b", "read"], ["xero", ""], ["xero", "x".repeat(101)]] as const) {
      expect(await codeOf(log.log(id, connector, action, { outcome: "ok" }))).toMatch(/validation_failed|invalid_key/);
    }
    expect(await codeOf(log.log("tn_none", "xero", "read", { outcome: "ok" }))).toBe("not_found");
    await log.log(id, "xero", "read", { outcome: "ok" });
    const mine = context.as(userOf(other.id)).ConnectorEventService;
    expect((await mine.list(other.id)).data).toEqual([]);
    expect((await mine.list(id)).data).toEqual([]);
    expect(await codeOf(mine.log(id, "xero", "read", { outcome: "ok" }))).not.toMatch(/^no error/);
  });
});
