import type { Actions } from "./actions.ts";
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
  /**
   * The actions of its audit entries. `created`, `updated` and `deleted` of an entity need no declaration, unless their entries have
   * data. The unit of work refuses an entry with an undeclared action.
   */
  readonly actions?: Actions;
  /** The module that exports its entities. */
  readonly entities: () => Promise<object>;
  /** The module of its service classes; their names end in `Service`. */
  readonly services: () => Promise<object>;
  /** The service class that changes the records of the configuration (`/v1/configuration`), by its name. */
  readonly configured?: `${string}Service`;
  readonly routes: () => Promise<{ readonly routes: readonly Route[] }>;
  readonly jobs?: () => Promise<{ readonly jobs: readonly Job[] }>;
}
