import type { AnyEntity } from "../kv/define.ts";
import type { Route } from "./route.ts";
import type { ResourceTraits } from "./scopes.ts";

/** One feature: a folder, as the rest of the program sees it. */
export interface Feature {
  readonly name: string;
  /** What it is for; left out: the summary of its first entity. */
  readonly summary?: string;
  readonly entities: readonly AnyEntity[];
  /** Where its routes begin; of two features the longer one wins. */
  readonly paths: readonly string[];
  /** The resources of its scopes: `plans` is `read:plans` and `write:plans`. */
  readonly scopes: Readonly<Record<string, ResourceTraits>>;
  /** The module of its service classes; their names end in `Service`. */
  readonly services: () => Promise<object>;
  readonly routes: () => Promise<{ readonly routes: readonly Route[] }>;
}
