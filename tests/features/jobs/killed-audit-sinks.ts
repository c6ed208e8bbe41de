import { expect } from "vitest";
import { createBackend, loadServices, type Services } from "../../../shared/container.ts";
import { silentLogger } from "../../../shared/kernel/logger.ts";
import { localOutbound } from "../../support/outbound.ts";
import { startReceiver } from "../../support/receiver.ts";
import { ADMIN, KEYS, type TestContext } from "../../support/test-context.ts";
import type { Killed } from "./killed.test.ts";

const ENTRIES = 300;

/** The entries of one tenant, which are sent to a receiver while the processes are killed. */
export async function auditSinks(context: TestContext & Services): Promise<Killed> {
  const receiver = await startReceiver();
  receiver.script({ status: 200, delayMs: 15 });
  const { store, clock } = context;
  const { bind } = createBackend({ store, clock, logger: silentLogger, ...KEYS, outbound: localOutbound() });
  const { AuditSinkService, JobService } = (await loadServices())(bind({ actor: ADMIN, tenantId: null, requestId: "req_test", clock }));
  const { id: tenantId } = await context.tenant();
  await AuditSinkService.create({ name: "SIEM", kind: "http", url: receiver.url, token: "0123456789abcdef", tenantId });
  await context.AuditActionService.create({ id: "app.room.opened", description: "A room was opened." });
  const own = { source: "rooms", action: "app.room.opened", resource: "room", resourceId: "7", tenantId };
  await context.AuditReportService.report({
    single: false,
    items: Array.from({ length: ENTRIES }, (_, n) => ({ entry: { id: String(n), ...own } })),
  });
  return {
    check: async () => {
      await JobService.run("audit-sinks");
      await JobService.run("audit-sinks");
      await receiver.close();
      const seqs = receiver.received.flatMap(({ text }) =>
        (JSON.parse(text) as { entries: { seq: number }[] }).entries.map(({ seq }) => seq)
      );
      // The first entry of the tenant is older than the receiver. Other jobs write to the chain too.
      const last = Math.max(...seqs);
      expect(last).toBeGreaterThan(ENTRIES);
      expect([...new Set(seqs)].sort((a, b) => a - b)).toEqual(Array.from({ length: last - 1 }, (_, i) => i + 2));
    },
  };
}
