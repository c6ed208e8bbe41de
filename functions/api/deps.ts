import type { Backend } from "../../shared/container.ts";
import type { TokenVerifier } from "../../shared/ports.ts";

/** The dependencies of the API. */
export interface ApiDeps {
  readonly backend: Backend;
  readonly verifier: TokenVerifier;
  readonly config: { readonly corsOrigins: readonly string[] };
}
