import { BaseSequencer } from "vitest/node";
import type { TestSpecification } from "vitest/node";

/** The files that take longest, mostly waiting. If one of them started last, it would prolong the run. */
const LONG = [
  "features/jobs/killed",
  "kv/supabase",
  "kv/postgres",
  "local/permissions",
  "local/terminal",
  "local/supabase-cli",
  "sql/declared",
  "browser/local-page",
  "sql/session-isolation",
  "sql/plans",
  "local/interrupted",
  "features/subscriptions/golden-year",
  "http/openapi-lint",
  "browser/reference",
  "features/webhooks/delivery-faults",
  "kv/pgbouncer",
  "features/retention/chains",
  "local/commands",
  "http/round-trips",
  "features/jobs/turns",
];

/** Runs the long files of both projects first, so that no core is idle at the end. */
export class LongestFirst extends BaseSequencer {
  override async sort(files: TestSpecification[]): Promise<TestSpecification[]> {
    const rank = ({ moduleId }: TestSpecification) => {
      const at = LONG.findIndex((name) => moduleId.endsWith(`/tests/${name}.test.ts`));
      return at < 0 ? LONG.length : at;
    };
    return (await super.sort(files)).sort((a, b) => rank(a) - rank(b));
  }
}
