import { Collection, type Stored } from "../../core/collection.ts";
import { TenantReadService } from "../../core/entity-service.ts";
import type { UnitOfWork } from "../../core/unit-of-work.ts";
import { integration } from "../integrations/entity.ts";
import { type ConnectorEvent, connectorEvent } from "./entity.ts";
import { entryOf, keepsMessages, type LoggedCall, redactedMessage } from "./log.ts";

export type { LoggedCall };

/** The log of calls of a tenant's integrations. */
export class ConnectorEventService extends TenantReadService<typeof connectorEvent> {
  constructor(work: UnitOfWork) {
    super(work, connectorEvent);
  }

  /**
   * Records one call of a connector, which can be any name, such as that of a provider. Throws `validation_failed`, and `not_found` if
   * the tenant does not exist.
   */
  async log(tenantId: string, connector: string, action: string, call: LoggedCall): Promise<Stored<typeof connectorEvent>> {
    const [id, keepsText] = await Promise.all([this.tenantOf(tenantId), this.#keepsMessages(tenantId, connector, call)]);
    const message = call.message === undefined ? undefined : redactedMessage(call.message, keepsText);
    const { result, version } = await this.work.transact<{ readonly record: ConnectorEvent }>(() => {
      const { record, mutation } = entryOf(this.work, id, connector, action, { ...call, message });
      // The entry is itself the record of what was done.
      return { commit: { mutations: [mutation], audit: "none", result: { record } }, resultOf: id };
    });
    return { ...result.record, version: version ?? "" } as Stored<typeof connectorEvent>;
  }

  /** Records a message that a user sent to a channel of Slack. */
  async logSlackMessage(tenantId: string, channel: string, message: string, userId: string): Promise<Stored<typeof connectorEvent>> {
    return await this.log(tenantId, "slack", "send_message", {
      target: channel,
      message,
      outcome: "ok",
      actor: { type: "user", id: userId },
    });
  }

  async #keepsMessages(tenantId: string, connector: string, { message }: LoggedCall): Promise<boolean> {
    if (message === undefined) return false;
    const short = tenantId.slice(tenantId.indexOf(":") + 1);
    return keepsMessages(await new Collection(integration, this.work.store).get(`${short}:${connector}`));
  }
}
