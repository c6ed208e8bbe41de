import { afterAll, expect } from "vitest";
import { createBackend, loadServices } from "../../../shared/container.ts";
import type { Services } from "../../../shared/container.ts";
import { silentLogger } from "../../../shared/kernel/logger.ts";
import { startMailServer } from "../../support/mail-server.ts";
import { KEYS, type TestContext } from "../../support/test-context.ts";
import type { Killed } from "./killed.test.ts";

const USERS = 20;

/** Users who want the notifications of their tenant. A mail can be sent again after a kill, with the same Message-ID. */
export async function emails(context: TestContext & Services): Promise<Killed> {
  const server = await startMailServer();
  afterAll(() => server.stop());
  const { store, clock } = context;
  const never = {
    domain: "example.com",
    apiUrl: "",
    open: () => ({ send: () => Promise.reject(new Error()), close: () => Promise.resolve() }),
  };
  const backend = createBackend({ store, clock, logger: silentLogger, ...KEYS, mailer: never });
  const servicesOf = await loadServices();
  const { id: tenantId } = await context.tenant();
  await Promise.all(Array.from({ length: USERS }, async (_, n) => {
    const actor = { type: "user", id: `user-${n}`, email: `user-${n}@hotel.example` } as const;
    await servicesOf(backend.bind({ actor, tenantId, requestId: "req_test", clock })).EmailAddressService.put({});
  }));
  const system = servicesOf(backend.bind({ actor: { type: "system", id: "test" }, tenantId: null, requestId: "req_test", clock }));
  return {
    env: { INNKEEP_SMTP_URL: `smtp://127.0.0.1:${server.port}`, INNKEEP_MAIL_FROM: "Innkeep <no-reply@example.com>" },
    begin: async () => void await system.NotificationService.create({ title: "Maintenance", message: "Tonight." }, tenantId),
    check: async () => {
      const { data } = await context.EmailService.list({ tenantId }, undefined, { limit: 100 });
      expect(data.map(({ status, userId }) => `${userId} ${status}`).sort()).toEqual(
        Array.from({ length: USERS }, (_, n) => `user-${n} sent`).sort(),
      );
      const ids = server.received.map(({ to, message }) => `${to} ${/^Message-ID: (\S+)/m.exec(message)?.[1]}`);
      expect([...new Set(ids)].sort()).toEqual(data.map(({ id, userId }) => `${userId}@hotel.example <${id}@example.com>`).sort());
      expect(await context.dump("mailing")).toEqual([]);
    },
  };
}
