import type { Stored } from "../../core/collection.ts";
import { Records } from "../../core/records.ts";
import type { UnitOfWork } from "../../core/unit-of-work.ts";
import { assertMatch, type ChangeOptions, type IfMatch } from "../../kernel/version.ts";
import { type Webhook, webhook } from "./entity.ts";

export type StoredWebhook = Stored<typeof webhook>;

/**
 * Webhooks as they are edited. A delivery changes the record and its ETag (RFC 9110 §8.8.1), but not its revision. Preconditions
 * compare the revision alone, so that a delivery between the read and the change does not make an edit fail.
 */
export class WebhookRecords extends Records<typeof webhook> {
  constructor(work: UnitOfWork) {
    super(webhook, work);
  }

  protected override assertMatch(before: StoredWebhook, { ifMatch, ifNoneMatch }: ChangeOptions): void {
    const version = shownVersion(before);
    assertMatch(version, { ifMatch: ofRevision(ifMatch, before, version), ifNoneMatch: ofRevision(ifNoneMatch, before, version) });
  }

  protected override changed(decided: Webhook): Webhook {
    return super.changed({ ...decided, revision: decided.revision + 1 });
  }
}

/** The version that responses show: `<revision>-<version of the record>`. */
export function shownVersion({ revision, version }: Pick<StoredWebhook, "revision" | "version">): string {
  return `${revision}-${version}`;
}

/** With the present version in place of others of the same revision. */
function ofRevision(match: IfMatch | undefined, { revision }: Webhook, version: string): IfMatch | undefined {
  if (match === undefined || match === "*") return match;
  return match.map((tag) => tag.startsWith(`${revision}-`) ? version : tag);
}
