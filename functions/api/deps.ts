import type { Backend } from "../../shared/container.ts";
import type { TokenVerifier } from "../../shared/ports.ts";

/** What the API is given. */
export interface ApiDeps {
  readonly backend: Backend;
  readonly verifier: TokenVerifier;
  readonly config: { readonly corsOrigins: readonly string[] };
}
