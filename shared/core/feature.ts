import type { Job } from "./job.ts";
import type { Route } from "./route.ts";
import type { ResourceTraits } from "./scopes.ts";

/** One feature: a folder of shared/features. */
export interface Feature {
  readonly name: string;
  /** The description of its tag in the OpenAPI file. */
  readonly summary?: string;
  /** The prefixes of its paths. The longest matching prefix of all features decides. */
  readonly paths: readonly string[];
  /** The resources of its scopes: `plans` stands for `read:plans` and `write:plans`. */
  readonly scopes: Readonly<Record<string, ResourceTraits>>;
  /** The module that exports its entities. */
  readonly entities: () => Promise<object>;
  /** The module of its service classes; their names end in `Service`. */
  readonly services: () => Promise<object>;
  readonly routes: () => Promise<{ readonly routes: readonly Route[] }>;
  readonly jobs?: () => Promise<{ readonly jobs: readonly Job[] }>;
}
