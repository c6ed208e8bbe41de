import { BaseSequencer } from "vitest/node";
import type { TestSpecification } from "vitest/node";

/** Files that take longest, most of them waiting: begun last, one of them alone would prolong the run. */
const LONG = [
  "kv/supabase",
  "kv/postgres",
  "kv/pgbouncer",
  "sql/declared",
  "local/permissions",
  "sql/plans",
];

/** Long files first, of both projects; a run that has nothing left but a long file leaves cores idle. */
export class LongestFirst extends BaseSequencer {
  override async sort(files: TestSpecification[]): Promise<TestSpecification[]> {
    const rank = ({ moduleId }: TestSpecification) => {
      const at = LONG.findIndex((name) => moduleId.endsWith(`/tests/${name}.test.ts`));
      return at < 0 ? LONG.length : at;
    };
    return (await super.sort(files)).sort((a, b) => rank(a) - rank(b));
  }
}
