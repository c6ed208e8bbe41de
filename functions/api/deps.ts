import type { Backend } from "../../shared/container.ts";
import type { TokenVerifier } from "../../shared/ports.ts";

/** What the API's routes are given. */
export interface ApiDeps {
  readonly backend: Backend;
  readonly verifier: TokenVerifier;
}
