import { expect } from "vitest";
import type { Services } from "../../../shared/container.ts";
import type { JsonObject } from "../../../shared/kernel/json.ts";
import type { TestContext } from "../../support/test-context.ts";
import type { Killed } from "./killed.test.ts";

/** Providers whose credentials are a bearer token. */
const PROVIDERS = { hubspot: "accessToken", sendgrid: "apiKey", cloudbeds: "apiKey", gmail: "accessToken" };
const TENANTS = 4;
const SPREAD_MS = 5_000;
const DAY_MS = 24 * 3_600_000;

/** Integrations whose credentials expire in 14, 7 or 1 days, or at once, while the processes are killed. */
export async function integrations(context: TestContext & Services): Promise<Killed> {
  const { clock } = context;
  const expected: (readonly [id: string, what: number | string])[] = [];
  for (let i = 0; i < TENANTS; i++) {
    const { id: tenantId } = await context.tenant();
    for (const [n, [provider, name]] of Object.entries(PROVIDERS).entries()) {
      const dueInMs = Math.ceil((i * 4 + n + 1) * SPREAD_MS / (TENANTS * 4));
      const days = [14, 7, 1, 0][n] ?? 0;
      const data = { credentials: { [name]: "killed-0123456789" }, credentialsExpireAt: clock.iso(days * DAY_MS + dueInMs) };
      const { id } = await context.IntegrationService.connect(tenantId, provider, data);
      expected.push([id, days === 0 ? "expired" : days]);
    }
  }
  return {
    check: async () => {
      while ((await context.as().JobService.run("integrations")).processed > 0);
      const events = (await context.dump("outbox")).map(({ value }) => value as JsonObject);
      for (const [id, what] of expected) {
        const sent = events.filter(({ type, subject }) => subject === id && type !== "integration.connected")
          .map(({ data }) => (data as JsonObject)["daysLeft"] ?? (data as JsonObject)["reason"]);
        expect(sent, id).toEqual([what]);
        const [, tenantId = "", provider = ""] = id.split(":");
        expect(await context.IntegrationService.get(tenantId, provider)).toMatchObject({ needsReauth: what === "expired" });
        const audited = (await context.auditOf(tenantId)).filter(({ resourceId, action }) =>
          resourceId === id && action !== "integration.connected"
        );
        expect(audited).toHaveLength(1);
      }
    },
  };
}
