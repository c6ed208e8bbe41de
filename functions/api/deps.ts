import type { Backend } from "../../shared/container.ts";
import type { TokenVerifier } from "../../shared/ports.ts";

/** The dependencies of the routes. */
export interface ApiDeps {
  readonly backend: Backend;
  readonly verifier: TokenVerifier;
}
