import type { Sample } from "../../core/route.ts";
import type { UnitOfWork } from "../../core/unit-of-work.ts";
import { email } from "./entity.ts";

/** Makes the mail of the samples, which has failed. Others follow from notifications, and have ids that differ from call to call. */
class SampleEmails {
  constructor(private readonly work: UnitOfWork) {}

  async make(): Promise<void> {
    const before = await this.work.store.get(`email:${email.example.id}`);
    const { sentAt: _, ...example } = email.example;
    const after = { ...example, status: "failed" as const, tenantId: "global" };
    const changes = [{ entity: email, before: before && { ...after, version: before.version }, after }];
    await this.work.transact(() => ({ commit: { changes, audit: "none", result: {} }, resultOf: null }));
  }
}

/** For routes of one mail. */
export const ofEmail: Sample<unknown, never> = {
  params: { emailId: email.example.id },
  prepare: async (_, __, use) => await use(SampleEmails).make(),
};
