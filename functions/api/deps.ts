import type { Backend } from "../../shared/container.ts";
import type { Clock } from "../../shared/kernel/clock.ts";
import type { LogWriter } from "../../shared/kernel/logger.ts";
import type { Fetch, Files, Sockets, TokenVerifier } from "../../shared/ports.ts";

/** What a function takes from the runtime. */
export interface Surroundings {
  readonly clock: Clock;
  readonly fetch: Fetch;
  readonly files: Files;
  /** For calls to receivers of webhooks and providers. Without it, each of them fails. */
  readonly sockets?: Sockets;
  readonly write: LogWriter;
  /** Keeps the runtime alive until work in the background has ended. */
  readonly background?: ((work: Promise<unknown>) => void) | undefined;
}

/** The dependencies of the routes. */
export interface ApiDeps {
  readonly backend: Backend;
  readonly verifier: TokenVerifier;
  /** Audits refused requests. Default: they are not audited. */
  readonly denials?: Pick<Surroundings, "background">;
}
