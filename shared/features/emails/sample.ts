import { Collection } from "../../core/collection.ts";
import type { Sample } from "../../core/route.ts";
import type { UnitOfWork } from "../../core/unit-of-work.ts";
import { type AnyEntity, GLOBAL, type RecordOf } from "../../kv/define.ts";
import { email, emailAddress } from "./entity.ts";

/**
 * Makes the mail of the samples, which has failed, and an address of the platform. Other mails follow from notifications, and have ids
 * that differ from call to call; other addresses are those of their callers.
 */
class Samples {
  constructor(private readonly work: UnitOfWork) {}

  async email(): Promise<void> {
    const { sentAt: _, ...example } = email.example;
    await this.#set(email, { ...example, status: "failed", tenantId: GLOBAL });
  }

  async address(): Promise<void> {
    await this.#set(emailAddress, { ...emailAddress.example, tenantId: GLOBAL });
  }

  async #set<E extends AnyEntity>(entity: E, example: E["example"]): Promise<void> {
    const mutations = [new Collection(entity, this.work.store).set(entity.schema.parse(example) as RecordOf<E>)];
    await this.work.transact(() => ({ commit: { mutations, audit: "none", result: {} }, resultOf: null }));
  }
}

/** For routes of one mail. */
export const ofEmail: Sample<unknown, never> = {
  params: { emailId: email.example.id },
  prepare: async (_, __, use) => await use(Samples).email(),
};

/** For routes of another user's address. */
export const ofAddress: Sample<unknown, never> = {
  query: `userId=${emailAddress.example.userId}`,
  prepare: async (_, __, use) => await use(Samples).address(),
};
