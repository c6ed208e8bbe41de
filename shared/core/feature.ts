import type { Route } from "./route.ts";
import type { ResourceTraits } from "./scopes.ts";

/** One feature: a folder, as the rest of the program sees it. */
export interface Feature {
  readonly name: string;
  /** What it is for: the description of its operations' tag. */
  readonly summary?: string;
  /** Where its routes begin; of two features the longer one wins. */
  readonly paths: readonly string[];
  /** The resources of its scopes: `plans` is `read:plans` and `write:plans`. */
  readonly scopes: Readonly<Record<string, ResourceTraits>>;
  /** The module that exports its entities. */
  readonly entities: () => Promise<object>;
  /** The module of its service classes; their names end in `Service`. */
  readonly services: () => Promise<object>;
  readonly routes: () => Promise<{ readonly routes: readonly Route[] }>;
}
