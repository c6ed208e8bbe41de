import type { ApiKeyCaller } from "../../shared/core/caller.ts";
import { recordRefusal, REFUSED_EVERY_MS } from "../../shared/features/api-keys/lookup.ts";
import { SECRET_LIKE } from "../../shared/features/api-keys/secret.ts";
import { REDACTED } from "../../shared/core/redaction.ts";
import type { Context } from "../../shared/kernel/context.ts";
import type { Backend } from "../../shared/container.ts";

const MAX_KNOWN = 1_000;

/** Audits the use of a tenant's API key for another tenant, at most once a minute for each key. */
export class Refusals {
  readonly #recordedAt = new Map<string, number>();

  constructor(private readonly backend: Backend) {}

  /** Does not throw: the request is refused in any case. `asked` is what it named. */
  async record({ actor: { id } }: ApiKeyCaller, asked: string, context: Context): Promise<void> {
    const { backend } = this;
    const now = backend.clock.now();
    const last = this.#recordedAt.get(id);
    if (last !== undefined && Math.abs(now - last) < REFUSED_EVERY_MS) return;
    if (this.#recordedAt.size >= MAX_KNOWN) this.#recordedAt.clear();
    this.#recordedAt.set(id, now);
    try {
      const shown = SECRET_LIKE.test(asked) ? REDACTED : asked.slice(0, 200);
      await recordRefusal(backend.bind({ ...context, tenantId: null }), id, shown);
    } catch (error) {
      backend.logger.warn("refusal_not_recorded", { keyId: id, error: error instanceof Error ? error.message : String(error) });
    }
  }
}
